"""The restricted reader: what pickles of plain data give, and that hostile ones run nothing, and take neither time nor memory."""

import ast
import io
import json
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import hostile_pickles
from helpers.published_pickles import Global, Made, Published, dtype, dumps, parameter, tensor

from torch_utils import persistence, safe_pickle
from torch_utils.pickled_arrays import numpy_names, tensor_names
from torch_utils.safe_pickle import RecordError, load
from training.networks import Generator

ROOT = Path(__file__).parents[2]
SECONDS, MEGABYTES = 5, 500


# Plain data.

@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read_as_python_reads_them(protocol):
    value = {'a': [1, -1, 255, 256, 70_000, -70_000, 2 ** 40, -2 ** 40, 2 ** 500, 1.5, -0.0, float('inf'), 1e-300],
             'texts': ['', 'ä', '漢字', '\n', "it's", '"', '\\', 'x' * 300, 'x' * 70_000, '\ud800'], 'none': None,
             'flags': [True, False], 'tuples': [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((),)], 'empty': [[], {}],
             'keys': {1: 2, None: 3, False: 4}}
    value['again'] = value['texts']
    data = pickle.dumps(value, protocol)
    result = load(io.BytesIO(data))
    assert result == value and result['again'] is result['texts']
    assert repr(result) == repr(pickle.loads(data))


@pytest.mark.parametrize('protocol', [3, 4, 5])
def test_bytes_and_sets(protocol):
    value = [b'', b'\x00\xff', b'x' * 300, b'x' * 70_000, {1, 'a'}]
    assert load(io.BytesIO(pickle.dumps(value, protocol)), lambda _: {'builtins.set': safe_pickle.Name('set', call=set)}) == value


def test_texts_of_python_2():
    assert load(io.BytesIO(b"(lp0\nS'a\\xe9\\n'\naU\x02\xff\x00aT\x01\x00\x00\x00xa.")) == ['aé\n', 'ÿ\x00', 'x']


def test_a_pickle_is_read_from_where_the_file_stands(tmp_path):
    path = tmp_path / 'x'
    path.write_bytes(b'head' + pickle.dumps([1]) + b'tail')
    with open(path, 'rb') as f:
        f.seek(4)
        assert load(f) == [1]


def test_the_reader_finds_what_pythons_does_in_noise():
    rng, codes = np.random.RandomState(0), np.frombuffer(b'(.01NKJM}]l)tea\x85\x86qhu\x94sd', np.uint8)
    read = 0
    for _ in range(3000):
        data = bytes(rng.choice(codes, size=rng.randint(3, 12))) + b'.'
        try:
            expected = pickle.loads(data)
        except Exception:
            expected = None
        try:
            value = load(io.BytesIO(data))
        except RecordError:
            continue
        if expected is not None:  # what Python refuses, such as taking from below a mark, may give anything plain
            read += 1
            assert repr(value) == repr(expected), data
    assert read > 100


@pytest.mark.parametrize('protocol', range(5))
@pytest.mark.parametrize('values', [np.arange(6, dtype=np.uint8).reshape(2, 3), np.asfortranarray(np.arange(6.).reshape(2, 3)),
                                    np.zeros([0, 2], np.int64), np.float32(2.5), np.array(7), np.array([True])], ids=repr)
def test_arrays_are_read_as_numpy_wrote_them(protocol, values):
    read = load(io.BytesIO(pickle.dumps({'x': values}, protocol)), numpy_names)['x']
    read = getattr(read, 'values', read)
    assert np.shape(read) == values.shape and (np.asarray(read) == values).all()


def test_arrays_of_python_2():
    data = (b'\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02K\x03\x86'
            b'cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
            b'\x89U\x06\x00\x80\xff\x01\x02\x03tbs.')
    assert load(io.BytesIO(data), numpy_names)['data'].values.tolist() == [[0, 128, 255], [1, 2, 3]]


@pytest.mark.parametrize('t', [torch.arange(24.).reshape(2, 3, 2, 2).contiguous(memory_format=torch.channels_last),
                               torch.zeros([]), torch.arange(6)[2:5], torch.arange(6.).reshape(2, 3).T,
                               torch.zeros(0, 3), torch.ones(3).half(),
                               torch.ones(2, dtype=torch.float64), torch.tensor([True]), torch.tensor([1], dtype=torch.uint8)])
def test_tensors_are_read_as_torch_wrote_them(t):
    def names(budget):
        return {**tensor_names(budget), 'collections.OrderedDict': safe_pickle.Name('OrderedDict', call=dict)}
    for data in (dumps([tensor(t), parameter(t)]), pickle.dumps([t, t], 3), pickle.dumps([t, t], 4)):
        for read in load(io.BytesIO(data), names):
            assert t.numel() < 2 or tuple(step // read.itemsize for step in read.strides) == t.stride()
            read = torch.from_numpy(read.copy())
            assert read.dtype == t.dtype and torch.equal(read, t)


def test_big_endian_numbers_are_refused():
    value = Made(Global('numpy', 'dtype'), ('f4', False, True), state=(3, '>', None, None, None, -1, -1, 0))
    with pytest.raises(RecordError, match='little-endian'):
        load(io.BytesIO(dumps(value)), numpy_names)
    assert dtype('f4').state[1] == '<'


# Hostile pickles. They are loaded in one process of their own, which notes what Python says that it does.

CHILD = '''
import encodings.raw_unicode_escape, json, os, resource, sys, time
folder, megabytes = sys.argv[1], int(sys.argv[2])
from dnnlib import UserError
from training.data.making.packed import read_cifar
from training.snapshots.file import load_network_snapshot

def attempt(path):
    try:
        (read_cifar if path.endswith('.gz') else lambda p: load_network_snapshot(p, only=('G_ema',)))(path)
        return None
    except UserError as err:
        return str(err)

for warm_up in sorted(os.listdir(f'{folder}/good')):
    assert attempt(f'{folder}/good/{warm_up}') is None, warm_up
events, watched = [], ('os.', 'subprocess.', 'exec', 'compile', 'import', 'pickle.', 'code.', 'function.', 'ctypes.', 'open',
                       'socket.', 'shutil.', 'object.__', 'marshal.')
def hook(event, args):
    if event.startswith(watched) and not (event == 'open' and args[0] == current):
        events.append(f'{event} {args}'[:200])
current = None
sys.addaudithook(hook)
if sys.platform == 'linux':
    pages = int(open(current := '/proc/self/statm').read().split()[0])
    limit = pages * resource.getpagesize() + megabytes * 2 ** 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
results = []
for number in range(int(sys.argv[3])):
    current = next(p for p in (f'{folder}/{number}.pkl', f'{folder}/{number}/cifar-10-python.tar.gz') if os.access(p, os.R_OK))
    start, before = time.process_time(), len(events)
    message = attempt(current)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    results.append(dict(message=message, seconds=time.process_time() - start, kilobytes=grown, events=events[before:]))
print(json.dumps(results))
'''


def write_good(folder):
    """Files that are fine, of every kind, so that whatever is imported on demand is there before hostile ones come."""
    folder.mkdir()
    kwargs = dict(mapping_kwargs=dict(num_layers=1, cond_mode='flow'), synthesis_kwargs=dict(channel_base=32))
    G = Generator(4, 2, 4, 8, 3, **kwargs).eval()
    (folder / 'published.pkl').write_bytes(Published(dill='0.3.4').snapshot(None, None, G))
    with open(folder / 'own.pkl', 'wb') as f:
        persistence.dump({'G_ema': persistence.to_record(G)}, f)
    with tarfile.open(folder / 'cifar-10-python.tar.gz', 'w:gz') as tar:
        for i in range(1, 6):
            data = pickle.dumps({'data': np.zeros([1, 3072], np.uint8), 'labels': [1]}, 2)
            info = tarfile.TarInfo(f'cifar-10-batches-py/data_batch_{i}')
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture(scope='module')
def verdicts(tmp_path_factory):
    """(folder, [(title, expected part of the message, what happened)])."""
    folder = tmp_path_factory.mktemp('hostile')
    write_good(folder / 'good')
    items = [*hostile_pickles.corpus(str(folder / 'EXECUTED')), *hostile_pickles.cifar(str(folder / 'EXECUTED'))]
    for number, (title, data, _) in enumerate(items):
        path = folder / f'{number}.pkl'
        if title.startswith('cifar'):
            path = folder / str(number) / 'cifar-10-python.tar.gz'
            path.parent.mkdir()
        path.write_bytes(data)
    run = subprocess.run([sys.executable, '-c', CHILD, str(folder), str(MEGABYTES), str(len(items))], cwd=ROOT,
                         capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder, [(title, reason, result) for (title, _, reason), result in
                    zip(items, json.loads(run.stdout.splitlines()[-1]), strict=True)]


def test_hostile_pickles_are_refused_with_their_reason(verdicts):
    wrong = [(title, reason, result['message']) for title, reason, result in verdicts[1]
             if result['message'] is None or reason not in result['message']]
    assert not wrong


def test_refusals_are_one_short_line_that_names_the_file(verdicts):
    folder, results = verdicts
    for title, _, result in results:
        message = result['message']
        assert message.startswith(f'{folder}/') and message.isprintable() and len(message) < 800, (title, message)


def test_nothing_of_a_hostile_pickle_is_executed(verdicts):
    folder, results = verdicts
    assert not (folder / 'EXECUTED').exists()
    assert not [(title, result['events']) for title, _, result in results if result['events']]


def test_hostile_pickles_take_neither_time_nor_memory(verdicts):
    slow = [(title, result['seconds']) for title, _, result in verdicts[1] if result['seconds'] > SECONDS]
    large = [(title, result['kilobytes']) for title, _, result in verdicts[1] if result['kilobytes'] > MEGABYTES * 1024]
    assert not slow and not large


def test_the_corpus_is_hostile(tmp_path):
    marker = tmp_path / 'EXECUTED'
    executed = 0
    for title, data, _ in hostile_pickles.corpus(str(marker)):
        if title.startswith(('system', 'open', 'eval', 'exec')):
            subprocess.run([sys.executable, '-c', 'import pickle, sys; pickle.load(sys.stdin.buffer)'], input=data, check=False)
            assert marker.exists(), title
            marker.unlink()
            executed += 1
    assert executed >= 40


# No way around the reader.

FORBIDDEN = {('pickle', 'load'), ('pickle', 'loads'), ('pickle', 'Unpickler'), ('_pickle', 'Unpickler'), ('dill', 'load'),
             ('dill', 'loads'), ('marshal', 'loads'), ('shelve', 'open'), ('joblib', 'load'), ('builtins', 'eval'),
             ('builtins', 'exec')}


def ways_around(source):
    """Calls in a program that read pickles or run text."""
    for node in ast.walk(ast.parse(source)):
        name = (node.value.id, node.attr) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) else None
        if name in FORBIDDEN:
            yield '.'.join(name)
        if isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{a.name}' for a in node.names if (node.module, a.name) in FORBIDDEN)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ('eval', 'exec', '__import__'):
            yield node.func.id
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            given = {k.arg: getattr(k.value, 'value', None) for k in node.keywords}
            called = f'{node.func.value.id}.{node.func.attr}'
            if called == 'torch.load' and given.get('weights_only') is not True:
                yield called
            if called in ('np.load', 'numpy.load') and given.get('allow_pickle', False) is not False:
                yield called


def test_nothing_else_in_the_project_reads_pickles():
    folders = ('.', 'training', 'torch_utils', 'dnnlib', 'metrics', 'datasets', 'docs')
    files = [p for folder in folders for p in (ROOT / folder).glob('*.py' if folder == '.' else '**/*.py')]
    assert len(files) > 30
    found = {str(p.relative_to(ROOT)): list(ways_around(p.read_text(encoding='utf-8'))) for p in files}
    assert not {p: names for p, names in found.items() if names}


@pytest.mark.parametrize('source', ['pickle.load(f)', 'from pickle import loads', 'class A(pickle.Unpickler): pass',
                                    'torch.load(f)', 'torch.load(f, weights_only=False)', 'np.load(f, allow_pickle=True)',
                                    'exec(text)', 'f = pickle.loads'])
def test_ways_around_would_be_found(source):
    assert list(ways_around(source))
    harmless = 'np.load(f, allow_pickle=False); torch.load(f, weights_only=True); pickle.dump(x, f); module.eval()'
    assert not list(ways_around(harmless))
