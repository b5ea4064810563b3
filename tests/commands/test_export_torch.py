"""python -m training.snapshot export --to=torch-export: the code in the model card draws the same images as the network."""

import re
import subprocess
import sys

import torch
from helpers import drawing
from helpers.programs import run_program

from training.snapshots.file import load_network_snapshot
from training.snapshots.tool import export, main

Z = 'torch.linspace(-1, 2, 32).reshape(4, 8)'


def test_the_model_card_has_code_that_runs(tmp_path):
    """In a program that has PyTorch, but nothing of this project."""
    network = drawing.save_network(tmp_path / 'network-snapshot-000000.pkl', 0, resolution=8)
    folder = tmp_path / 'faces'
    export.export_folder(str(network), str(folder), None, None, torch.device('cpu'))
    status, out, err = run_program(main, 'export', '--to=torch-export', f'--network={network}', f'--outdir={folder}',
                                   '--noise-mode=none')
    assert status == 0 and out.endswith(f'Wrote {folder}/mapping.pt2 and {folder}/synthesis.pt2\n'), err
    code = re.findall(r'```python\n(.*?)```', (folder / 'README.md').read_text(), re.DOTALL)[2]
    assert code.count('torch.randn(4, 8)') == 1
    code = code.replace('torch.randn(4, 8)', Z) + 'torch.save(image, "image.pt")'
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = load_network_snapshot(str(network)).G_ema(eval(Z), None, truncation_psi=0.7, noise_mode='none')
    assert torch.allclose(torch.load(tmp_path / 'image.pt'), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
