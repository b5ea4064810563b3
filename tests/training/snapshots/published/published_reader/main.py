"""main.py FOLDER: run the networks of each NAME.pkl there on the inputs in NAME.inputs; what they give goes to NAME.results."""

import json
import pickle
import sys
from pathlib import Path

import torch

from torch_utils import persistence

for path in Path(sys.argv[1]).glob('*.pkl'):
    persistence.SOURCES.clear()
    with open(path, 'rb') as f:
        snapshot = pickle.load(f)
    inputs = torch.load(path.with_suffix('.inputs'))
    assert list(snapshot) == ['training_set_kwargs', 'G', 'D', 'G_ema', 'augment_pipe'] and snapshot['augment_pipe'] is None
    results = {'sources': sorted(persistence.SOURCES), 'data': repr(snapshot['training_set_kwargs'])}
    for name in ('G', 'D', 'G_ema'):
        net = snapshot[name]
        assert net._init_args == () and not net.training and not any(p.requires_grad for p in net.parameters())
        results[f'{name}.kwargs'] = json.dumps({k: [type(v).__name__, v] for k, v in net._init_kwargs.items()})
        results[f'{name}.state'] = net.state_dict()
        net.eval().to('cpu')
    with torch.no_grad():
        results['G_ema'] = snapshot['G_ema'](inputs['z'], inputs['c'])
        results['truncated'] = snapshot['G_ema'](inputs['z'], inputs['c'], truncation_psi=0.5)
        results['D'] = snapshot['D'](inputs['images'], inputs['c'])
    torch.save(results, path.with_suffix('.results'))
