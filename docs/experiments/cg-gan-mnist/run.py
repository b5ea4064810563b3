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

from experiment import SMALL, Cell, Evaluation, Experiment, Measure, main

START, CONTROL = 'start', 'continued'
FIRST, SECOND = 100, 24  # kimg

L1 = ['--method=cg-gan', '--perturb_norm=0.1']
SECOND_STAGES = {
    CONTROL: ('continued (control)', ['--method=i-stylegan']),
    'l1-100': ('L1, 100', [*L1, '--lambda_imgsparse=100']),
    'hoyer-3': ('Hoyer by jvp, 3', ['--method=cg-gan', '--jacobian=jvp', '--jacobian-penalty=hoyer', '--lambda_imgsparse=3']),
    'l1-300': ('L1, 300', [*L1, '--lambda_imgsparse=300']),
    'l1-0.1': ('L1, 0.1 (published weight)', [*L1, '--lambda_imgsparse=0.1']),
    'csdi': ('CSDI, 1', ['--method=csdi', '--lambda_orth=1']),
}

EXPERIMENT = Experiment(
    folder=HERE,
    datasets={'two-color': ['--source=mnist', '--domains=two-color']},
    common=[*SMALL, '--i_dim=16', '--data={two-color}'],
    cells={START: Cell('start of stage two', ['--method=i-stylegan'], FIRST),
           **{name: Cell(title, options, FIRST + SECOND, START) for name, (title, options) in SECOND_STAGES.items()}},
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
