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

from experiment import SMALL, Cell, Evaluation, Experiment, Measure, main

START, CONTROL = 'start', 'continued'
FIRST, SECOND = 100, 24  # kimg
FLOW = ['--i_dim=16']
CG_GAN = ['--method=cg-gan', *FLOW]
PLAIN = ['--method=stylegan2', '--cond=1']

CELLS = {
    START: Cell('i-StyleGAN, start of stage two', ['--method=i-stylegan', *FLOW], FIRST),
    CONTROL: Cell('i-StyleGAN, continued (control)', ['--method=i-stylegan', *FLOW], FIRST + SECOND, START),
    'l1-100': Cell('+ L1, 100', [*CG_GAN, '--lambda_imgsparse=100', '--perturb_norm=0.1'], FIRST + SECOND, START),
    'hoyer-3': Cell('+ Hoyer by jvp, 3', [*CG_GAN, '--jacobian=jvp', '--jacobian-penalty=hoyer', '--lambda_imgsparse=3'],
                    FIRST + SECOND, START),
    'conditional': Cell('conditional StyleGAN2, the same objective', PLAIN, FIRST + SECOND),
    'stylegan2-ada': Cell('conditional StyleGAN2-ADA', [*PLAIN, '--loss=logistic', '--r2=0', '--aug=ada'], FIRST + SECOND),
}

EXPERIMENT = Experiment(
    folder=HERE,
    datasets={'glyphs': ['--source=glyphs', '--split=train'], 'glyphs-test': ['--source=glyphs', '--split=test', '--paired']},
    common=[*SMALL, '--data={glyphs}'],
    cells=CELLS,
    control=CONTROL,
    measures={'truth48': Measure('error to the truth', 4), 'truth48_content': Measure('content found', 3),
              'truth48_rebuilt': Measure('error rebuilt', 4), 'style_l1': Measure('style L1', 4),
              'style_hoyer': Measure('style Hoyer', 3), 'variety': Measure('variety', 3),
              'domain_accuracy': Measure('domain accuracy', 3)},
    evaluations=[Evaluation(['--metrics=jacobian', '--data={glyphs}'], [START, CONTROL, 'l1-100', 'hoyer-3']),
                 Evaluation(['--metrics=domains', '--data={glyphs}']),
                 Evaluation(['--metrics=truth48', '--by=projection', '--data={glyphs}', '--eval-data={glyphs-test}'])],
    picture=['domains', '--seeds=0-15', '--layout=rows', '--noise-mode=const'],
)

if __name__ == '__main__':
    main(__doc__, EXPERIMENT)
