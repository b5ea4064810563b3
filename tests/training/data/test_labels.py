"""Labels of dataset.json find their images, or the one that does not is named."""

import json
import unicodedata

import numpy as np
import pytest
from helpers.dataset_making import make_folder

from dnnlib import UserError
from training.data.dataset import ImageFolderDataset

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, 'é.png') for form in ('NFC', 'NFD'))


def labelled(root, entries, names=('a.png', 'sub/B.PNG', COMPOSED)):
    make_folder(root, names)
    (root / 'dataset.json').write_text(json.dumps({'labels': entries}), encoding='utf-8')
    return ImageFolderDataset(str(root), use_labels=True)


@pytest.mark.parametrize('a,b,c', [('./a.png', 'sub\\B.PNG', COMPOSED), ('A.PNG', 'SUB/b.png', DECOMPOSED),
                                   ('/a.png', './/sub/./b.png', unicodedata.normalize('NFD', 'É.PNG'))])
def test_names_are_understood(tmp_path, a, b, c):
    data = labelled(tmp_path, [[a, 1], [b, 0], [c, 2], ['extra.png', 7]])
    assert {name: int(data.get_details(i).raw_label) for i, name in enumerate(data.names)} == {
        'a.png': 1, 'sub/B.PNG': 0, COMPOSED: 2}
    assert data.empty_classes() == []


def test_case_matters_where_only_case_differs(tmp_path):
    data = labelled(tmp_path, [['a.png', 1], ['A.png', 0]], ['a.png', 'A.png'])
    assert [int(data.get_details(i).raw_label) for i in range(2)] == [0, 1]
    data = labelled(tmp_path / 'x', [['b.PNG', 1], ['b.Png', 0]], ['b.png'])
    with pytest.raises(UserError, match=r"no label for b\.png; its entry 'b\.PNG' fits no image"):
        data.get_label(0)


@pytest.mark.parametrize('entries,message', [
    ([['photos/a.png', 0], ['b.png', 1]], r"no label for a\.png; its entry 'photos/a\.png' fits no image"),
    ([['a.png', 0], ['./a.png', 1], ['b.png', 1]], r'a\.png has two different labels, 0 and 1'),
    ([['a.png', 0], ['b.png', 0.5]], r'label of b\.png is 0\.5, but a class is a whole number'),
    ([['a.png', 20211103], ['b.png', 0]], r'label of a\.png is 20211103, which makes 20211104 classes, more than 65536'),
    ([['a.png', [0.0] * 65537], ['b.png', [0.0] * 65537]], r'label of a\.png is a vector of 65537 numbers'),
])
def test_labels_that_cannot_be_right_are_named(tmp_path, entries, message):
    data = labelled(tmp_path, entries, ['a.png', 'b.png'])
    for look in (data.validate, lambda: data.label_dim):
        with pytest.raises(UserError, match=message) as caught:
            look()
        assert 'dataset.json' in str(caught.value) and '\n' not in str(caught.value)


def test_the_same_label_twice_is_fine_and_classes_without_images_are_known(tmp_path):
    data = labelled(tmp_path, [['a.png', 3], ['./a.png', 3], ['b.png', 1.0]], ['a.png', 'b.png'])
    assert data.label_dim == 4 and data.empty_classes() == [0, 2]
    np.testing.assert_array_equal(data.get_label(1), [0, 1, 0, 0])


def test_labels_one_level_down_are_named(tmp_path):
    labelled(tmp_path / 'up' / 'set', [['a.png', 1]], ['a.png'])
    assert len(ImageFolderDataset(str(tmp_path / 'up'))) == 1
    with pytest.raises(UserError, match=r'up/set/dataset\.json: labels are read from dataset\.json at the root alone'):
        ImageFolderDataset(str(tmp_path / 'up'), use_labels=True).get_label(0)
