"""`python -m training.snapshot info`: the content of a snapshot."""

from __future__ import annotations

import json

import click

from dnnlib import cli
from training.sampling import options
from training.snapshots.facts import describe, table

EXAMPLES = """\b
Examples:
  python -m training.snapshot info --network=runs/00000-faces-auto1/network-snapshot-025000.pkl
  python -m training.snapshot info --json --network=faces
"""


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@click.option('--json', 'as_json', help='Print one line of JSON instead.', is_flag=True)
def command(network: str, as_json: bool) -> None:
    """Print the content of a snapshot or an exported generator: method, kimg, resolution, labels, sizes, loss terms, metrics.

    Loss terms, augmentation and metrics come from the run directory of the snapshot.
    """
    facts = describe(network)
    print(json.dumps(facts) if as_json else table(facts))
