"""Emoji of several vendors: which are taken, that their contents are known, and what is held out together."""

import numpy as np
import PIL.Image
import pytest
from helpers.dataset_making import content, picture, refused, tool

import dataset_tool
from dnnlib import UserError
from training.data.dataset import ImageFolderDataset
from training.data.making import emoji

HAND, FAMILY = '1f44b', '1f468-200d-1f466'
NAMES = [HAND, f'{HAND}-1f3fb', f'{HAND}-1f3ff', FAMILY, '0023-fe0f-20e3', *(f'1f6{i:02x}' for i in range(16))]


def rgba(seed, size=64):
    """Colours, with everything transparent but a square in the middle."""
    pixels = np.dstack([picture(seed, (size, size, 3)), np.zeros([size, size], np.uint8)])
    pixels[size // 4:-size // 4, size // 4:-size // 4, 3] = 255
    return pixels


def make_package(root, vendor, names=NAMES, seed=0):
    folder = root / f'emoji-datasource-{vendor}' / 'img' / vendor
    (folder / '64').mkdir(parents=True)
    (folder / 'sheets').mkdir()
    for i, name in enumerate(names):
        PIL.Image.fromarray(rgba(seed + i)).save(folder / '64' / f'{name}.png')
    return folder.parents[1]


@pytest.fixture
def vendors(tmp_path):
    return [make_package(tmp_path / 'packages', 'google'), make_package(tmp_path / 'packages', 'twitter', seed=100)]


def options(vendors, *others):
    return ['--source=emoji', '--vendors=' + ','.join(map(str, vendors)), '--workers=1', *others]


def test_pairs_come_before_white_with_their_code_points(tmp_path, vendors):
    text = tool(*options(vendors, '--paired', '--dest', tmp_path / 'o.zip'))
    assert f'{2 * len(NAMES)} images, 64x64 RGB; 2 domains' in text
    fields = content(tmp_path / 'o.zip')
    assert fields['domains'] == ['google', 'twitter'] and len(fields['contents']) == len(NAMES)
    assert {'\U0001f44b\U0001f3fb', '#\ufe0f\u20e3', '\U0001f468\u200d\U0001f466'} <= set(fields['contents'])
    data = ImageFolderDataset(tmp_path / 'o.zip', use_labels=True)
    assert [(data.get_content(i), data.get_label(i).argmax()) for i in range(4)] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    names = sorted(NAMES, key=lambda name: [int(code, 16) for code in name.split('-')])
    for domain in range(2):
        expected = rgba(100 * domain + NAMES.index(names[1]))
        expected[expected[:, :, 3] == 0] = 255
        np.testing.assert_array_equal(data[2 + domain][0], expected[:, :, :3].transpose(2, 0, 1))


def test_unpaired_emoji_are_of_one_vendor_each_and_vendors_are_equally_large(tmp_path, vendors):
    def labels(*others):
        tool(*options(vendors, '--resolution=8', *others, '--dest', tmp_path / 'o.zip'))
        fields = content(tmp_path / 'o.zip')
        (tmp_path / 'o.zip').unlink()
        assert [c for _, c in fields['content']] == list(range(len(NAMES)))
        return [label for _, label in fields['labels']]
    first = labels()
    assert abs(2 * sum(first) - len(NAMES)) <= 1
    assert labels() == first != labels('--seed=1')


def test_the_splits_share_no_emoji_and_no_variant_of_one(vendors):
    for seed in range(5):
        sources = [emoji.open_emoji(vendors, True, split, seed) for split in ('train', 'test', None)]
        train, test, whole = map(list, sources)
        a, b = ({image.content for image in images} for images in (train, test))
        assert not a & b and a | b == set(range(len(NAMES))) and len(whole) == len(train) + len(test)
        hands = {i for i, text in enumerate(sources[0].contents) if text.startswith('\U0001f44b')}
        assert len(hands) == 3 and (hands <= a or hands <= b)


@pytest.mark.parametrize('name, others', [
    ('1f44b.png', ['1f44b-1f3fb.png']),
    ('1f3c3-1f3fd.png', ['1f3c3-200d-2640-fe0f.png', '1f3c3-1f3ff-200d-2642-fe0f.png']),
    ('1f9d1-200d-1f4bb.png', ['1f468-200d-1f4bb.png', '1f469-1f3fb-200d-1f4bb.png']),
])
def test_variants(name, others):
    assert all(emoji.variants_of(other) == emoji.variants_of(name) for other in others)
    assert emoji.variants_of(name) != emoji.variants_of('1f468-200d-1f466.png')


def test_only_emoji_that_all_vendors_have_and_that_look_different(tmp_path):
    ours = make_package(tmp_path, 'google', ['1f1eb-1f1f7', '1f600', '1f601', 'sheet'])
    theirs = make_package(tmp_path, 'twitter', ['1f1eb-1f1f7', '1f600', '1f602', 'sheet'], seed=9)
    for folder, vendor in ((ours, 'google'), (theirs, 'twitter')):
        france = folder / 'img' / vendor / '64' / '1f1eb-1f1f7.png'
        france.with_name('1f1f2-1f1eb.png').write_bytes(france.read_bytes())  # Saint Martin has the same flag
    (ours / 'img' / 'google' / '64' / '1f600-200d.png').write_bytes(france.read_bytes())
    (theirs / 'img' / 'twitter' / '64' / '1f600-200d.png').write_bytes(france.read_bytes())  # alike with one vendor alone
    text = tool(*options([ours, theirs], '--dest', tmp_path / 'o.zip'))
    assert 'Left out: 3 not of all vendors, or no emoji: 1f601.png, 1f602.png, sheet.png' in text
    assert 'Left out: 1 that look like an earlier one with every vendor: 1f1f2-1f1eb.png' in text
    assert content(tmp_path / 'o.zip')['contents'] == ['🇫🇷', '😀', '😀\u200d']


def test_greyscale_and_small_images(tmp_path, vendors):
    assert '16x16 greyscale' in tool(*options(vendors, '--mode=grey', '--resolution=16', '--dest', tmp_path / 'o.zip'))


def test_what_cannot_be_done_is_said_in_one_line(tmp_path, vendors):
    empty = make_package(tmp_path / 'empty', 'apple', [])
    refused(tmp_path, 'needs --vendors', '--source=emoji', '--workers=1')
    for given, message in (([tmp_path], 'has no folder img/VENDOR/64'),
                           ([vendors[0], vendors[0]], 'google is there twice'), ([*vendors, empty], 'no emoji in common')):
        refused(tmp_path, message, *options(given))
    broken = vendors[0] / 'img' / 'google' / '64' / f'{HAND}.png'
    broken.write_bytes(b'hello')
    refused(tmp_path, f'{broken}: not an image', *options(vendors))


@pytest.mark.parametrize('args, message', [
    (['--source=emoji', '--fonts=DejaVuSans'], '--fonts is not for --source=emoji'),
    (['--source=emoji', '--jitter=0.1'], '--jitter is not for --source=emoji'),
    (['--source=emoji', '--labels=x.csv'], '--labels is not for --source=emoji'),
    (['--source=glyphs', '--vendors=x'], '--vendors is not for --source=glyphs'),
    (['--source=mnist', '--vendors=x'], '--vendors is for --source=emoji'),
    (['--source=mnist', '--split=test'], '--split is for --source=glyphs and emoji'),
])
def test_options_of_one_source_are_for_it_alone(tmp_path, args, message):
    with pytest.raises((UserError, dataset_tool.click.UsageError), match=message):
        dataset_tool.main([*args, f'--dest={tmp_path / "o.zip"}'], standalone_mode=False)
