"""Does CLR-GAN help on small data? Trains, measures and draws everything in this folder, from nothing.

    python docs/experiments/clr-gan/run.py digits-500              # continues where it stopped
    python docs/experiments/clr-gan/run.py digits-500 --measure    # measure what is trained so far, without training
    python docs/experiments/clr-gan/run.py digits-500 --table      # the table and plots of results/, in seconds

The same with digits-all, emoji-500 and emoji-all. README.md beside this file has the question and the answer.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from experiment import Cell, Evaluation, Experiment, Measure, main
from recipes import SMALL

KIMG, LATER = 60, 24
CONTROL = 'stylegan2'
# What differs from SMALL, which has the relativistic loss with R1 and R2, and no augmentation.
ADA = ['--aug=ada']
LOGISTIC = ['--loss=logistic', '--r2=0', '--gamma=1']  # gamma: docs/short-runs.md
CLR_GAN = ['--method=clr-gan']
CORRECTED = [*CLR_GAN, '--lambda_recon=20']

CELLS = {
    CONTROL: Cell('StyleGAN2 (control)', LOGISTIC, KIMG),
    'stylegan2-ada': Cell('StyleGAN2-ADA', [*LOGISTIC, *ADA], KIMG),
    'clr-gan': Cell('CLR-GAN', [*LOGISTIC, *CORRECTED], KIMG),
    'clr-gan-2': Cell('CLR-GAN, reconstruction weight 2', [*LOGISTIC, *CLR_GAN, '--lambda_recon=2'], KIMG),
    'relativistic': Cell('StyleGAN2, relativistic, R1 and R2', [], KIMG),
    'clr-gan-relativistic': Cell('CLR-GAN, relativistic, R1 and R2', CORRECTED, KIMG),
    'relativistic-later': Cell('StyleGAN2, relativistic, 84 kimg', [], KIMG + LATER, 'relativistic'),
    'clr-gan-later': Cell('CLR-GAN, relativistic, switched on after 60 of 84 kimg', CORRECTED, KIMG + LATER, 'relativistic'),
    'clr-gan-ada': Cell('CLR-GAN with ADA', [*LOGISTIC, *ADA, *CORRECTED], KIMG),
    'clr-gan-published': Cell('CLR-GAN with ADA, as published', [*LOGISTIC, *ADA, *CLR_GAN, '--clr-compat=1'], KIMG),
}
SOURCES = {
    'digits': ['--source=mnist'],
    'emoji': ['--source=emoji', '--vendors=datasets/node_modules/emoji-datasource-google', '--resolution=32x32'],
}


def experiment(source: str, size: str) -> Experiment:
    # EfficientNet says little about drawings on an empty background. The classes of emoji are too few for an own classifier.
    detector = 'own' if source == 'digits' else 'efficientnet'
    fd, dc = f'fd2k_{detector}_full', f'dc2k5_{detector}_full'
    data = f'--data={{{source}}}'
    return Experiment(
        folder=HERE / f'{source}-{size}',
        datasets={source: SOURCES[source]},
        common=[*SMALL, '--tick=5', '--snap=3', data, *([] if size == 'all' else [f'--subset={size}'])],
        cells=CELLS,
        control=CONTROL,
        measures={fd: Measure('FD', 1), f'{fd}_above_best': Measure('FD above the best of its run', 1),
                  f'{dc}_density': Measure('density', 3), f'{dc}_coverage': Measure('coverage', 3),
                  'reconstruction': Measure('reconstruction', 3), 'reconstruction_unseen': Measure('of unseen images', 3)},
        evaluations=[Evaluation([f'--metrics={fd}', data], curve=True),
                     Evaluation([f'--metrics={dc}', data]),
                     Evaluation([data], [name for name in CELLS if name.startswith('clr-gan')],
                                program='docs/experiments/clr-gan/reconstruction.py')],
        curve=fd,
        picture=['images', '--seeds=0-31', '--noise-mode=const'],
    )


if __name__ == '__main__':
    main(__doc__, *(experiment(source, size) for size in ('500', 'all') for source in SOURCES))
