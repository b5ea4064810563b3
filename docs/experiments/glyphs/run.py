"""CG-GAN on letters in three typefaces: trains, measures and draws everything in this folder, from nothing.

    python docs/experiments/glyphs/run.py              # continues where it stopped
    python docs/experiments/glyphs/run.py --measure    # measure what is trained so far, without training
    python docs/experiments/glyphs/run.py --table      # the table and plot of results/, in seconds

README.md beside this file has the question and the answer.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from experiment import Cell, Evaluation, Experiment, Measure, main
from recipes import CONTROL, LETTERS, SMALL, two_stages

PLAIN = ['--method=stylegan2', '--cond=1']
STAGES = two_stages(100, 24, CONTROL, 'l1-100', 'hoyer-3')
BASELINES = {
    'conditional': Cell('conditional StyleGAN2, the same objective', PLAIN, 124),
    'stylegan2-ada': Cell('conditional StyleGAN2-ADA', [*PLAIN, '--loss=logistic', '--r2=0', '--aug=ada'], 124),
}

EXPERIMENT = Experiment(
    folder=HERE,
    datasets={'glyphs': LETTERS, 'glyphs-test': ['--source=glyphs', '--split=test', '--paired']},
    common=[*SMALL, '--data={glyphs}'],
    cells={**STAGES, **BASELINES},
    control=CONTROL,
    measures={'truth48': Measure('error to the truth', 4), 'truth48_content': Measure('content found', 3),
              'truth48_rebuilt': Measure('error rebuilt', 4), 'style_l1': Measure('style L1', 4),
              'style_hoyer': Measure('style Hoyer', 3), 'variety': Measure('variety', 3),
              'domain_accuracy': Measure('domain accuracy', 3)},
    evaluations=[Evaluation(['--metrics=jacobian', '--data={glyphs}'], list(STAGES)),
                 Evaluation(['--metrics=domains', '--data={glyphs}']),
                 Evaluation(['--metrics=truth48', '--by=projection', '--data={glyphs}', '--eval-data={glyphs-test}'])],
    picture=['domains', '--seeds=0-15', '--layout=rows', '--noise-mode=const'],
)

if __name__ == '__main__':
    main(__doc__, EXPERIMENT)
