"""CG-GAN on two-colour MNIST: trains, measures and draws everything in this folder, from nothing.

    python docs/experiments/cg-gan-mnist/run.py              # continues where it stopped
    python docs/experiments/cg-gan-mnist/run.py --measure    # measure what is trained so far, without training
    python docs/experiments/cg-gan-mnist/run.py --table      # the table and plot of results/, in seconds

Seed 0 is completed first, then seed 1, and so on. README.md beside this file has the question and the answer.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from experiment import Evaluation, Experiment, Measure, main
from recipes import CONTROL, DIGITS, SMALL, two_stages

EXPERIMENT = Experiment(
    folder=HERE,
    datasets={'two-color': DIGITS},
    common=[*SMALL, '--data={two-color}'],
    cells=two_stages(100, 24, CONTROL, 'l1-100', 'hoyer-3', 'l1-300', 'l1-0.1', 'csdi'),
    control=CONTROL,
    measures={'style_l1': Measure('style L1', 4), 'content_l1': Measure('content L1', 4),
              'style_hoyer': Measure('style Hoyer', 3), 'variety': Measure('variety', 3),
              'content_classes': Measure('digit classes', 2), 'content_kappa': Measure('content κ', 2),
              'domain_accuracy': Measure('domain accuracy', 3), 'kd2k_own_full': Measure('KD, own', 4)},
    evaluations=[Evaluation(['--metrics=jacobian,domains,kd2k_own_full', '--data={two-color}'])],
    picture=['domains', '--seeds=0-15', '--layout=rows', '--noise-mode=const'],
)

if __name__ == '__main__':
    main(__doc__, EXPERIMENT)
