"""The README.md of an exported generator."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from dnnlib.channels import name as channel_name
from dnnlib.image_size import height_width, text_of


def model_card(facts: dict[str, Any], name: str, license: str | None, inputs: Sequence[str]) -> str:
    """The card as Markdown, with the front matter that model hubs read.

    facts: of training.snapshots.facts. name: of the model. license: identifier of the licence of the weights; None for none.
    inputs: of the mapping network, as training.snapshots.tracing names them.
    """
    height, width = height_width(facts['resolution'])
    labels = 'not conditional' if not facts['labels'] else f'{facts["labels"]} labels'
    if facts['label_names']:
        labels += ': ' + ', '.join(f'{i} {label}' for i, label in enumerate(facts['label_names']))
    rows = {
        'Method': facts['method'],
        'Images': f'{text_of(facts["resolution"])}, {channel_name(facts["channels"])}',
        'Labels': labels,
        'Latents': f'z {facts["z_dim"]}, w {facts["w_dim"]}',
        'Parameters': f'{facts["parameters_G"]:,}',
        'Trained for': 'not known' if facts['kimg'] is None else f'{facts["kimg"]:g} thousand images',
        'Dataset': (facts['dataset'] or {}).get('path') or 'not named',
    }
    for metric, results in facts['metrics'].items():
        rows[f'Metric {metric}'] = ', '.join(f'{k} {v:.4g}' for k, v in results.items() if isinstance(v, (int, float)))
    table = '\n'.join(f'| {key} | {str(value).replace("|", " ")} |' for key, value in rows.items())
    class_option = ' --class=0' if facts['labels'] else ''
    label = f', torch.eye({facts["labels"]})[:1]' if facts['labels'] else ', None'
    front = [f'license: {json.dumps(license)}'] if license else []
    front += ['library_name: pytorch', 'pipeline_tag: unconditional-image-generation',
              'tags: [gan, stylegan2, image-generation, safetensors]']
    return '\n'.join(['---', *front, '---', '']) + f'''
# {name}

A style-based generator. Trained with a framework for StyleGAN2, i-StyleGAN, CG-GAN and CLR-GAN in PyTorch, whose commands
take this folder instead of a network snapshot. It holds no code and no pickle.

![Samples](samples.png)

| | |
|---|---|
{table}

## Use

In a checkout of the framework, with this folder as `{name}`:

    python generate.py --network={shlex.quote(name)} --seeds=0-15 --trunc=0.7{class_option} --outdir=out
    python -m training.snapshot info --network={shlex.quote(name)}

or in Python:

```python
import torch
from training.snapshots.file import load_network_snapshot

G = load_network_snapshot({name!r}, only=('G_ema',)).G_ema
images = G(torch.randn(1, {facts["z_dim"]}){label}, truncation_psi=0.7)  # [1, {facts["channels"]}, {height}, {width}], \
nominally in [-1, 1]
```

`model.safetensors` is the state dict of the generator (moving average of the weights); `config.json` has its class and
constructor arguments. Pictures of a generator can repeat what it was trained on, and share the biases of that data.

{_applications(facts, name, inputs)}'''


def _applications(facts: dict[str, Any], name: str, inputs: Sequence[str]) -> str:
    """How to use the generator without the framework."""
    folder = shlex.quote(name)
    onnx = dict(z=f'np.random.randn(4, {facts["z_dim"]}).astype(np.float32)',
                c=f'np.eye({facts["labels"]}, dtype=np.float32)[[0] * 4]', truncation_psi='np.float32([0.7])')
    torch = dict(z=f'torch.randn(4, {facts["z_dim"]})', c=f'torch.eye({facts["labels"]})[[0] * 4]',
                 truncation_psi='torch.tensor([0.7])')
    return f'''## In applications

Two more files of each kind, of the mapping and the synthesis network, need no code of the framework. These commands add them to
this folder:

    python -m training.snapshot export --to=onnx --network={folder} --outdir={folder}
    python -m training.snapshot export --to=torch-export --network={folder} --outdir={folder}

With ONNX Runtime (`pip install onnxruntime`):

```python
import numpy as np
import onnxruntime

mapping, synthesis = (onnxruntime.InferenceSession({(name + '/')!r} + part + '.onnx') for part in ('mapping', 'synthesis'))
ws, = mapping.run(None, dict({_arguments(onnx, inputs)}))
image, = synthesis.run(None, dict(ws=ws))
pixels = (image * 127.5 + 128).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)  # [4, H, W, C]
```

With PyTorch:

```python
import torch

mapping, synthesis = (torch.export.load({(name + '/')!r} + part + '.pt2').module() for part in ('mapping', 'synthesis'))
with torch.no_grad():
    image = synthesis(ws=mapping({_arguments(torch, inputs)}))
```
'''


def _arguments(values: dict[str, str], inputs: Sequence[str]) -> str:
    return ', '.join(f'{key}={values[key]}' for key in inputs)
