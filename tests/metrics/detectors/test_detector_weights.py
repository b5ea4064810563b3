"""Files of weights are data: damaged, wrong and hostile ones end with one line."""

import io
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from dnnlib.errors import UserError
from metrics.detectors.registry import DETECTORS
from metrics.detectors.weights import WrongWeights, exactly, load_folded, read_weights

SOURCE = DETECTORS['inception'].source
STATE = {'fc.weight': torch.arange(6.0).reshape(2, 3), 'fc.bias': torch.ones(2)}


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def write(path, kind):
    if kind == 'safetensors':
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == 'zip')
    return path


def refused(path, *words):
    with pytest.raises(UserError) as caught:
        read_weights(path, SOURCE)
    assert str(caught.value).startswith(f'{path}: ') and '\n' not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize('kind', ['safetensors', 'zip', 'legacy'])
def test_all_formats_are_read(tmp_path, kind):
    state = read_weights(write(tmp_path / 'w', kind), SOURCE)
    assert state.keys() == STATE.keys() and all(torch.equal(state[k], STATE[k]) for k in STATE)


@pytest.mark.parametrize('kind', ['safetensors', 'zip', 'legacy'])
def test_truncated_files_are_damaged(tmp_path, kind):
    path = write(tmp_path / 'w', kind)
    content = path.read_bytes()
    for length in (0, 12, 60, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(path, 'damaged')


def test_half_precision_becomes_float32(tmp_path):
    save_file({'a': torch.tensor([0.5]).half(), 'b': torch.tensor([0.5]).bfloat16(), 'n': torch.tensor([3])}, tmp_path / 'w')
    state = read_weights(tmp_path / 'w', SOURCE)
    assert [state[k].dtype for k in 'abn'] == [torch.float32, torch.float32, torch.int64]


@pytest.mark.parametrize('zipped', [True, False])
def test_code_in_a_weights_file_does_not_run(tmp_path, zipped):
    torch.save({'a': torch.ones(1), 'b': Evil(str(tmp_path / 'made'))}, tmp_path / 'w.pth', _use_new_zipfile_serialization=zipped)
    refused(tmp_path / 'w.pth', 'could run code')
    assert not (tmp_path / 'made').exists()


def test_code_in_a_pickle_does_not_run(tmp_path):
    (tmp_path / 'w.pkl').write_bytes(pickle.dumps(Evil(str(tmp_path / 'made'))))
    refused(tmp_path / 'w.pkl', 'a pickle', 'use pt_inception-2015-12-05-6726825d.pth instead')
    assert not (tmp_path / 'made').exists()


def test_other_files_are_named(tmp_path):
    for content in (b'<!DOCTYPE html><html></html>', b'', b'\0' * 100):
        (tmp_path / 'w').write_bytes(content)
        refused(tmp_path / 'w', 'no file of weights')
    torch.save([torch.ones(2)], tmp_path / 'w')
    refused(tmp_path / 'w', 'not a dict of tensors by name')
    torch.save({'model': STATE}, tmp_path / 'w')
    refused(tmp_path / 'w', 'not a dict of tensors by name')


def test_names_and_shapes_are_strict():
    shapes = {name: x.shape for name, x in STATE.items()}
    extra = {'fc.num_batches_tracked': torch.tensor(3), 'head.weight': torch.ones(1)}
    assert exactly(STATE | extra, shapes, ignored=('head.',)).keys() == STATE.keys()
    for state, message in [({'fc.weight': STATE['fc.weight']}, r'1 of 2 tensors are missing \(fc.bias\)'),
                           (STATE | extra, r'1 tensors do not belong to it \(head.weight\)'),
                           (STATE | {'fc.bias': torch.ones(3)}, r'fc.bias is float32 of \[3\] instead of floats of \[2\]'),
                           (STATE | {'fc.bias': torch.ones(2).int()}, 'fc.bias is int32 of')]:
        with pytest.raises(WrongWeights, match=message):
            exactly(state, shapes)


def test_batch_normalisation_becomes_part_of_the_convolution(agrees):
    generator = torch.Generator().manual_seed(0)
    conv, norm = torch.nn.Conv2d(3, 5, 3, bias=False), torch.nn.BatchNorm2d(5, eps=1e-2).eval()
    for tensor in (conv.weight, *norm.state_dict().values()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5, generator=generator)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3))
    state = {f'0.conv.{k}': v for k, v in conv.state_dict().items()} | {f'0.bn.{k}': v for k, v in norm.state_dict().items()}
    load_folded(net, state, lambda name: (f'{name}.conv', f'{name}.bn'), eps=1e-2)
    x = torch.rand(2, 3, 6, 6, generator=generator)
    agrees(net(x), norm(conv(x)), tol=1e-6)
    del state['0.bn.running_var']
    with pytest.raises(WrongWeights, match=r'0\.bn\.running_var'):
        load_folded(net, state, lambda name: (f'{name}.conv', f'{name}.bn'), eps=1e-2)


def test_weights_may_hold_parameters(tmp_path):
    buffer = io.BytesIO()
    torch.save({'w': torch.nn.Parameter(torch.ones(2))}, buffer)
    (tmp_path / 'w').write_bytes(buffer.getvalue())
    assert not read_weights(tmp_path / 'w', SOURCE)['w'].requires_grad
