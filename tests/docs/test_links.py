"""Every link of the pages leads to a file, and every anchor to a heading."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *ROOT.glob('models/**/*.md'), ROOT / 'datasets' / 'README.md',
                *ROOT.glob('docs/*.ipynb')])


def anchors(page):
    """What GitHub makes of the headings."""
    titles = re.findall(r'^#+ +(.*)$', page.read_text(encoding='utf-8'), flags=re.MULTILINE)
    plain = [re.sub(r'\[(.*?)\]\(.*?\)', r'\1', title).replace('`', '').replace('*', '') for title in titles]
    return {re.sub(r'[^\w\- ]', '', title.strip().lower()).replace(' ', '-') for title in plain}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    broken = []
    for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text(encoding='utf-8')):
        if re.match(r'https?://', link):
            continue
        name, _, anchor = link.partition('#')
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == '.md' and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_there_are_pages_and_the_index_has_them_all():
    index = (ROOT / 'docs' / 'README.md').read_text(encoding='utf-8')
    pages = [page.name for page in PAGES if page.parent == ROOT / 'docs' and page.name != 'README.md']
    missing = [name for name in pages if f'({name})' not in index]
    assert len(PAGES) > 20 and not missing
