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

KIMG = 60
CONTROL = 'stylegan2'
NOAUG, ADA = ['--aug=noaug'], ['--aug=ada']
CORRECTED = ['--method=clr-gan', '--lambda_recon=20']

CELLS = {
    CONTROL: Cell('StyleGAN2 (control)', NOAUG, KIMG),
    'stylegan2-ada': Cell('StyleGAN2-ADA', ADA, KIMG),
    'clr-gan': Cell('CLR-GAN', [*NOAUG, *CORRECTED], KIMG),
    'clr-gan-ada': Cell('CLR-GAN with ADA', [*ADA, *CORRECTED], KIMG),
    'clr-gan-published': Cell('CLR-GAN with ADA, as published', [*ADA, '--method=clr-gan', '--clr-compat=1'], KIMG),
}
SOURCES = {
    'digits': ['--source=mnist'],
    'emoji': ['--source=emoji', '--vendors=datasets/node_modules/emoji-datasource-google', '--resolution=32x32'],
}
COMMON = ['--z-dim=64', '--batch=64', '--cbase=1024', '--cmax=64', '--noise=0', '--pl-weight=0', '--gamma=1', '--fp32=1',
          '--workers=1', '--metrics=none', '--wandb=disabled', '--tick=5', '--snap=3', '--keep=1']


def experiment(source: str, size: str) -> Experiment:
    fd, dc = 'fd2k_efficientnet_full', 'dc2k5_efficientnet_full'
    distances = {fd: Measure('FD, EfficientNet', 1), f'{fd}_above_best': Measure('FD above the best of its run', 1)}
    if source == 'digits':  # EfficientNet says little about drawings on an empty background; the classes of emoji are too few
        distances['fd2k_own_full'] = Measure('FD, own classifier', 1)
    data = f'--data={{{source}}}'
    return Experiment(
        folder=HERE / f'{source}-{size}',
        datasets={source: SOURCES[source]},
        common=[*COMMON, data, *([] if size == 'all' else [f'--subset={size}'])],
        cells=CELLS,
        control=CONTROL,
        measures={**distances, f'{dc}_density': Measure('density', 3), f'{dc}_coverage': Measure('coverage', 3),
                  'reconstruction': Measure('reconstruction', 3), 'reconstruction_unseen': Measure('of unseen images', 3)},
        evaluations=[Evaluation([f'--metrics={",".join(key for key in distances if key.endswith("full"))}', data], curve=True),
                     Evaluation([f'--metrics={dc}', data]),
                     Evaluation([data], [name for name in CELLS if name.startswith('clr-gan')],
                                program='docs/experiments/clr-gan/reconstruction.py')],
        curve=fd,
        picture=['images', '--seeds=0-31', '--noise-mode=const'],
    )


if __name__ == '__main__':
    main(__doc__, *(experiment(source, size) for size in ('500', 'all') for source in SOURCES))
