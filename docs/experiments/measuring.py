"""Command line of programs that measure snapshots and write as calc_metrics.py does."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path


def main(description: str, metric: str, measure: Callable[[Path, argparse.Namespace], dict[str, float]], **data: str) -> None:
    """Call measure(snapshot, args) for each --network, and append a line with its results to metric-<metric>.jsonl in the folder
    of the snapshot. data: further options, all required, with their help texts."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in data.items():
        parser.add_argument(f'--{name.replace("_", "-")}', required=True, help=text)
    parser.add_argument('--network', action='append', required=True, type=Path, help='snapshot; may be given several times')
    parser.add_argument('--missing-only', action='store_true', help='skip networks that have a line')
    parser.add_argument('--seed', type=int, default=0, help='makes the result repeatable')
    parser.add_argument('--device', default='auto')
    parser.add_argument('--verbose', type=int, default=1)
    args = parser.parse_args()
    for network in args.network:
        path = network.parent / f'metric-{metric}.jsonl'
        if args.missing_only and path.exists() and network.name in path.read_text(encoding='utf-8'):
            continue
        results = measure(network, args)
        with path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(dict(results=results, metric=metric, snapshot_pkl=network.name)) + '\n')
        if args.verbose:
            print(network, results)
