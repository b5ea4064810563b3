"""main.py FOLDER: open each NAME.pkl there and run it on the inputs in NAME.inputs; what comes out goes to NAME.results."""

import copy
import json
import pickle
import sys
from pathlib import Path

import torch

from torch_utils import persistence


def stylegan2_ada(G, D, x):
    """The README's calls, those of generate.py, of the metrics, of the projector; and what its loader does for half precision."""
    assert G.init_args == () and isinstance(G.init_kwargs.synthesis_kwargs, dict)
    copied = copy.deepcopy(G).eval().requires_grad_(False).to('cpu')
    ws = G.mapping(x['z'], x['c'], truncation_psi=0.5, truncation_cutoff=8)
    yield 'images', copied(x['z'], x['c'], noise_mode='const')
    yield 'truncated', G.synthesis(ws, noise_mode='const', force_fp32=True)
    yield 'one', G(x['z'][:1], x['c'][:1], truncation_psi=0.5, truncation_cutoff=8, noise_mode='none')
    yield 'logits', D(x['images'], x['c'])

    noise = {name: buffer for name, buffer in copied.synthesis.named_buffers() if 'noise_const' in name}
    w = G.mapping.w_avg.clone().repeat(1, G.num_ws, 1).requires_grad_(True)
    for buffer in noise.values():
        buffer.requires_grad = True
    loss = copied.synthesis(w, noise_mode='const').square().sum()
    yield 'slopes', torch.stack([g.abs().sum() for g in torch.autograd.grad(loss, [w, *noise.values()])])

    kwargs = copy.deepcopy(G.init_kwargs)
    kwargs.synthesis_kwargs.num_fp16_res, kwargs.synthesis_kwargs.conv_clamp = 4, 256
    rebuilt = type(G)(**kwargs).eval().requires_grad_(False)
    rebuilt.load_state_dict(G.state_dict())
    yield 'rebuilt', rebuilt(x['z'], x['c'], noise_mode='const')

    again = pickle.loads(pickle.dumps({'G': rebuilt}))['G']
    yield 'again', again(x['z'], x['c'], noise_mode='const')
    yield 'facts', {'G': [G.z_dim, G.c_dim, G.w_dim, G.img_resolution, G.img_channels, G.num_ws], 'ws': list(ws.shape),
                    'w_avg': list(G.mapping.w_avg.shape), 'blocks': G.synthesis.block_resolutions}


def i_stylegan(G, D, x):
    """Style and content of the mapping network, and the second value that its loss asks for."""
    M = G.mapping
    yield 'mode', [M.cond_mode, M.use_label, M.i_dim, M.flow_norm]
    yield 'labelled', G(x['z'], x['c'], label=x['label'] if M.use_label else None, noise_mode='const')
    if M.cond_mode != 'concat':
        ws, sparsity = M(x['z'], x['c'], 1, None, True, True, x['label'] if M.use_label else None)
        yield 'ws', ws
        yield 'sparsity', sparsity
        yield 'influence', M.causal_influence()
        yield 'importance', M.get_importance()
        yield 'masks', torch.cat(M.get_masks())


def stylegan3(G, D, x):
    """The same networks with StyleGAN3's argument."""
    assert not hasattr(G.synthesis, 'input')
    before, label = G.mapping.w_avg.clone(), {'label': x['label']} if G.mapping.use_label else {}
    G.train()
    ws = G.mapping(x['z'], x['c'], update_emas=False, **label)
    G(x['z'], x['c'], update_emas=False, **label)
    assert torch.equal(G.mapping.w_avg, before)
    G.mapping(x['z'], x['c'], update_emas=True, **label)
    assert not torch.equal(G.mapping.w_avg, before)
    G.mapping.w_avg.copy_(before)
    G.eval()
    yield 'ws3', ws
    yield 'images3', G.synthesis(ws, update_emas=False, noise_mode='const', force_fp32=True)
    yield 'logits3', D(x['images'], x['c'], update_emas=False, force_fp32=True)


def main(folder):
    for path in folder.glob('*.pkl'):
        with open(str(path), 'rb') as f:
            snapshot = pickle.load(f)
        assert list(snapshot) == ['training_set_kwargs', 'G', 'D', 'G_ema', 'augment_pipe'] and snapshot['augment_pipe'] is None
        inputs = torch.load(str(path.with_suffix('.inputs')))
        results = {'data': repr(snapshot['training_set_kwargs'])}
        for name in ('G', 'D', 'G_ema'):
            net = snapshot[name]
            assert not net.training and not any(p.requires_grad for p in net.parameters())
            results[name + '.kwargs'] = json.dumps({k: [type(v).__name__, v] for k, v in net._init_kwargs.items()})
            results[name + '.state'] = dict(net.state_dict())
        with torch.no_grad():
            for program in (i_stylegan, stylegan3):
                results.update(program(snapshot['G_ema'], snapshot['D'], inputs))
        if not snapshot['G_ema'].mapping.use_label:
            results.update(stylegan2_ada(snapshot['G_ema'], snapshot['D'], inputs))
        torch.save(results, str(path.with_suffix('.results')))
    assert len(persistence.SOURCES) == 1 and 'training' not in sys.modules


main(Path(sys.argv[1]))
