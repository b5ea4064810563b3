"""Write the tables of docs/gpu/*.json into docs/performance.md: python tests/gpu/tables.py

Between <!-- gpu --> and <!-- /gpu --> in that page everything is made here. A card that was not measured has no table.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
BEGIN, END = '<!-- gpu -->', '<!-- /gpu -->'
NOTHING = 'Nothing was measured on a GPU yet. `make gpu` does it in six minutes, and writes this section.'


def main() -> None:
    """Rewrite the section of the page."""
    page = ROOT / 'docs' / 'performance.md'
    reports = [json.loads(path.read_text()) for path in sorted((ROOT / 'docs' / 'gpu').glob('*.json'))]
    page.write_text(with_section(page.read_text(), section(reports)))


def with_section(text: str, new: str) -> str:
    """Replace the section of the page."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + '\n' + new + '\n' + END + rest.partition(END)[2]


def section(reports: list[dict]) -> str:
    """Tables of all cards."""
    return '\n\n'.join(card(report) for report in reports) if reports else NOTHING


def card(report: dict) -> str:
    """What was measured on one card."""
    m = report['machine']
    versions = ', '.join(f'{name} {m[key]}' for key, name in (('torch', 'torch'), ('cuda', 'CUDA'), ('cudnn', 'cuDNN'),
                                                             ('driver', 'driver')) if m.get(key))
    parts = [f'### {m["card"]}\n\n{versions}.']
    if tests := report.get('tests'):
        words = [word for word in ('passed', 'failed', 'error', 'skipped', 'unfinished') if tests.get(word)]
        counts = ', '.join(f'{tests[word]} {word}' for word in words)
        parts.append(f'Tests of {tests["date"]}: {counts or "none ended"}.' + ''.join(f'\n* {f}' for f in tests['failures']))
    if rows := report.get('steps', {}).get('rows'):
        parts.append(steps_table(rows))
    if rows := report.get('operators', {}).get('rows'):
        parts.append(operators_table(rows))
    if rows := report.get('profile', {}).get('rows'):
        parts.append(shares_table(rows))
    if 'kimg' in (run := report.get('run', {})):
        line = f'A run on two-colour MNIST at 32×32: {run["kimg"]:.0f} kimg at {run["sec_per_kimg"]:.2f} s/kimg'
        if run.get('distance'):
            line += '; distance (`fd2k_efficientnet_full`) ' + ', '.join(f'{value:.0f}' for _, value in run['distance'])
        parts.append(line + '.')
    return '\n\n'.join(parts)


def steps_table(rows: list[dict]) -> str:
    """Seconds per kimg: a line per choice, a column per size; memory in brackets."""
    sizes, choices = (list(dict.fromkeys(row[key] for row in rows)) for key in ('size', 'choice'))
    cells = {(row['size'], row['choice']): row for row in rows}
    batch = {row['size']: row['batch'] for row in rows}

    def cell(size: str, choice: str) -> str:
        row = cells.get((size, choice))
        if row is None:
            return ''
        return 'failed' if 'error' in row else f'{row["sec_per_kimg"]:.2f} ({row["gib"]:.1f})'

    head = ['seconds per kimg (GiB)', *(f'{size}, batch {batch[size]}' for size in sizes)]
    failures = [f'* {row["size"]}, {row["choice"]}: {row["error"]}' for row in rows if 'error' in row]
    return table(head, [[choice, *(cell(size, choice) for size in sizes)] for choice in choices]) + '\n'.join(['', *failures])


def operators_table(rows: list[dict]) -> str:
    """PyTorch's and our operators, forward and with both backward passes."""
    kinds = {(r['name'], r['precision'], r['layout']): {} for r in rows}
    for r in rows:
        kinds[r['name'], r['precision'], r['layout']][r['kind']] = r
    lines = []
    for (name, precision, layout), found in kinds.items():
        ratios = [f'{found[k]["torch_ms"]:.3f} → {found[k]["native_ms"]:.3f} ({found[k]["ratio"]:.1f})' if k in found else ''
                  for k in ('forward', 'fb', 'double')]
        bandwidth = found.get('forward', {}).get('bandwidth')
        lines.append([f'{name}, {precision}, {layout}', *ratios, '' if bandwidth is None else f'{bandwidth:.0%}'])
    return table(['ms: PyTorch → ours (ratio)', 'forward', 'and backward', 'and double backward', 'share of bandwidth'], lines)


def shares_table(rows: list[dict]) -> str:
    """Where the time goes."""
    kinds = list(dict.fromkeys(kind for row in rows for kind in row['shares']))
    return table(['size', 'ms per step', 'kernels per step', 'device busy', *kinds],
                 [[row['size'], f'{1e3 * row["sec_per_step"]:.1f}', str(row['kernels_per_step']), f'{row["busy"]:.0%}',
                   *(f'{row["shares"].get(kind, 0):.0%}' for kind in kinds)] for row in rows])


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in [head, ['---'] * len(head), *rows])


if __name__ == '__main__':
    main()
