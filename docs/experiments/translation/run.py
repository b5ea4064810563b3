"""Which way to translate real images? Trains, measures and draws everything in this folder, from nothing.

    python docs/experiments/translation/run.py digits              # continues where it stopped
    python docs/experiments/translation/run.py digits --measure    # measure what is trained so far, without training
    python docs/experiments/translation/run.py digits --table      # the table and plot of results/, in seconds

The same with letters. README.md beside this file has the question and the answer.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from experiment import SMALL, Cell, Evaluation, Experiment, Measure, main

START, CONTROL = 'start', 'continued'
FIRST, LENGTH = 100, 124  # kimg, of the first stage and in all
FLOW = ['--i_dim=16']
L1 = ['--perturb_norm=0.1', '--lambda_imgsparse=100']
CLR = ['--lambda_recon=20']

CELLS = {
    START: Cell('i-StyleGAN, start of stage two', ['--method=i-stylegan', *FLOW], FIRST),
    CONTROL: Cell('i-StyleGAN, continued (control)', ['--method=i-stylegan', *FLOW], LENGTH, START),
    'l1-100': Cell('+ L1, 100', ['--method=cg-gan', *FLOW, *L1], LENGTH, START),
    'clr-gan': Cell('+ CLR-GAN, 20', ['--method=i-stylegan,clr-gan', *FLOW, *CLR], LENGTH, START),
    'both': Cell('+ L1, 100, and CLR-GAN, 20', ['--method=cg-gan,clr-gan', *FLOW, *L1, *CLR], LENGTH, START),
}
MEASURED = [CONTROL, 'l1-100', 'clr-gan', 'both']
SOURCES = {
    'digits': (['--source=mnist', '--domains=two-color'], ['--source=mnist', '--domains=two-color', '--paired']),
    'letters': (['--source=glyphs', '--split=train'], ['--source=glyphs', '--split=test', '--paired']),
}


def experiment(source: str) -> Experiment:
    train, truth = SOURCES[source]
    data = f'--data={{{source}}}'
    return Experiment(
        folder=HERE / source,
        datasets={source: train, f'{source}-paired': truth},
        common=[*SMALL, data],
        cells=CELLS,
        control=CONTROL,
        measures={'projection_error': Measure('error: projection', 4), 'encoder_error': Measure('encoder', 4),
                  'refined_error': Measure('encoder, 50 steps', 4),
                  'projection_content': Measure('content found: projection', 3), 'encoder_content': Measure('encoder', 3),
                  'refined_content': Measure('encoder, 50 steps', 3),
                  'encoder_fd': Measure('FD: encoder', 1)},
        evaluations=[Evaluation([data, f'--eval-data={{{source}-paired}}'], MEASURED,
                                program='docs/experiments/translation/ways.py')],
        picture=['domains', '--seeds=0-15', '--layout=rows', '--noise-mode=const'],
    )


if __name__ == '__main__':
    main(__doc__, *map(experiment, SOURCES))
