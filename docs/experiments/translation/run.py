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

from experiment import Evaluation, Experiment, Measure, main
from recipes import CONTROL, DIGITS, LETTERS, SMALL, two_stages

MEASURED = [CONTROL, 'l1-100', 'clr-gan', 'both']
SOURCES = {
    'digits': (DIGITS, [*DIGITS, '--paired']),
    'letters': (LETTERS, ['--source=glyphs', '--split=test', '--paired']),
}


def experiment(source: str) -> Experiment:
    train, truth = SOURCES[source]
    data = f'--data={{{source}}}'
    return Experiment(
        folder=HERE / source,
        datasets={source: train, f'{source}-paired': truth},
        common=[*SMALL, data],
        cells=two_stages(100, 24, *MEASURED),
        control=CONTROL,
        measures={'projection_error': Measure('error, projection', 4), 'encoder_error': Measure('error, encoder', 4),
                  'refined_error': Measure('error, 50 steps', 4),
                  'projection_content': Measure('found, projection', 3), 'encoder_content': Measure('found, encoder', 3),
                  'refined_content': Measure('found, 50 steps', 3),
                  'encoder_fd': Measure('FD, encoder', 1), 'domain_accuracy': Measure('domain accuracy', 3),
                  'variety': Measure('variety', 3)},
        evaluations=[Evaluation([data, f'--eval-data={{{source}-paired}}'], MEASURED,
                                program='docs/experiments/translation/ways.py'),
                     Evaluation(['--metrics=domains', data])],
        picture=['domains', '--seeds=0-15', '--layout=rows', '--noise-mode=const'],
    )


if __name__ == '__main__':
    main(__doc__, *map(experiment, SOURCES))
