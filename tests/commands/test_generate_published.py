"""generate.py as a program with published network pickles, and with hostile ones."""

import os
import pickle
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import background, drawing
from helpers.published_pickles import Published

from training.networks import Generator
from training.sampling.drawing import to_pixels


def generate(tmp_path, network):
    return background.run('generate', f'--network={network}', '--seeds=0', '--outdir=out', '--noise-mode=const', '--device=cpu',
                          cwd=tmp_path)


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


LINES = {  # command lines of the published programs, and what they write
    'generate.py --outdir=out --trunc=1 --seeds=85,265,297,849 --network=net.pkl':
        ['seed0085.png', 'seed0265.png', 'seed0297.png', 'seed0849.png'],
    'generate.py --outdir=out --trunc=0.7 --seeds=600-605 --network=net.pkl': [f'seed{i:04d}.png' for i in range(600, 606)],
    'generate.py --outdir=out --seeds=0-3 --class=1 --network=cond.pkl': [f'seed{i:04d}.png' for i in range(4)],
    'generate.py --outdir=out --projected_w=projected_w.npz --network=net.pkl': ['proj00.png'],
    'generate.py --outdir out --projected-w projected_w.npz --network net.pkl': ['proj00.png'],
    'style_mixing.py --outdir=out --rows=85,100,75,458,1500 --cols=55,821,1789,293 --network=net.pkl':
        ['grid.png', *(f'{seed}-{seed}.png' for seed in (85, 100, 75, 458, 1500, 55, 821, 1789, 293)),
         *(f'{row}-{col}.png' for row in (85, 100, 75, 458, 1500) for col in (55, 821, 1789, 293))],
    'style_mixing.py --outdir=out --rows=1 --cols=2 --styles=0-3 --trunc=0.5 --noise_mode=none --network=net.pkl':
        ['1-1.png', '1-2.png', '2-2.png', 'grid.png'],
    'projector.py --outdir=out --target=~/mytargetimg.png --num_steps=2 --network=net.pkl':
        ['proj.mp4', 'proj.png', 'projected_w.npz', 'target.png'],
    'projector.py --outdir=out --target=target.png --seed=1 --num-steps=2 --save_video=0 --network=net.pkl':
        ['proj.png', 'projected_w.npz', 'target.png'],
    'gen_video.py --output=out/lerp.mp4 --trunc=1 --seeds=0-31 --grid=4x2 --w-frames=2 --network=net.pkl': ['lerp.mp4'],
    'sample.py cond.pkl': [f'faces{i}.jpg' for i in range(20)],
}
COMMANDS = {'generate.py': [], 'style_mixing.py': ['mix'], 'projector.py': ['project'], 'gen_video.py': ['video'],
            'sample.py': ['domains']}


@pytest.mark.parametrize('line', LINES)
def test_published_command_lines_write_the_published_files(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    drawing.save_network('net.pkl', 0)
    drawing.save_network('cond.pkl', 2, resolution=8, cond_mode='flow', i_dim=4)
    np.savez('projected_w.npz', w=np.random.RandomState(0).randn(1, 6, 8).astype(np.float32))
    for name in ('mytargetimg.png', 'target.png'):
        PIL.Image.fromarray(np.random.RandomState(0).randint(0, 256, (20, 30, 3), np.uint8)).save(name)
    program, *args = line.split()
    if program in ('projector.py', 'gen_video.py'):
        pytest.importorskip('imageio_ffmpeg')
    status, _, err = drawing.run(*COMMANDS[program], *args)
    assert (status, err) == (0, '')
    outdir = Path('results/transgan_faces' if program == 'sample.py' else 'out')
    assert sorted(os.listdir(outdir)) == sorted(LINES[line])


class Evil:
    def __reduce__(self):
        return os.system, ('touch executed',)


def test_a_hostile_pickle_ends_in_one_line(tmp_path):
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps({'G_ema': Evil()}))
    result = generate(tmp_path, 'x.pkl')
    assert result.returncode == 1 and os.listdir(tmp_path) == ['x.pkl']
    assert result.stderr.startswith('Error: x.pkl: not a readable network snapshot (it asks for posix.system')
    assert result.stderr.count('\n') == 1 and result.stderr.endswith('or a published one\n')
