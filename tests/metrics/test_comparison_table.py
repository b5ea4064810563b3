"""metrics/report.py: the table of several networks fits in a terminal, however long their names are."""

from metrics.report import comparison

RECORDS = [{'results': {'style_l1': 0.25, 'variety': 1.0}}, {'results': {'style_l1': 0.5}}]


def test_names_of_networks_are_the_headings():
    head, *rows = comparison(RECORDS, ['control', 'l1']).splitlines()
    assert head.split() == ['control', 'l1'] and len(rows) == 2


def test_long_names_are_listed_below():
    names = [f'00000-glyphs-cond-auto1-gamma0.1-kimg124-batch16-{cell}-network-snapshot-000124' for cell in ('control', 'l1')]
    head, first, second, *legend = comparison(RECORDS, names).splitlines()
    assert head.split() == ['A', 'B'] and legend == [f'A: {names[0]}', f'B: {names[1]}']
    assert first.split() == ['style_l1', '0.25', '0.5'] and second.split() == ['variety', '1', '-']
    assert max(map(len, (head, first, second))) < 40
