"""python -m training.snapshot export --to=onnx: files beside an export for a hub, whose model card has code that runs."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import drawing
from helpers.programs import run_program

from training.snapshots import portable
from training.snapshots.file import load_network_snapshot
from training.snapshots.tool import export, main

pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')
onnx = pytest.importorskip('onnx')


def run(*args):
    return run_program(main, 'export', *map(str, args))


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """(folder of an i-StyleGAN for a hub with ONNX files, what the command printed)."""
    folder = tmp_path_factory.mktemp('hub') / 'two faces'
    network = drawing.save_network(folder.parent / 'network-snapshot-000000.pkl', 2, resolution=8, cond_mode='flow', i_dim=3)
    export.export_folder(str(network), str(folder), None, None, torch.device('cpu'))
    status, out, err = run('--to=onnx', f'--network={folder}', f'--outdir={folder}')
    assert status == 0, err
    return folder, out


def test_it_says_what_it_wrote_and_how_exact_it_is(exported):
    folder, out = exported
    lines = out.splitlines()
    assert re.fullmatch(r'mapping +0\.\d\d MB: z \[N, 8\], c \[N, 2\], truncation_psi \[1\] -> ws \[N, 4, 8\]', lines[0])
    assert re.fullmatch(r'synthesis +0\.\d\d MB: ws -> image \[N, 3, 8, 8\]', lines[1])
    assert lines[2].startswith('1 image: differs from PyTorch by ') and lines[3].startswith('3 images: differs from PyTorch by ')
    assert lines[4] == f'Wrote {folder}/mapping.onnx and {folder}/synthesis.onnx'


def test_the_files_say_what_they_are_and_nothing_of_this_machine(exported):
    for name in portable.NAMES:
        model = onnx.load(str(exported[0] / f'{name}.onnx'))
        onnx.checker.check_model(model)
        assert [entry.version for entry in model.opset_import if entry.domain == ''] == [18]
        assert {entry.key: json.loads(entry.value) for entry in model.metadata_props}.keys() == {'method', 'kimg', 'label_names'}
        assert b'.py' not in model.SerializeToString()
        assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == 'batch'


def test_images_are_those_of_the_network_in_any_batch(exported):
    G = load_network_snapshot(str(exported[0]), only=('G_ema',)).G_ema
    mapping, synthesis = (onnxruntime.InferenceSession(exported[0] / f'{name}.onnx') for name in portable.NAMES)
    for count in (1, 5):
        z, c = torch.randn(count, 8), torch.eye(2)[torch.arange(count) % 2]
        (ws,) = mapping.run(None, dict(z=z.numpy(), c=c.numpy(), truncation_psi=np.float32([0.5])))
        (image,) = synthesis.run(None, dict(ws=ws))
        expected = G(z, c, truncation_psi=0.5, noise_mode='const')
        assert ws.shape == (count, 4, 8) and np.abs(image - expected.numpy()).max() < 1e-5 * expected.abs().max()


def test_the_model_card_has_code_that_runs(exported, tmp_path):
    """The two snippets for ONNX Runtime and for the framework; the third is that of torch.export."""
    blocks = re.findall(r'```python\n(.*?)```', (exported[0] / 'README.md').read_text(), re.DOTALL)
    assert len(blocks) == 3 and 'onnxruntime' in blocks[1] and 'torch.export' in blocks[2]
    done = subprocess.run([sys.executable, '-c', blocks[1] + 'print(pixels.shape, pixels.dtype, pixels.std() > 1)'],
                          cwd=exported[0].parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, '(4, 8, 8, 3) uint8 True\n'), done.stderr


def test_what_is_there_is_kept_and_options_have_to_fit(exported):
    folder, _ = exported
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    status, _, err = run('--to=onnx', f'--network={folder}', f'--outdir={folder}')
    assert status == 2 and 'mapping.onnx is there already' in err
    for args, text in ((['--to=onnx', '--license=mit'], '--license has no effect with --to=onnx'),
                       (['--to=hub', '--noise-mode=none'], '--noise-mode has no effect with --to=hub')):
        status, _, err = run(*args, f'--network={folder}', '--outdir=new')
        assert status == 2 and text in err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_is_wrong_is_not_written(exported, tmp_path, monkeypatch):
    wrong = [portable.Difference(1, 0, 0.5, 1, 1)]
    monkeypatch.setattr(portable, 'make_files', lambda *args: dict(mapping=b'', synthesis=b''))
    monkeypatch.setattr(portable, 'load', lambda *args: None)
    monkeypatch.setattr(portable, 'compare', lambda *args: wrong)
    status, out, err = run('--to=onnx', f'--network={exported[0]}', f'--outdir={tmp_path / "new"}')
    assert status == 1 and 'differs from PyTorch by more than 0.001' in err and 'Wrote' not in out
    assert not (tmp_path / 'new').exists()
