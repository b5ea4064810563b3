"""Images for metrics to compare with must fit the training images."""

import numpy as np
import pytest
from helpers.domain_cases import pictures, write_dataset

from dnnlib.util import OptionError
from training.data.dataset import ImageFolderDataset
from training.data.held_out import describe, open_eval_data


@pytest.fixture
def training_set(tmp_path):
    return write_dataset(tmp_path / 'train.zip', pictures(4), [0, 1, 0, 1])


def test_what_fits_is_opened_as_the_training_images_are(training_set, tmp_path):
    write_dataset(tmp_path / 'test.zip', pictures(3, seed=1), [1, 1, 0], domains=())
    data = open_eval_data(ImageFolderDataset, str(tmp_path / 'test.zip'), True, True, training_set)
    assert len(data) == 6 and data.label_dim == 2
    assert open_eval_data(ImageFolderDataset, str(tmp_path / 'test.zip'), False, False).label_dim == 0
    assert describe(data.all_images(False)).startswith('test-') and describe(data) != describe(training_set)


@pytest.mark.parametrize(('size', 'labels', 'domains', 'text'), [
    (4, [0, 1], ('red', 'green'), r'its images are \[3, 4, 4\], but the training images \[3, 8, 8\]'),
    (8, [0, 2], ('red', 'green', 'blue'), 'has 3 classes, but the training images have 2 classes'),
    (8, [0, 1], ('green', 'red'), 'its domains are green, red, but those of the training images red, green'),
])
def test_what_does_not_fit_is_refused(training_set, tmp_path, size, labels, domains, text):
    write_dataset(tmp_path / 'test.zip', pictures(2)[:, :, :size, :size], labels, domains=domains)
    with pytest.raises(OptionError, match=rf'--eval-data: .*test\.zip: {text}; convert it as .*train\.zip was'):
        open_eval_data(ImageFolderDataset, str(tmp_path / 'test.zip'), True, False, training_set)


def test_labels_matter_only_where_they_are_used(tmp_path):
    training_set = ImageFolderDataset(write_dataset(tmp_path / 'train.zip', pictures(2), [0, 1]).path)
    write_dataset(tmp_path / 'test.zip', pictures(2), [0, 5])
    assert len(open_eval_data(ImageFolderDataset, str(tmp_path / 'test.zip'), False, False, training_set)) == 2
    with pytest.raises(OptionError, match=r'^--eval-data: .*gone\.zip: no such file'):
        open_eval_data(ImageFolderDataset, str(tmp_path / 'gone.zip'), False, False)
    assert np.array_equal(training_set[0][1], np.zeros(0))
