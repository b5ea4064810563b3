"""The files of a traced generator (training.snapshots.tracing), and the check that they compute the same as the network.

`.onnx` is for ONNX Runtime and other readers of ONNX; `.pt2` is for PyTorch without the code of this project.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.export import ExportedProgram

from dnnlib.image_size import height_width
from dnnlib.util import UserError
from training.snapshots.tracing import mapping_inputs

SUFFIXES = {'onnx': '.onnx', 'torch-export': '.pt2'}
NAMES = ('mapping', 'synthesis')
OUTPUTS = dict(mapping='ws', synthesis='image')
NOISE_MODES = ('const', 'none')  # random noise could not be compared
OPSET = 18                       # the one for which PyTorch's exporter is written
PACKAGES = ('onnx', 'onnxscript', 'onnxruntime')
BATCHES, PSIS = (1, 3), (1, 0.7)
LIMIT = 1e-3                     # a quarter of a grey level. Rounding in another order is two orders of magnitude below.

Program = Callable[..., torch.Tensor]  # takes tensors by name


class Difference(NamedTuple):
    """Between a file and the network: the largest in ws and in the image, and the largest absolute values of these."""

    batch: int
    ws: float
    image: float
    largest_ws: float
    largest_image: float

    @property
    def tolerable(self) -> bool:
        return self.ws <= LIMIT * max(self.largest_ws, 1) and self.image <= LIMIT * max(self.largest_image, 1)


def check_packages(kind: str) -> None:
    """Raise UserError if a package that writes this kind of file is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None] if kind == 'onnx' else []
    if missing:
        raise UserError(f'--to=onnx needs {" and ".join(missing)}; pip install {" ".join(missing)}')


def make_files(programs: Mapping[str, ExportedProgram], kind: str, metadata: Mapping[str, object]) -> dict[str, bytes]:
    """The content of the files of traced programs, by their names. metadata: JSON values that an ONNX file carries."""
    if kind == 'onnx':
        return {name: _onnx(program, OUTPUTS[name], metadata) for name, program in programs.items()}
    return {name: _pt2(program) for name, program in programs.items()}


def load(kind: str, data: bytes) -> Program:
    """The function that a file computes, on the CPU."""
    if kind == 'torch-export':
        return torch.export.load(io.BytesIO(data)).module()
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])
    return lambda **inputs: torch.from_numpy(session.run(None, {name: x.numpy() for name, x in inputs.items()})[0])


@torch.no_grad()
def compare(G: nn.Module, mapping: Program, synthesis: Program, noise_mode: str) -> list[Difference]:
    """Run both programs in sequence, for each of BATCHES with and without truncation, and compare them with G."""
    psis = PSIS if 'truncation_psi' in mapping_inputs(G, 1) else PSIS[:1]
    return [Difference(batch, *(max(column) for column in zip(*(_differences(G, mapping, synthesis, noise_mode, batch, psi)
                                                                for psi in psis), strict=True))) for batch in BATCHES]


def _differences(G: nn.Module, mapping: Program, synthesis: Program, noise_mode: str, batch: int, psi: float
                 ) -> tuple[float, float, float, float]:
    inputs = mapping_inputs(G, batch, psi)
    label = dict(label=inputs['label']) if 'label' in inputs else {}
    ws = G.mapping(inputs['z'], inputs.get('c', torch.zeros(batch, 0)), truncation_psi=psi, **label)
    image = G.synthesis(ws, noise_mode=noise_mode, force_fp32=True)
    found_ws = mapping(**inputs)
    return (_distance(found_ws, ws), _distance(synthesis(ws=found_ws), image), float(ws.abs().max()), float(image.abs().max()))


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    distance = float((found - expected).abs().max()) if found.shape == expected.shape else math.inf
    return math.inf if math.isnan(distance) else distance  # max() would ignore NaN


def description(G: nn.Module, files: Mapping[str, bytes], found: Sequence[Difference]) -> str:
    """Inputs, outputs and sizes of the files, and how far they are from PyTorch, as lines of text."""
    inputs = [f'{name} [{"1" if name == "truncation_psi" else f"N, {x.shape[1]}"}]' for name, x in mapping_inputs(G, 1).items()]
    height, width = height_width(G.img_resolution)
    rows = {'mapping': (', '.join(inputs), f'ws [N, {G.num_ws}, {G.w_dim}]'),
            'synthesis': ('ws', f'image [N, {G.img_channels}, {height}, {width}]')}
    lines = [f'{name:10} {len(files[name]) / 1e6:.2f} MB: {taken} -> {given}' for name, (taken, given) in rows.items()]
    lines += [f'{each.batch} image{"s"[:each.batch > 1]}: differs from PyTorch by {each.image:.1e} at most, with values up to '
              f'{each.largest_image:.2g}; in ws by {each.ws:.1e}, with values up to {each.largest_ws:.2g}' for each in found]
    return '\n'.join(lines)


def _pt2(program: ExportedProgram) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def _onnx(program: ExportedProgram, output: str, metadata: Mapping[str, object]) -> bytes:
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)  # it misses torchvision, which nothing here uses
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # of PyTorch about itself
        made = torch.onnx.export(program, dynamo=True, opset_version=OPSET, output_names=[output], verbose=False)
    model = made.model_proto
    graph = model.graph
    del graph.value_info[:]  # readers infer them
    for node in graph.node:  # names of this machine's files
        node.ClearField('doc_string')
        del node.metadata_props[:]
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = 'batch'
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    return model.SerializeToString()
