"""`python -m training.doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dnnlib import cli
from training.doctor import around, computing, report, system
from training.doctor.findings import Check, Finding, Place
from training.doctor.worker import examine

CHECKS = (
    Check('Python', system.python),
    Check('Packages', system.packages),
    Check('Bytecode', system.bytecode),
    Check('Memory', system.memory),
    Check('Shared memory', system.shared_memory),
    Check('Disks', system.disks, essential=True),
    Check('Training', computing.program, essential=True),
    Check('CPU', computing.cpu, essential=True),
    Check('GPU', computing.gpus),
    Check('Operators', computing.operators),
    Check('Compiler', computing.compiler),
    Check('Detectors', around.detectors),
    Check('W&B', around.weights_and_biases),
    Check('ffmpeg', around.movies),
    Check('Chromium', around.browser),
)


@click.command(cls=cli.Command)
@click.option('--outdir', type=cli.PATH, default='runs', show_default=True, metavar='DIR', help='Where runs would go.')
@click.option('--json', 'as_json', is_flag=True, help='Print JSON, for issue reports.')
def main(outdir: str, as_json: bool) -> None:
    """Report what works on this machine, how fast, and how to fix the rest.

    ok: works. warn: works but could be better, or could not be tested. missing: does not work; most parts are optional. Nothing
    is installed or downloaded. Exit status 1 only if training itself cannot work.
    """
    findings: list[Finding] = []
    for found in examine(CHECKS, Place(Path(outdir))):
        findings += found
        if not as_json:
            for line in (line for finding in found for line in report.lines(finding)):
                print(line, flush=True)
    trained = report.can_train(findings)
    if as_json:
        print(report.as_json(findings))
    else:
        print('\nTraining works here.' if trained else '\nTraining cannot work here: see what is missing above.')
    sys.exit(0 if trained else 1)


if __name__ == '__main__':
    cli.run(main)
