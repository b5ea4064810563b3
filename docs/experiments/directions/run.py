"""Do style coordinates beat directions that need no training? Trains, measures and draws everything in this folder, from nothing.

    python docs/experiments/directions/run.py letters              # continues where it stopped
    python docs/experiments/directions/run.py letters --measure    # measure what is trained so far, without training
    python docs/experiments/directions/run.py letters --table      # the table and plot of results/, in seconds

The same with digits. README.md beside this file has the question and the answer.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from experiment import Evaluation, Experiment, Measure, main
from recipes import CONTROL, DIGITS, LETTERS, SMALL, two_stages

SOURCES = {'digits': DIGITS, 'letters': LETTERS}
KINDS = {'style': 'style', 'pca': 'PCA', 'sefa': 'SeFa'}
HEADINGS = {'domain_kept': 'domain kept', 'content_kept': 'content kept', 'hoyer': 'Hoyer', 'change': 'change'}


def experiment(source: str) -> Experiment:
    data = f'--data={{{source}}}'
    return Experiment(
        folder=HERE / source,
        datasets={source: SOURCES[source]},
        common=[*SMALL, data],
        cells=two_stages(100, 24, CONTROL, 'l1-100'),
        control=CONTROL,
        measures={f'{kind}_{value}': Measure(f'{heading}, {name}', 3)
                  for value, heading in HEADINGS.items() for kind, name in KINDS.items()},
        evaluations=[Evaluation(['--metrics=directions', data])],
    )


if __name__ == '__main__':
    main(__doc__, *map(experiment, SOURCES))
