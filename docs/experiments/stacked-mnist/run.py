"""How many modes of StackedMNIST does an objective find? Trains, measures and draws everything in this folder, from nothing.

    python docs/experiments/stacked-mnist/run.py              # continues where it stopped
    python docs/experiments/stacked-mnist/run.py --measure    # measure what is trained so far, without training
    python docs/experiments/stacked-mnist/run.py --table      # the table and plot of results/, in seconds

README.md beside this file has the question and the answer.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from experiment import Cell, Evaluation, Experiment, Measure, main
from recipes import SMALL

KIMG = 240
CONTROL = 'logistic-r1-gamma-1'

CELLS = {
    CONTROL: Cell('logistic, R1, gamma 1 (control)', ['--loss=logistic', '--r2=0', '--gamma=1'], KIMG),
    'relativistic-r1': Cell('relativistic, R1', ['--loss=relativistic', '--r2=0'], KIMG),
    'relativistic-r1-r2': Cell('relativistic, R1 and R2', ['--loss=relativistic', '--r2=1'], KIMG),
    'logistic-r1': Cell('logistic, R1, gamma 0.1, 60 kimg', ['--loss=logistic', '--r2=0'], 60),
    'logistic-r1-r2': Cell('logistic, R1 and R2, gamma 0.1, 60 kimg', ['--loss=logistic', '--r2=1'], 60),
}

EXPERIMENT = Experiment(
    folder=HERE,
    datasets={'stacked': ['--source=mnist', '--domains=stacked', '--max-images=10000', '--resolution=16x16']},
    common=[*SMALL, '--tick=10', '--snap=6', '--data={stacked}', '--cond=0'],
    cells=CELLS,
    control=CONTROL,
    measures={'modes': Measure('modes of 1000', 0), 'modes_kl': Measure('KL', 2)},
    evaluations=[Evaluation(['--metrics=modes', '--data={stacked}'], curve=True)],
    curve='modes',
    picture=['images', '--seeds=0-31', '--noise-mode=const'],
)

if __name__ == '__main__':
    main(__doc__, EXPERIMENT)
