"""dataset_tool.py: folders and ZIP files, its checks, and that a dataset is there whole or not at all."""

import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from helpers.dataset_making import content, make_folder, picture, refused, save, tool

import dataset_tool
from dnnlib import UserError
from training.data.dataset import ImageFolderDataset

ROOT = Path(__file__).parents[2]


# Folders and ZIP files.

@pytest.mark.parametrize('dest', ['out.zip', 'out', 'new/out.zip'])
def test_folder_becomes_a_dataset(tmp_path, dest):
    source = make_folder(tmp_path / 'src', ['b.png', 'a.png', 'c.PNG'])
    (source / 'notes.txt').write_text('')
    text = tool('--source', source, '--dest', tmp_path / dest)
    assert '3 images, 8x8 RGB; no labels' in text
    data = ImageFolderDataset(tmp_path / dest, use_labels=True)
    data.validate()
    assert len(data) == 3 and not data.has_labels
    for item, i in enumerate([1, 0, 2]):
        np.testing.assert_array_equal(data[item][0], picture(i).transpose(2, 0, 1))


def test_canonical_names_and_plain_zip(tmp_path):
    tool('--source', make_folder(tmp_path / 'src', ['a.png', 'b.png']), '--dest', tmp_path / 'out.zip')
    with zipfile.ZipFile(tmp_path / 'out.zip') as z:
        assert z.namelist() == ['00000/img00000000.png', '00000/img00000001.png', 'dataset.json']
        assert {info.compress_type for info in z.infolist()} == {zipfile.ZIP_STORED}
    assert content(tmp_path / 'out.zip') == {'labels': None}


def test_output_is_deterministic_and_replaces_a_zip(tmp_path):
    source = make_folder(tmp_path / 'src', ['x/a.png', 'y/b.png'])
    tool('--source', source, '--dest', tmp_path / '1.zip')
    (tmp_path / '2.zip').write_bytes(b'old')
    tool('--source', source, '--dest', tmp_path / '2.zip')
    assert (tmp_path / '1.zip').read_bytes() == (tmp_path / '2.zip').read_bytes()


def test_labels_and_domain_names_survive_conversion(tmp_path):
    source = make_folder(tmp_path / 'src', ['b.png', 'd/a.png'])
    (source / 'dataset.json').write_text('{"labels": [["d/a.png", 2], ["b.png", 0]], "domains": ["p", "q", "r"]}')
    tool('--source', source, '--dest', tmp_path / '1.zip')
    text = tool('--source', tmp_path / '1.zip', '--dest', tmp_path / '2.zip')
    assert 'Warning: domain q has no image' in text
    expected = [['00000/img00000000.png', 0], ['00000/img00000001.png', 2]]
    assert content(tmp_path / '2.zip') == {'labels': expected, 'domains': ['p', 'q', 'r']}


def test_vector_labels_survive_and_a_missing_label_drops_all(tmp_path):
    source = make_folder(tmp_path / 'src', ['a.png', 'b.png'])
    (source / 'dataset.json').write_text('{"labels": [["a.png", [0.5, 1]], ["b.png", [1, 2]]]}')
    tool('--source', source, '--dest', tmp_path / '1.zip')
    assert [label for _, label in content(tmp_path / '1.zip')['labels']] == [[0.5, 1], [1, 2]]
    (source / 'dataset.json').write_text('{"labels": [["a.png", 1]]}')
    assert 'Warning: 1 images have no label' in tool('--source', source, '--dest', tmp_path / '2.zip')
    assert content(tmp_path / '2.zip') == {'labels': None}


def test_left_out_images_keep_their_numbers(tmp_path):
    for i, size in enumerate([(4, 8), (8, 4), (8, 8), (8, 8)]):
        save(tmp_path / 'src' / f'{i}.png', picture(i, (*size, 3)))
    tool('--source', tmp_path / 'src', '--dest', tmp_path / 'out.zip', '--transform=center-crop-wide', '--width=8',
         '--height=8', '--max_images=3')
    assert zipfile.ZipFile(tmp_path / 'out.zip').namelist()[0] == '00000/img00000002.png'
    assert len(ImageFolderDataset(tmp_path / 'out.zip')) == 1


def test_palettes_and_bitmaps_are_resolved(tmp_path):
    for mode, channels in [('P', 3), ('1', 1)]:
        save(tmp_path / mode / 'a.png', picture(0), mode)
        tool('--source', tmp_path / mode, '--dest', tmp_path / f'{mode}.zip')
        data = ImageFolderDataset(tmp_path / f'{mode}.zip')
        expected = np.array(PIL.Image.open(tmp_path / mode / 'a.png').convert('RGB' if channels == 3 else 'L'))
        np.testing.assert_array_equal(data[0][0], expected.reshape(8, 8, channels).transpose(2, 0, 1))


# Domains in folders.

def test_sub_folders_are_domains(tmp_path):
    source = make_folder(tmp_path / 'src', ['dog/b.png', 'cat/z/a.png', 'dog/a.png', 'stray.png', 'Zoo/a.png'])
    (source / 'README.txt').write_text('')
    (source / 'empty').mkdir()
    refused(tmp_path, 'src: has 1 images beside its sub-folders (stray.png), and 4 in them (Zoo, cat, dog); --domains=none takes',
            '--source', source)
    text = tool('--source', source, '--dest', tmp_path / 'out.zip', '--domains=folders')
    assert '    2       2  dog' in text and '4 images' in text and '3 domains' in text
    assert 'Left out: 1 beside the sub-folders, which are the domains; --domains=none takes them: stray.png\n' in text
    assert content(tmp_path / 'out.zip')['domains'] == ['Zoo', 'cat', 'dog']
    data = ImageFolderDataset(tmp_path / 'out.zip', use_labels=True)
    assert [data.get_label(i).argmax() for i in range(4)] == [0, 1, 2, 2]
    np.testing.assert_array_equal(data[1][0], picture(1).transpose(2, 0, 1))
    assert data.domains == ['Zoo', 'cat', 'dog']


def test_limits_are_total_and_per_domain(tmp_path):
    source = make_folder(tmp_path / 'src', [f'{d}/{i}.png' for d in 'abc' for i in range(3)])
    tool('--source', source, '--dest', tmp_path / '1.zip', '--max-images=4')
    assert [label for _, label in content(tmp_path / '1.zip')['labels']] == [0, 0, 0, 1]
    tool('--source', source, '--dest', tmp_path / '2.zip', '--max-images-per-domain=2')
    assert [label for _, label in content(tmp_path / '2.zip')['labels']] == [0, 0, 1, 1, 2, 2]


def test_domains_can_be_forced_and_suppressed(tmp_path):
    source = make_folder(tmp_path / 'src', ['a/1.png', 'b/1.png'])
    tool('--source', source, '--dest', tmp_path / 'none.zip', '--domains=none')
    assert content(tmp_path / 'none.zip') == {'labels': None}
    with zipfile.ZipFile(tmp_path / 'raw.zip', 'w') as z:
        for name in ('a/1.png', 'b/1.png'):
            z.write(source / name, name)
    tool('--source', tmp_path / 'raw.zip', '--dest', tmp_path / 'plain.zip')
    assert content(tmp_path / 'plain.zip') == {'labels': None}
    tool('--source', tmp_path / 'raw.zip', '--dest', tmp_path / 'forced.zip', '--domains=folders')
    assert content(tmp_path / 'forced.zip')['domains'] == ['a', 'b']


def test_numbered_folders_of_a_converted_dataset_are_no_domains(tmp_path):
    source = make_folder(tmp_path / 'src', ['00000/img00000000.png', '00001/img00001000.png'])
    tool('--source', source, '--dest', tmp_path / 'out.zip')
    assert content(tmp_path / 'out.zip') == {'labels': None}


# Errors.

@pytest.mark.parametrize('shapes,message', [
    ([(9, 16, 3)], 'the nearest sizes that can: 14x8'),
    ([(18, 18, 3)], 'images of 18x18 cannot be made by doubling'),
    ([(8, 8, 4)], 'must be stored as RGB or grayscale'),
    ([(8, 8, 3), (8, 8)], 'dataset channels/cur image channels: 3/1'),
    ([(8, 8, 3), (4, 8, 3)], 'dataset height/cur image height: 8/4'),
])
def test_images_that_do_not_fit_are_named(tmp_path, shapes, message):
    for i, shape in enumerate(shapes):
        save(tmp_path / 'src' / f'{i}.png', picture(i, shape))
    refused(tmp_path, message, '--source', tmp_path / 'src')
    with pytest.raises(UserError, match=rf'{len(shapes) - 1}\.png'):
        tool('--source', tmp_path / 'src', '--dest', tmp_path / 'x.zip')


def test_damaged_images_are_named(tmp_path):
    source = make_folder(tmp_path / 'src', ['a.png', 'b.png'])
    whole = (source / 'b.png').read_bytes()
    for damaged in (whole[:-60], whole[:30], b'hello', b''):
        (source / 'b.png').write_bytes(damaged)
        refused(tmp_path, 'b.png', '--source', source)
    with zipfile.ZipFile(tmp_path / 'src.zip', 'w') as z:
        z.writestr('x/b.png', whole[:-60])
    refused(tmp_path, 'x/b.png in ', '--source', tmp_path / 'src.zip')
    save(source / 'b.png', np.zeros([8, 8], np.uint16))
    refused(tmp_path, '8 bits', '--source', source)


def test_wrong_sources_are_named(tmp_path):
    refused(tmp_path, 'Missing input file or directory', '--source', tmp_path / 'gone')
    (tmp_path / 'x.rar').write_bytes(b'')
    refused(tmp_path, 'x.rar: unknown archive type', '--source', tmp_path / 'x.rar')
    (tmp_path / 'x.zip').write_bytes(b'PK')
    refused(tmp_path, 'x.zip: not a ZIP file', '--source', tmp_path / 'x.zip')
    (tmp_path / 'empty').mkdir()
    refused(tmp_path, 'No image files found', '--source', tmp_path / 'empty')
    flat = make_folder(tmp_path / 'flat', ['a.png'])
    refused(tmp_path, '--max-images-per-domain needs', '--source', flat, '--max-images-per-domain=1')
    (flat / 'dataset.json').write_text('{')
    refused(tmp_path, 'dataset.json: not valid JSON', '--source', flat)


def test_if_every_image_is_left_out_it_says_so(tmp_path):
    source = make_folder(tmp_path / 'src', ['a.png'])
    refused(tmp_path, 'no image to write', '--source', source, '--transform=center-crop-wide', '--width=16', '--height=8')


def test_a_folder_with_files_is_no_destination(tmp_path):
    source, full = make_folder(tmp_path / 'src', ['a.png']), make_folder(tmp_path / 'full', ['b.png'])
    with pytest.raises(UserError, match='must be empty'):
        tool('--source', source, '--dest', full)


@pytest.mark.parametrize('args', [
    ['--max-images=-1'], ['--width=0'], ['--width=x'], ['--transform=center-crop', '--width=8'], ['--transform=zoom'],
    ['--transform=center-crop-wide', '--width=8', '--height=16'], ['--resolution=500x375'], ['--domains=reddish'],
    ['--domains=red,red'], ['--domains='],
    ['--paired'], ['--domains=none', '--max-images-per-domain=3'], ['--seed=-1', '--domains=two-color'],
    ['--resize-filter=cubic'], ['--nonsense'],
])
def test_wrong_options_exit_with_2(tmp_path, args):
    result = CliRunner().invoke(dataset_tool.main, ['--source', str(tmp_path), '--dest', str(tmp_path / 'o.zip'), *args])
    assert result.exit_code == 2 and not list(tmp_path.iterdir())


# As a program.

def program(*args):
    return subprocess.run([sys.executable, 'dataset_tool.py', *map(str, args)], cwd=ROOT, capture_output=True, text=True)


def test_errors_are_one_line_and_status_1(tmp_path):
    done = program('--source', tmp_path / 'gone', '--dest', tmp_path / 'out.zip')
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr == f'Error: Missing input file or directory: {tmp_path}/gone\n'


def test_runs_and_does_not_import_torch(tmp_path):
    source = make_folder(tmp_path / 'src', ['a.png'])
    done = program('--source', source, '--dest', tmp_path / 'out.zip')
    assert done.returncode == 0 and done.stdout.startswith(f'{tmp_path}/out.zip: 1 images') and done.stderr == ''
    code = ('import sys, dataset_tool, training.dataset, torch_utils.sampler;'
            'assert not {"torch", "scipy", "requests"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


@pytest.mark.parametrize('dest', ['out', 'out.zip'])
def test_killed_in_the_middle_it_leaves_no_destination(tmp_path, dest):
    code = f'''if True:
        import sys, time
        import numpy as np
        from dataset_tool import convert
        from training.data.making.sources import Source, SourceImage
        def images():
            yield SourceImage(np.zeros([8, 8], np.uint8), None, 'x')
            print('ready', flush=True)
            time.sleep(60)
        convert(Source(images(), 2), {str(tmp_path / dest)!r}, lambda image: image)
    '''
    process = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b'ready\n'
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / dest).exists()
    tool('--source', make_folder(tmp_path / 'src', ['a.png']), '--dest', tmp_path / dest)  # and does not stand in the way
