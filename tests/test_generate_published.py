"""generate.py as a program with published network pickles, and with hostile ones."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from published_pickles import Published

from training.networks import Generator
from training.sampling.common import to_pixels

ROOT = Path(__file__).parents[1]


def generate(tmp_path, network):
    return subprocess.run([sys.executable, str(ROOT / 'generate.py'), f'--network={network}', '--seeds=0', '--outdir=out',
                           '--noise-mode=const', '--device=cpu'], capture_output=True, text=True, cwd=tmp_path)


def test_a_published_pickle_draws(tmp_path, golden):
    g = golden('g_skip_uncond')
    G = Generator(**g.meta['kwargs']).eval()
    G.load_state_dict(g.state_dict)
    marker = tmp_path / 'executed'
    program = Published(dill='0.3.6', source=f'open({str(marker)!r}, "w")')
    (tmp_path / 'ffhq.pkl').write_bytes(program.snapshot(G, None, G))
    result = generate(tmp_path, 'ffhq.pkl')
    assert result.returncode == 0 and not result.stderr, result.stderr
    z = torch.from_numpy(np.random.RandomState(0).randn(1, 32)).float()
    expected = to_pixels(G(z, None, noise_mode='const'))[0]
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(tmp_path / 'out' / 'seed0000.png')), expected)
    assert not marker.exists()


class Evil:
    def __reduce__(self):
        return os.system, ('touch executed',)


def test_a_hostile_pickle_ends_in_one_line(tmp_path):
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps({'G_ema': Evil()}))
    result = generate(tmp_path, 'x.pkl')
    assert result.returncode == 1 and os.listdir(tmp_path) == ['x.pkl']
    assert result.stderr.startswith('Error: x.pkl: not a readable network snapshot (it asks for posix.system')
    assert result.stderr.count('\n') == 1 and result.stderr.endswith('or a published one\n')
