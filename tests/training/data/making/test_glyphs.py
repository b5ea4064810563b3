"""Characters in several typefaces: which are drawn, how, and that everything about them is known."""

import json
import zipfile

import numpy as np
import pytest
from helpers.font_making import make_font

import dataset_tool
from dnnlib import UserError
from training.data.making import glyphs
from training.dataset import ImageFolderDataset


@pytest.fixture
def fonts(tmp_path):
    return [make_font(tmp_path / 'One.ttf', 'HABCD', blank='E'), make_font(tmp_path / 'Two.ttf', 'HBACE')]


def test_only_characters_that_all_fonts_have_and_draw(fonts, capsys):
    faces = glyphs.find_faces(fonts)
    assert glyphs.choose_characters('common', faces) == 'ABCEH'  # Ж is in both tables, as the empty box
    assert glyphs.distinct('ABCEH', faces) == 'ABCH'
    assert '1 of 5 characters are left out: they are blank' in capsys.readouterr().out


def test_characters_that_look_alike_everywhere_are_one(capsys):
    faces = glyphs.find_faces(['DejaVuSans', 'DejaVuSerif'])
    assert glyphs.distinct('A\u0391B\u0410', faces) == 'AB'  # Latin, Greek, Latin, Cyrillic
    assert '2 of 4 characters are left out: they look like another one' in capsys.readouterr().out


def test_scripts_and_files(tmp_path, capsys):
    faces = glyphs.find_faces(None)
    greek = glyphs.choose_characters('greek', faces)
    assert 'Ω' in greek and 'A' not in greek
    (tmp_path / 'mine.txt').write_text('b a\nb 漢', encoding='utf-8')
    assert glyphs.choose_characters(str(tmp_path / 'mine.txt'), faces) == 'ba'
    assert '1 of the 3 characters' in capsys.readouterr().out
    assert 1200 < len(glyphs.choose_characters('common', faces)) < 1600


def test_all_characters_of_a_face_have_one_optical_size_and_a_common_base_line():
    face, = glyphs.find_faces(['DejaVuSans'])
    rows = {c: np.flatnonzero(glyphs.draw(face, c, 64).max(axis=1) > 127) for c in 'HEx'}
    assert rows['H'][0] == rows['E'][0] and rows['H'][-1] == rows['E'][-1] == rows['x'][-1]
    assert rows['H'][-1] - rows['H'][0] + 1 == pytest.approx(64 * glyphs.CAPITAL, abs=1)
    assert rows['x'][0] > rows['H'][0]


@pytest.mark.parametrize('character', ['Ǻ', 'Ў', 'ſ', 'g', 'Ǆ'])
def test_nothing_is_cut_off(character):
    face, = glyphs.find_faces(['DejaVuSans-Bold'])
    for placement in (glyphs.Placement(), glyphs.Placement(0.25, 0.25, 1.25), glyphs.Placement(-0.25, -0.25)):
        large = glyphs.draw(face, character, 64, placement).astype(float)
        reference = glyphs.draw(face, character, 64, glyphs.Placement(0, 0, placement.scale)).astype(float)
        assert large.sum() == pytest.approx(reference.sum(), rel=0.02)


def test_the_splits_share_no_character_and_number_them_alike(fonts):
    train, test, whole = (list(glyphs.open_glyphs(None, 'latin', split=split, paired=True)) for split in ('train', 'test', None))
    a, b = ({image.content for image in images} for images in (train, test))
    assert not a & b and a | b == {image.content for image in whole}
    assert len(b) == pytest.approx(len(a | b) / 10, abs=1)
    assert len(whole) == 3 * len(a | b) and len(train) + len(test) == len(whole)


def test_unpaired_characters_are_in_one_face_each_and_faces_are_equally_large():
    images = list(glyphs.open_glyphs(None, 'greek'))
    assert len({image.content for image in images}) == len(images)
    counts = np.bincount([image.label for image in images])
    assert len(counts) == 3 and counts.max() - counts.min() <= 1
    other = [image.label for image in glyphs.open_glyphs(None, 'greek', seed=1)]
    assert other != [image.label for image in images]
    assert [image.label for image in glyphs.open_glyphs(None, 'greek')] == [image.label for image in images]


def test_the_command_writes_contents_and_placements(tmp_path):
    (tmp_path / 'abc.txt').write_text('abcdefgh')
    dest = tmp_path / 'glyphs.zip'
    dataset_tool.main(['--source=glyphs', f'--chars={tmp_path / "abc.txt"}', '--paired', '--jitter=0.05', '--resolution=16',
                       f'--dest={dest}', '--workers=1'], standalone_mode=False)
    with zipfile.ZipFile(dest) as z:
        fields = json.loads(z.read('dataset.json'))
    assert fields['contents'] == list('abcdefgh') and fields['domains'] == list(glyphs.DEFAULT_FONTS)
    moved = dict(fields['placement'])
    names = [name for name, _ in fields['labels']]
    assert all(abs(x) <= 0.05 and abs(y) <= 0.05 and abs(s - 1) <= 0.05 for x, y, s in moved.values())
    assert moved[names[0]] == moved[names[1]] == moved[names[2]] != moved[names[3]], 'alike in all faces'
    data = ImageFolderDataset(str(dest), use_labels=True)
    assert data.image_shape == [1, 16, 16] and data.content_dim == 8 and [data.get_content(i) for i in range(4)] == [0, 0, 0, 1]
    assert [name for name, _, role in data.factor_names if role == 'content'] == [
        'script', 'category', 'marks', 'right', 'down', 'scale']
    for i, name in enumerate(names):
        assert np.allclose(data.get_factors(i), [0, 1, 0, *moved[name], i % 3])


def test_without_jitter_all_factors_are_classes_and_the_typeface_is_style(fonts):
    source = glyphs.open_glyphs(fonts, 'latin', 16, paired=True)
    assert source.factor_names == [('script', 'class', 'content'), ('category', 'class', 'content'),
                                   ('marks', 'class', 'content'), ('typeface', 'class', 'style')]
    assert [image.factors for image in source][:3] == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize('options, message', [
    (['--fonts=/nowhere.ttf'], 'there is no file /nowhere.ttf'),
    (['--fonts=DejaVuSans,DejaVuSans'], 'DejaVuSans is there twice'),
    (['--fonts={damaged}'], 'not a font file'),
    (['--chars=/nowhere.txt'], 'not a text file'),
    (['--fonts={one}', '--chars=cyrillic'], 'no such character is in all of One'),
    (['--domains=red,blue'], '--domains is not for --source=glyphs'),
    (['--labels=x.csv'], '--labels is not for --source=glyphs'),
])
def test_what_cannot_be_done_is_said_in_one_line(options, message, fonts, tmp_path, capsys):
    (tmp_path / 'damaged.ttf').write_bytes(b'\0\1\0\0' + b'no font' * 9)
    options = [o.format(damaged=tmp_path / 'damaged.ttf', one=fonts[0]) for o in options]
    with pytest.raises((UserError, dataset_tool.click.UsageError), match=message):
        dataset_tool.main(['--source=glyphs', *options, f'--dest={tmp_path / "out.zip"}'], standalone_mode=False)
    assert not list(tmp_path.glob('*out.zip*'))


def test_options_of_glyphs_are_for_glyphs_alone(tmp_path):
    with pytest.raises(dataset_tool.click.UsageError, match='--jitter is for --source=glyphs'):
        dataset_tool.main(['--source=mnist', '--jitter=0.1', f'--dest={tmp_path / "out.zip"}'], standalone_mode=False)
