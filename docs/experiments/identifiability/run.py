"""Which terms make latents identifiable? Trains, measures and draws everything in this folder, from nothing.

    python docs/experiments/identifiability/run.py 4-domains            # continues where it stopped
    python docs/experiments/identifiability/run.py 4-domains --measure  # measure what is trained so far, without training
    python docs/experiments/identifiability/run.py 4-domains --table    # the table and plot of results/, in seconds

The same with 2-domains. README.md beside this file has the question and the answer.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from experiment import Evaluation, Experiment, Measure, main
from recipes import CONTROL, SMALL, two_stages


def experiment(domains: int) -> Experiment:
    source = ['--source=synthetic', '--max-images=20000', '--resolution=16x16', f'--domains={domains}']
    return Experiment(
        folder=HERE / f'{domains}-domains',
        datasets={'synthetic': [*source, '--split=train'], 'synthetic-test': [*source, '--split=test']},
        common=[*SMALL, '--data={synthetic}'],
        cells=two_stages(100, 24, CONTROL, 'l1-100', 'hoyer-3', 'csdi', 'clr-gan'),
        control=CONTROL,
        measures={'mcc_strong': Measure('MCC', 3), 'mcc_strong_style': Measure('MCC of style', 3),
                  'mcc_weak': Measure('weak MCC', 3),
                  'r2_style_from_style': Measure('R² style', 3), 'r2_content_from_content': Measure('R² content', 3),
                  'r2_style_from_content': Measure('R² style from content', 3),
                  'dci_disentanglement': Measure('DCI disentanglement', 3), 'code_r2': Measure('R² of codes', 3),
                  'mcc_strong_random': Measure('MCC, untrained', 3), 'mcc_strong_pca': Measure('MCC, PCA', 3),
                  'mcc_strong_style_pca': Measure('MCC of style, PCA', 3), 'mcc_strong_shuffled': Measure('MCC, chance', 3)},
        evaluations=[Evaluation(['--metrics=identifiability', '--data={synthetic}', '--eval-data={synthetic-test}']),
                     Evaluation(['--metrics=jacobian', '--data={synthetic}'])],
        picture=['domains', '--seeds=0-15', '--layout=rows', '--noise-mode=const'],
    )


if __name__ == '__main__':
    main(__doc__, experiment(4), experiment(2))
