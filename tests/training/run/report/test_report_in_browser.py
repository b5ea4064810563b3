"""report.html in a headless browser: quiet, without requests, fit for narrow screens, and its sliders work."""

import contextlib

import pytest
from helpers.reported_runs import CHROMIUM, write_run

from training.run.report.report import report


@pytest.fixture(scope='module')
def browser():
    sync_api = pytest.importorskip('playwright.sync_api')
    if CHROMIUM is None:
        pytest.skip('there is no Chromium')
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, path, **kwargs):
    """The page, and what it complained of or asked for."""
    context = browser.new_context(**kwargs)
    tab, trouble = context.new_page(), []
    tab.on('console', lambda message: trouble.append(message.text))
    tab.on('pageerror', lambda error: trouble.append(str(error)))
    tab.on('request', lambda request: request.url.startswith(('data:', 'file:')) or trouble.append(request.url))
    tab.goto(path.as_uri())
    yield tab, trouble
    context.close()


@pytest.mark.parametrize('runs', [1, 2])
def test_the_page_is_quiet_and_fits(browser, tmp_path, runs):
    run_dirs = [write_run(tmp_path / f'0000{i}-{"long" * 30}', ticks=6 - i) for i in range(runs)]
    path = tmp_path / 'report.html'
    path.write_text(report([str(run_dir) for run_dir in run_dirs], path))
    for width, scheme in ((1280, 'light'), (400, 'dark')):
        with opened(browser, path, viewport=dict(width=width, height=800), color_scheme=scheme) as (tab, trouble):
            assert tab.evaluate('document.documentElement.scrollWidth') <= width
            assert tab.locator('canvas').count() == tab.locator('.chart').count() > 8
            dark = tab.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(20, 23, 28)'
            assert dark == (scheme == 'dark') and trouble == []


def test_sliders_move_together_and_keys_show_what_is_below_the_cursor(browser, tmp_path):
    path = tmp_path / 'report.html'
    path.write_text(report([str(write_run(tmp_path / '00000-a')), str(write_run(tmp_path / '00001-b', snapshots=6))], path))
    with opened(browser, path, viewport=dict(width=1280, height=800)) as (tab, trouble):
        def shown():
            return [int(frame.get_attribute('data-kimg')) for frame in tab.locator('.frame:visible').all()]

        assert shown() == [24, 24]
        tab.locator('input[type=range]').first.evaluate('e => { e.value = 0; e.dispatchEvent(new Event("input")); }')
        assert shown() == [8, 8] and tab.locator('output').all_inner_texts() == ['8 kimg', '8 kimg']
        chart = tab.locator('.chart', has_text='Scores of the discriminator')
        before = chart.locator('.keys').inner_text()
        chart.locator('.u-over').hover(position=dict(x=5, y=40))
        assert chart.locator('.keys').inner_text() != before and trouble == []
