"""Modules as records: bit-exact round trips, no code from pickles, damage named in one line."""

import copy
import io
import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torch_utils.persistence import DTYPES, RecordError, dump, from_record, load, persistent, to_record


@persistent
class Toy(nn.Module):
    """One tensor of every dtype, with `width` columns, and a few of odd shapes."""

    def __init__(self, width, options=None, *, fail=None, **others):
        super().__init__()
        if width > 100:
            raise ValueError(f'too\nwide: {width}')
        if fail is not None:
            raise {'key': KeyError, 'attribute': AttributeError, 'assert': AssertionError, 'memory': MemoryError}[fail]('oops')
        if options:
            options['changed'] = True
        for name, dtype in DTYPES.items():
            tensor = torch.zeros(2, width, dtype=dtype)
            if dtype.is_floating_point:
                self.register_parameter(f'w_{name}', nn.Parameter(tensor))
            else:
                self.register_buffer(f'w_{name}', tensor)
        self.register_buffer('scalar', torch.zeros([]))
        self.register_buffer('empty', torch.zeros(0, 3))
        self.register_buffer('forgotten', torch.zeros(2), persistent=False)


CLASSES = {'Toy': Toy}


def toy(width=3, seed=0, **kwargs):
    """Filled with random bits: NaNs, infinities, denormals and all."""
    module, rng = Toy(width, **kwargs), np.random.RandomState(seed)
    for t in module.state_dict().values():
        if t.numel():
            noise = rng.randint(2 if t.dtype == torch.bool else 256, size=t.numel() * t.element_size(), dtype=np.uint8)
            t.copy_(torch.from_numpy(noise).view(t.dtype).reshape(t.shape))
    return module


def pickled(value):
    file = io.BytesIO()
    dump(value, file)
    return file.getvalue()


def through_a_file(module):
    return from_record(load(io.BytesIO(pickled(to_record(module)))), CLASSES)


def bits(module):
    return {name: (t.dtype, t.shape, t.contiguous().reshape(-1).view(torch.uint8).tolist() if t.numel() else [])
            for name, t in module.state_dict().items()}


# Round trips.

def test_weights_survive_bit_by_bit():
    module = toy()
    assert {t.dtype for t in module.state_dict().values()} == set(DTYPES.values())
    assert module.w_float32.isnan().any() or module.w_float16.isnan().any() or module.w_bfloat16.unique().numel() > 2
    assert bits(through_a_file(module)) == bits(module) != bits(Toy(3))


def test_weights_in_half_precision_are_half_as_large_and_rounded():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-3, 3, 5000))
            self.register_buffer('large', torch.tensor([1.0, 1e6]))  # more than float16 has
            self.register_buffer('count', torch.tensor(7))

    cls = persistent(Net)
    net = cls()
    sizes = {}
    for half in (False, True):
        file = io.BytesIO()
        dump(to_record(net, half=half), file)
        sizes[half] = file.tell()
        file.seek(0)
        loaded = from_record(load(file), {'Net': cls})
        assert loaded.weight.dtype == torch.float32 and torch.equal(loaded.large, net.large) and loaded.count == 7
        assert torch.equal(loaded.weight, net.weight.half().float() if half else net.weight)
    assert sizes[True] < 0.6 * sizes[False]


def test_the_module_returns_frozen_and_in_eval_mode():
    module = toy().train()
    copy = through_a_file(module)
    assert type(copy) is Toy and not copy.training
    assert not any(p.requires_grad for p in copy.parameters())
    assert module.training and module.w_float32.requires_grad


def test_a_record_is_a_copy():
    module = toy()
    record, before = to_record(module), bits(module)
    with torch.no_grad():
        module.w_float32.zero_()
    assert bits(from_record(record, CLASSES)) == before
    first, second = from_record(record, CLASSES), from_record(record, CLASSES)
    first.w_float32.zero_()
    assert bits(second) == before


def test_memory_layout_does_not_matter():
    module = toy()
    module.w_float32 = nn.Parameter(torch.arange(6.).reshape(3, 2).T)
    assert not module.w_float32.is_contiguous()
    assert bits(through_a_file(module)) == bits(module)


def test_constructor_arguments_are_remembered_by_name_as_they_came():
    options = {'a': {'b': [1, (2.5, None)]}, 'name': 'x'}
    module = Toy(np.int64(3), copy.deepcopy(options), gain=np.float32(0.5), flag=np.bool_(True))
    options['a']['b'].append('later')
    expected = {'width': 3, 'options': {'a': {'b': [1, (2.5, None)]}, 'name': 'x'}, 'gain': 0.5, 'flag': True}
    assert module.init_kwargs == expected
    again = through_a_file(module).init_kwargs
    assert again == expected
    assert [type(again[k]) for k in ('width', 'gain', 'flag')] == [int, float, bool]
    assert Toy(width=2, options=None).init_kwargs == {'width': 2, 'options': None}


def test_whatever_the_rest_of_the_arguments_is_called():
    @persistent
    class Other(nn.Module):
        def __init__(self, a, **block_kwargs):
            super().__init__()

    assert Other(1, b=2, c=3).init_kwargs == {'a': 1, 'b': 2, 'c': 3}


def test_the_class_keeps_its_name_and_description():
    assert Toy.__name__ == 'Toy' and Toy.__init__.__name__ == '__init__'
    with pytest.raises(TypeError):
        Toy()


def test_equal_content_gives_equal_bytes():
    data = pickled(to_record(toy(options={'key': 'value'})))
    assert data == pickled(to_record(toy(options={'key': 'value'})))
    assert data == pickled(load(io.BytesIO(data)))
    assert data == pickled(to_record(from_record(load(io.BytesIO(data)), CLASSES)))
    text = ''.join(['va', 'lue'])
    assert pickled(['value', 'value', {'value': 'value'}]) == pickled([text, 'value', {''.join(['v', 'alue']): text}])
    assert data != pickled(to_record(toy(options={'key': 'value'}, seed=1)))


# What is written.

def test_plain_values_survive():
    value = {'a': [1, 2.5, None, True, 'ä', b'\x00'], 2: (1, (2,)), 'big': 2 ** 100, 'inf': float('inf')}
    assert load(io.BytesIO(pickled(value))) == value


def test_relatives_of_dicts_and_lists_become_plain():
    class List(list):
        pass

    class Dict(dict):
        pass

    value = load(io.BytesIO(pickled(Dict(a=List([torch.Size([1, 2])])))))
    assert value == {'a': [(1, 2)]} and type(value) is dict and type(value['a']) is list and type(value['a'][0]) is tuple


@pytest.mark.parametrize('value', [torch.zeros(1), np.zeros(1), len, lambda: 0, int, {1, 2}, 1j, object(), nn.Identity(), os],
                         ids=lambda value: type(value).__name__)
def test_anything_else_is_refused(value):
    for nested in (value, [value], {'a': (value,)}):
        file = io.BytesIO()
        with pytest.raises(TypeError, match='is not a plain value'):
            dump(nested, file)
        assert file.getvalue() == b''


def test_a_class_that_is_not_persistent_has_no_record():
    with pytest.raises(AttributeError, match='init_kwargs'):
        to_record(nn.Linear(1, 1))


# What is refused.

def refused(data):
    with pytest.raises(RecordError) as caught:
        load(io.BytesIO(data))
    assert '\n' not in str(caught.value)
    return str(caught.value)


class Evil:
    def __init__(self, function, *args):
        self.result = function, args

    def __reduce__(self):
        return self.result


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('make', [lambda path: Evil(os.mkdir, path), lambda path: Evil(exec, f'import os; os.mkdir({path!r})'),
                                  lambda path: Evil(eval, f'__import__("os").mkdir({path!r})')], ids=['call', 'exec', 'eval'])
def test_a_pickle_with_code_is_not_executed(tmp_path, protocol, make):
    path = tmp_path / 'done'
    data = pickle.dumps({'G_ema': [1, make(str(path))]}, protocol)
    message = refused(data)
    assert not path.exists()
    assert 'mkdir' in message or 'exec' in message or 'eval' in message
    pickle.loads(data)
    assert path.exists(), 'the pickle was harmless'


@pytest.mark.parametrize('data, name', [
    (b'cos\nsystem\n.', 'os.system'), (b'(S"true"\nios\nsystem\n.', 'os.system'), (b'(cos\nsystem\nS"true"\no.', 'os.system'),
    (b'cbuiltins\ngetattr\n.', 'builtins.getattr'), (b'ccollections\nOrderedDict\n.', 'collections.OrderedDict'),
    (b'Psomething\n.', 'outside of the file'), (b'S"x"\nQ.', 'outside of the file'),
    (pickle.dumps(torch.zeros(2)), 'torch'), (pickle.dumps(np.zeros(2)), 'numpy'), (pickle.dumps(Toy(2)), 'nn.Module')])
def test_every_name_is_refused(data, name):
    message = refused(data)
    assert name in message or 'Toy' in message


def test_a_truncated_pickle_is_refused_wherever_it_ends():
    data = pickled(to_record(toy()))
    for end in [*range(0, len(data), 7), len(data) - 1]:
        assert 'damaged' in refused(data[:end])


def test_noise_is_refused():
    rng = np.random.RandomState(0)
    for size in [1, 10, 1000] * 20:
        refused(rng.bytes(size))
    for data in (b'', b'PK\x03\x04', b'\x89PNG', b'.', b'\x80\xff'):
        refused(data)


def test_a_file_that_cannot_be_read_is_refused():
    file = io.BytesIO(b'')
    file.close()
    with pytest.raises(RecordError):
        load(file)


def test_a_damaged_file_loads_or_is_refused_in_one_line():
    data, rng = pickled(to_record(toy())), np.random.RandomState(1)
    outcomes = {True: 0, False: 0}
    for position in rng.randint(len(data), size=400):
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.randint(8)
        try:
            from_record(load(io.BytesIO(damaged)), CLASSES)
            outcomes[True] += 1
        except RecordError as err:
            assert '\n' not in str(err)
            outcomes[False] += 1
    assert min(outcomes.values()) > 10


def changed(**changes):
    return {**to_record(toy()), **changes}


def with_tensor(name='w_float32', **changes):
    record = to_record(toy())
    record['tensors'][name] |= changes
    return record


def without(record, *path):
    *path, last = path
    inner = record
    for key in path:
        inner = inner[key]
    del inner[last]
    return record


CANNOT = 'its Toy cannot be rebuilt'


@pytest.mark.parametrize('record, text', [
    (None, 'no network record'), ([], 'no network record'), ({}, 'no network record'), (changed(format=2), 'of this version'),
    (changed(class_name='Other'), "unknown or damaged network ('Other')"), (changed(class_name=None), 'unknown or damaged'),
    (changed(class_name=['Toy']), 'unknown or damaged'), (without(changed(), 'class_name'), 'unknown or damaged'),
    (changed(init_kwargs=None), 'unknown or damaged'), (changed(init_kwargs=[3]), 'unknown or damaged'),
    (changed(tensors=None), 'unknown or damaged'), (changed(tensors=[]), 'unknown or damaged'),
    (changed(init_kwargs={}), 'width'), (changed(init_kwargs={'width': 'x'}), CANNOT),
    (changed(init_kwargs={'width': 3, 7: 1}), CANNOT), (changed(init_kwargs={'width': -1}), CANNOT),
    (changed(init_kwargs={'width': 101}), CANNOT + ': too wide: 101'),
    *((changed(init_kwargs={'width': 3, 'fail': kind}), 'oops') for kind in ('key', 'attribute', 'assert', 'memory')),
    (changed(init_kwargs={'width': 4}), 'instead of'), (changed(tensors={}), 'more than the 0 tensors'),
    (without(changed(), 'tensors', 'scalar'), 'scalar'), (changed(tensors={**changed()['tensors'], 'more': None}), 'damaged'),
    (changed(tensors={**changed()['tensors'], 'more': changed()['tensors']['scalar']}), 'more'),
    (with_tensor(dtype='float8'), 'damaged'), (with_tensor(dtype=['float32']), CANNOT),
    (with_tensor(dtype='int32'), 'w_float32 is torch.int32 [2, 3] instead of torch.float32 [2, 3]'),
    (with_tensor('w_int64', dtype='float64'), 'w_int64 is torch.float64 [2, 3] instead of torch.int64'),
    (with_tensor(dtype='float16'), CANNOT), (with_tensor(dtype='float64', shape=(1, 3)), 'w_float32 is torch.float64'),
    (with_tensor(shape=(3, 2)), 'instead of'), (with_tensor(shape=(6,)), 'instead of'),
    (with_tensor(shape=(2, 4)), 'shape'), (with_tensor(shape='23'), CANNOT), (with_tensor(shape=None), CANNOT),
    (with_tensor(shape=(2, -2)), 'shape'),
    (with_tensor('scalar', shape=(1,)), 'scalar is torch.float32 [1] instead of torch.float32 []'),
    (with_tensor('empty', shape=(3, 0)), 'instead of'),
    *((without(changed(), 'tensors', 'w_float32', key), '') for key in ('dtype', 'shape', 'data')),
    (with_tensor(data='text'), 'damaged'), (with_tensor(data=None), 'damaged'), (with_tensor(data=b''), CANNOT),
    (with_tensor(data=bytes(23)), CANNOT), (with_tensor(data=bytes(28)), 'shape'),
])
def test_a_wrong_record_is_refused_in_one_line(record, text):
    with pytest.raises(RecordError) as caught:
        from_record(record, CLASSES)
    assert text in str(caught.value) and '\n' not in str(caught.value)


def test_only_the_given_classes_are_built():
    record = to_record(toy())
    with pytest.raises(RecordError, match='Toy'):
        from_record(record, {'Generator': Toy})
    assert type(from_record(record, {'Toy': Toy})) is Toy
