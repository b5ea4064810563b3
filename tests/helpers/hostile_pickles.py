"""Pickles made to do harm, each with the reason for which it must be refused.

    python tests/helpers/hostile_pickles.py DIR

writes them into DIR. Loading one with Python's own `pickle` may create the file DIR/EXECUTED, or take all memory.
"""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MB = 1 << 20


class Call:
    """Pickled as a call of a function, with its arguments, and what else a class may ask for."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


def text(value: str) -> bytes:
    data = value.encode()
    return b'X' + struct.pack('<I', len(data)) + data


def name(module: str, attribute: str, short: bool = True) -> bytes:
    return f'c{module}\n{attribute}\n'.encode() if short else text(module) + text(attribute) + b'\x93'


def commands(marker: str) -> Iterator[tuple[str, bytes, str]]:
    """What would run a command, by every way to name one."""
    touch = f'touch {marker}'
    system = os.system.__module__
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for title, value, reason in [
                ('system', Call(os.system, touch), f'{system}.system'),
                ('eval', Call(eval, f'open({marker!r}, "w")'), '.eval'), ('exec', Call(exec, f'open({marker!r}, "w")'), '.exec'),
                ('open', Call(io.open, marker, 'w'), '.open'),
                ('import', Call(__import__, 'antigravity'), '.__import__'),
                ('getattr', Call(getattr, Call(__import__, 'os'), 'system'), '.getattr'),
                ('compile', Call(compile, 'open("x")', '', 'exec'), '.compile')]:
            yield f'{title}-{protocol}', pickle.dumps({'G_ema': value}, protocol), reason
            yield f'{title}-top-{protocol}', pickle.dumps(value, protocol), reason
    chain = (name('builtins', 'getattr') + name('builtins', '__import__') + text('os') + b'\x85R' + text('system') + b'\x86R'
             + text(touch) + b'\x85R.')
    yield 'getattr-chain', chain, 'builtins.getattr'
    yield 'popen', name('subprocess', 'Popen') + text(touch) + b'\x85R.', 'subprocess.Popen'
    yield 'stack-global', name('os', 'system', short=False) + text(touch) + b'\x85R.', 'os.system'
    yield 'inst', b'(S"' + touch.encode() + b'"\nios\nsystem\n.', 'os.system'
    yield 'obj', b'(cos\nsystem\nS"' + touch.encode() + b'"\no.', 'os.system'
    yield 'newobj', name('os', 'system') + text(touch) + b'\x85\x81.', 'os.system'
    yield 'newobj-ex', name('os', 'system') + b')}\x92.', 'os.system'
    yield 'runpy', name('runpy', '_run_code') + b')R.', 'runpy._run_code'
    yield 'pip', name('pip._internal', 'main') + b')R.', 'pip._internal.main'
    yield 'pickle-in-pickle', name('pickle', 'loads') + b'C\x01.\x85R.', 'pickle.loads'
    yield 'copyreg', name('copyreg', '_reconstructor') + b')R.', 'copyreg._reconstructor'
    yield 'copyreg-newobj', name('copyreg', '__newobj__') + b')R.', 'copyreg.__newobj__'
    yield 'extension', b'\x82\x01.', 'extension'
    yield 'persistent-id', b'Pos.system\n.', 'outside of the file'
    yield 'persistent-id-2', text('os.system') + b'Q.', 'outside of the file'
    yield 'buffer', b'\x97.', 'outside of the file'
    yield 'own-class', name('training.networks', 'Generator') + b')R.', 'training.networks.Generator'
    yield 'control-characters', name('os\x1b[2J\rx', 'system') + b')R.', 'os\\x1b[2J\\rx.system'
    yield 'long-name', name('a' * 10_000, 'b') + b')R.', 'a' * 100 + '...'


def known_names(marker: str) -> Iterator[tuple[str, bytes, str]]:
    """Names that real files have, in the service of something else."""
    touch = text(f'touch {marker}') + b'\x85R.'
    persistent = name('torch_utils.persistence', '_reconstruct_persistent_obj')
    for attribute in ('_reconstruct_persistent_obj.__globals__', '__builtins__', 'exec', 'sys.modules'):
        yield f'persistence-{attribute}', name('torch_utils.persistence', attribute, short=False) + b')R.', 'it asks for'
    yield 'easydict-globals', name('dnnlib.util', 'EasyDict.__init__.__globals__', short=False) + b'.', 'it asks for dnnlib.util'
    yield 'numpy-load', name('numpy', 'load') + touch, 'numpy.load'
    yield 'torch-load', name('torch', 'load') + touch, 'torch.load'
    yield 'torch-storage-os', name('torch.storage', 'os.system', short=False) + touch, 'torch.storage.os.system'
    yield 'flow-module-called', name('training.flow', '__dict__') + touch, 'training.flow.__dict__, which is data'
    yield 'flow-module-changed', name('training.flow', '__dict__') + text('a') + b'K\x01s.', 'no dict'
    yield 'flow-module-state', name('training.flow', '__dict__') + b'}b.', 'sets the state'
    yield 'easydict-called', name('dnnlib.util', 'EasyDict') + b')R.', 'data and no function'
    yield 'easydict-state', name('dnnlib.util', 'EasyDict') + b')\x81}' + text('__class__') + b'Nsb.', 'sets the state'
    yield 'ordereddict-arguments', name('collections', 'OrderedDict') + b'](K\x01K\x02el\x85R.', 'damaged'
    yield 'ordereddict-items', name('collections', 'OrderedDict') + b']\x85R.', 'make no sense'
    yield 'unhashable-key', b'}]K\x01s.', 'key'
    yield 'key-of-tuples', b')' + b'2\x86' * 100 + b'0}' + b')' + b'2\x86' * 60 + b'K\x01s.', 'key'
    yield 'set-of-tuples', name('builtins', 'set') + b'])' + b'2\x86' * 60 + b'a\x85R.', 'key'
    meta = dict(type='class', version=6, module_src=f'open({marker!r}, "w")', class_name='Generator', state={})

    def record(changes):
        return persistent + pickle.dumps({**meta, **changes}, 2)[2:-1] + b'\x85R.'

    yield 'record-version', record(dict(version=7)), 'version 7'
    yield 'record-type', record(dict(type='function')), 'damaged'
    yield 'record-state', record(dict(state=[])), 'damaged'
    yield 'record-class', record(dict(class_name=['a'])), 'damaged'
    yield 'record-arguments', persistent + b'K\x01K\x02\x86R.', 'make no sense'
    yield 'record-none', persistent + b'N\x85R.', 'make no sense'
    yield 'record-alone', record({}), 'lacks networks'
    yield 'record-other', b'}' + text('G_ema') + record(dict(class_name='os.system'))[:-1] + b's.', 'os.system in the place of'
    yield 'record-empty', b'}' + text('G_ema') + record({})[:-1] + b's.', 'no synthesis network'
    yield 'record-called', record({})[:-1] + b')R.', 'which is data'


def dill_names(marker: str) -> Iterator[tuple[str, bytes, str]]:
    """The constructors of dill."""
    code = name('dill._dill', '_create_code') + b'(K\x00K\x00K\x00K\x01K\x01K\x43C\x04d\x00S\x00(Nt)(tU\x01fU\x01gK\x01C\x00tR'
    function = name('dill._dill', '_create_function') + b'(' + code + b'}' + text('f') + b'NNtR'
    for title, data in dict(code=code, function=function).items():
        yield f'dill-{title}-called', data + b')R.', 'which is data'
        yield f'dill-{title}-alone', data + b'.', 'lacks networks'
    imported = name('dill._dill', '_import_module') + text('os') + b'\x85R'
    yield 'dill-import', imported + b'.', 'the module os'
    import_module = name('dill._dill', '_import_module')
    yield 'dill-import-submodule', import_module + text('numpy.core.multiarray.os') + b'\x85R.', 'the module'
    numpy = import_module + text('numpy.core.multiarray') + b'\x85R'
    yield 'dill-getattr', (name('dill._dill', '_get_attr') + numpy + text('set_typeDict') + b'\x86R.'), 'set_typeDict'
    yield 'dill-getattr-chain', (name('dill._dill', '_get_attr') + b'}' + text('__class__') + b'\x86R.'), '__class__'
    for other in ('_create_type', '_eval_repr', '_create_cell', '_getattribute', '_create_filehandle', '_shims'):
        yield f'dill-{other}', name('dill._dill', other) + b')R.', f'dill._dill.{other}'
    for other in ('type', 'object', 'FunctionType', 'ModuleType', 'eval', 'os.system'):
        yield f'dill-type-{other}', name('dill._dill', '_load_type') + text(other) + b'\x85R.', f'the type {other}, which'
    yield 'dill-type-none', name('dill._dill', '_load_type') + b')R.', 'make no sense'
    yield 'dill-type-list', name('dill._dill', '_load_type') + b']\x85R.', 'the type list'
    yield 'dill-type-chain', (name('dill._dill', '_get_attr') + name('dill._dill', '_load_type') + text('set') + b'\x85R' +
                              text('pop') + b'\x86R.'), 'pop, which is not read'
    yield 'dill-code', (name('dill._dill', '_load_type') + text('CodeType') + b'\x85R)R)R.'), 'which is data'
    yield 'dill-codecs', (name('dill._dill', '_get_attr') + name('dill._dill', '_import_module') + text('_codecs') + b'\x85R' +
                          text('lookup') + b'\x86R.'), 'lookup, which is not read'
    yield 'dill-short', name('dill', 'loads') + b')R.', 'dill.loads'


def arrays(marker: str) -> Iterator[tuple[str, bytes, str]]:
    """NumPy arrays and torch storages with something else inside, or of sizes that they don't have."""
    import numpy as np
    import torch

    from helpers.published_pickles import NDARRAY, STORAGE, TENSOR, Global, Made, dtype, dumps, storage_bytes

    evil = Call(os.system, f'touch {marker}')
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield f'object-array-{protocol}', pickle.dumps({'G_ema': np.array([evil, None], dtype=object)}, protocol), 'it '
    yield 'object-array-alone', dumps(Made(Global('numpy', 'dtype'), ('O8', False, True))), 'array of O8'
    yield 'record-array', dumps(Made(Global('numpy', 'dtype'), ('V8', False, True))), 'array of V8'
    reconstruct = Global('numpy.core.multiarray', '_reconstruct')
    yield 'array-of-other-class', dumps(Made(reconstruct, (Global('collections', 'OrderedDict'), (0,), b'b'))), 'unknown class'
    for title, state in {
            'shape': (1, (1 << 40,), dtype('f4'), False, b'1234'), 'negative': (1, (-1, -4), dtype('f4'), False, b'1234' * 4),
            'many': (1, (1,) * 100, dtype('f4'), False, b'1234'), 'list': (1, (1,), dtype('f4'), False, [1.0]),
            'type': (1, (1,), 'f4', False, b'1234'), 'overflow': (1, (1 << 32, 1 << 32), dtype('f4'), False, b'')}.items():
        yield f'array-{title}', dumps(Made(reconstruct, (NDARRAY, (0,), b'b'), state=state)), 'array'
    yield 'scalar', dumps(Made(Global('numpy.core.multiarray', 'scalar'), (dtype('f8'), b'1'))), 'make no sense'

    good = storage_bytes(torch.zeros(4))
    pickles = good[:-(8 + 4 * 4)]  # without the count and the numbers

    def storage(data, title):
        return title, dumps({'G_ema': Made(STORAGE, (data,))})

    yield *storage(pickle.dumps(evil), 'storage-nested'), '.system'
    yield *storage(good.replace(b'ctorch\nFloatStorage', b'cposix\nsystem'), 'storage-type'), 'posix.system'
    yield *storage(good.replace(b'FloatStorage', b'_utils\n'[:-1].ljust(12, b'x')), 'storage-unknown'), 'torch._utils'
    yield *storage(pickles + struct.pack('<q', 4) + bytes(12), 'storage-short'), 'brings 12 bytes'
    yield *storage(good + b'0', 'storage-long'), 'brings 17 bytes'
    yield *storage(pickles + struct.pack('<q', 5) + bytes(16), 'storage-count'), 'numbers'
    yield *storage(good.replace(b'K\x04Nt', b'\x8a\x08\0\0\0\0\0\0\0\x10Nt'), 'storage-huge'), 'numbers that brings'
    yield *storage(good.replace(b'K\x04Nt', b'J\xff\xff\xff\xffNt'), 'storage-negative'), 'damaged'
    yield *storage(good[:30], 'storage-cut'), 'damaged'
    yield *storage(b'', 'storage-empty'), 'damaged'
    yield *storage(good.replace(b'\x88', b'\x89', 1), 'storage-endian'), 'little-endian'
    file = io.BytesIO()
    torch.save({'a': evil}, file)
    yield *storage(file.getvalue(), 'storage-zip'), 'ZIP'
    file = io.BytesIO()
    torch.save({'a': evil}, file, _use_new_zipfile_serialization=False)
    yield *storage(file.getvalue(), 'storage-object'), '.system'
    yield 'whole-torch-file', file.getvalue(), 'lacks networks'
    for title, view in {'size': (0, (5,), (1,)), 'offset': (1, (4,), (1,)), 'stride': (0, (2,), (9,)),
                        'broadcast': (0, (1 << 40,), (0,)), 'negative': (0, (4,), (-1,)), 'back': (-4, (4,), (1,)),
                        'dims': (0, (1, 1), (1,)), 'float': (0, (1.5,), (1,)),
                        'many': (0, (1,) * 65, (1,) * 65), 'product': (0, (1 << 32, 1 << 32, 1 << 40), (1, 1, 1))}.items():
        yield f'tensor-{title}', dumps({'G_ema': Made(TENSOR, (Made(STORAGE, (good,)), *view, False, {}))}), 'tensor'
    shared = Made(STORAGE, (storage_bytes(torch.zeros(MB)),))
    tensors = [Made(TENSOR, (shared, 0, (MB,), (1,), False, {})) for _ in range(1000)]
    yield 'tensors-shared', dumps({'G_ema': tensors}), 'far more than its size'


def bombs(marker: str) -> Iterator[tuple[str, bytes, str]]:
    """What would take all memory or all time."""
    for title, code in dict(bytes=b'\x8e', text=b'\x8d', array=b'\x96', frame=b'\x95').items():
        for size in (1 << 34, (1 << 63) - 1, (1 << 64) - 1):
            yield f'huge-{title}-{size}', code + struct.pack('<Q', size) + b'x.', 'damaged'
    for title, code in dict(bytes=b'B', text=b'X', integer=b'\x8b', string=b'T').items():
        yield f'large-{title}', code + struct.pack('<I', 0x7fffffff) + b'x.', 'damaged'
    yield 'negative-integer', b'\x8b' + struct.pack('<i', -5) + b'x.', 'damaged'
    yield 'long-integer', b'\x8b' + struct.pack('<i', MB) + b'\x7f' * MB + b'.', 'bytes'
    yield 'long-decimal', b'L' + b'9' * MB + b'L\n.', 'digits'
    yield 'long-float', b'F' + b'9' * MB + b'\n.', 'digits'
    yield 'memo-far', b'N' + b'r' + struct.pack('<I', 0xffffffff) + b'.', 'lacks networks'
    yield 'memo-far-text', b'Np99999999999999\n.', 'lacks networks'
    yield 'memo-missing', b'h\x07.', 'damaged'
    yield 'memo-replaced', b'Nq\x000' + name('os', 'system') + b'q\x000h\x00)R.', 'os.system'
    yield 'memo-cycle', b'}q\x00' + text('G_ema') + b'h\x00s.', 'not a readable'
    yield 'memo-cycle-of-lists', b']q\x00h\x00a.', 'lacks networks'
    yield 'stack-empty', b'.', 'damaged'
    yield 'stack-below-mark', b'(00t.', 'damaged'
    yield 'mark-missing', b'u.', 'damaged'
    yield 'laughs-lists', b']' + b'2\x86' * 100_000 + b'.', 'not a readable'
    yield 'laughs-network', b'}' + text('G_ema') + b')' + b'2\x86' * 1000 + b's.', 'no network record'
    yield 'deep-lists', b']' * 100_000 + b'a' * 99_999 + b'.', 'lacks networks'
    yield 'deep-tuples', b')' + b'\x85' * 200_000 + b'.', 'something else'
    yield 'deep-dicts', (b'}' + text('G_ema')) * 90_000 + b'N' + b's' * 90_000 + b'.', 'not a readable'
    yield 'many-dicts', b'}' * 2 * MB + b'.', 'instructions'
    yield 'many-memos', b'\x8f\x94' * 2 * MB + b'.', 'instructions'
    yield 'colliding-keys', b'}(' + b''.join(b'\x8a\x0a' + (i * ((1 << 61) - 1)).to_bytes(10, 'little') + b'N'
                                            for i in range(1, 100_000)) + b'u.', 'key'
    yield 'colliding-floats', b'}(' + b''.join(b'G' + struct.pack('>d', i * 2.0 ** 70) + b'N'
                                              for i in range(1, 100_000)) + b'u.', 'key'
    encoded = name('_codecs', 'encode') + b'q\x00' + text('a' * MB) + b'q\x01' + text('latin1') + b'\x86q\x02R'
    yield 'encoded-often', b'(' + encoded + b'h\x00h\x02R' * 10_000 + b't.', 'far more than its size'
    yield 'encoded-otherwise', name('_codecs', 'encode') + text('x') + text('zip_codec') + b'\x86R.', 'unknown encoding'
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as z, z.open('archive/data.pkl', 'w', force_zip64=True) as member:
        for _ in range(64):
            member.write(bytes(4 * MB))
    yield 'zip-bomb', file.getvalue(), 'damaged'
    yield 'gzip-bomb', gzip.compress(bytes(16 * MB)) * 64, 'damaged'
    yield 'empty', b'', 'damaged'
    yield 'protocol', b'\x80\xffN.', 'protocol'


def networks(marker: str) -> Iterator[tuple[str, bytes, str]]:
    """Records of networks that ask for more than they bring, refer to themselves, or hold no tensors."""
    import torch

    from helpers.published_pickles import Published, dumps, tf_network
    from torch_utils import persistence
    from training.networks import Generator

    G = Generator(4, 0, 4, 8, 3, mapping_kwargs=dict(num_layers=1), synthesis_kwargs=dict(channel_base=32)).eval()
    domains = dict(c_dim=1 << 30, mapping_kwargs=dict(cond_mode='mlp', i_dim=1))
    flow = dict(c_dim=1, mapping_kwargs=dict(cond_mode='flow', i_dim=1, flow_blocks=1 << 30))
    for title, changes, reason in [('layers', dict(mapping_kwargs=dict(num_layers=1 << 30)), 'more than the'),
                                   ('wide', dict(synthesis_kwargs=dict(channel_base=1 << 30, channel_max=1 << 30)),
                                    'more than the'),
                                   ('latent', dict(z_dim=1 << 30), 'more than the'),
                                   ('labels', dict(c_dim=1 << 30), 'more than the'),
                                   ('domains', domains, 'more than the'), ('flow', flow, 'more than the'),
                                   ('resolution', dict(img_resolution=1 << 30), 'more than the')]:
        kwargs = {**G.init_kwargs, **changes}
        yield f'network-{title}', Published().snapshot(None, None, G, G_ema=kwargs), reason
        file = io.BytesIO()
        persistence.dump({'G_ema': {**persistence.to_record(G), 'init_kwargs': kwargs}}, file)
        yield f'own-{title}', file.getvalue(), reason
    file, own = io.BytesIO(), persistence.to_record(G)
    persistence.dump({'G_ema': {**own, 'class_name': 'os.system'}}, file)
    yield 'own-class-name', file.getvalue(), 'os.system'
    data = bytes(MB)
    tensors = {k: dict(dtype='float32', shape=(MB // 4,), data=data) for k in own['tensors']}
    yield 'own-shared-bytes', pickle.dumps({'G_ema': {**own, 'tensors': tensors}}), 'share their bytes'
    yield 'own-with-code', pickle.dumps({'G_ema': {**own, 'init_kwargs': Call(os.system, f'touch {marker}')}}), '.system'
    yield 'own-with-tensors', dumps({'G_ema': {**own, 'init_kwargs': Published().number(1.0)}}), 'dict in the place of'

    made = Published().module(G)
    made.args[0]['state']['_modules']['mapping'] = None
    made.args[0]['state']['_modules']['self'] = made.args[0]['state']['_modules']
    yield 'network-of-dicts', dumps({'G_ema': made}), 'damaged'
    loop = Published().flow_part(torch.nn.Sequential(), 'Sequential', {})
    loop.state['_modules'] = {'a': loop, 'b': loop}
    made = Published().module(G)
    made.args[0]['state']['_modules']['mapping'] = loop
    yield 'network-of-itself', dumps({'G_ema': made}), 'part of itself'
    wide = made = Published().flow_part(torch.nn.Sequential(), 'Sequential', {})
    for _ in range(12):
        wide.state['_modules'] = {str(i): (inner := Published().flow_part(torch.nn.Sequential(), 'S', {})) for i in range(1)}
        wide.state['_modules'] |= {str(i): inner for i in range(1, 10)}
        wide = inner
    root = Published().module(G)
    root.args[0]['state']['_modules']['mapping'] = made
    yield 'network-of-many', dumps({'G_ema': root}), 'part of itself'
    tf = tf_network('G', {}, {'resolution': 1 << 30, 'fmap_base': 1 << 29})
    tf.state['components'] = {'synthesis': tf}
    yield 'tensorflow-of-itself', dumps((tf, tf, tf)), 'damaged'
    yield 'tensorflow-code', dumps((tf_network('G', {}, {'func_name': f'os.system("touch {marker}")'}),) * 3), 'func_name'


def corpus(marker: str) -> list[tuple[str, bytes, str]]:
    """(name, content, part of the message) of every network pickle. marker: a file that exists once anything has run."""
    return [item for make in (commands, known_names, dill_names, arrays, bombs, networks) for item in make(marker)]


def cifar(marker: str) -> list[tuple[str, bytes, str]]:
    """The same for archives of CIFAR-10, of pickles and of bytes."""
    import numpy as np

    def archive(data):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode='w:gz', compresslevel=1) as tar:
            for i in range(1, 6):
                info = tarfile.TarInfo(f'cifar-10-batches-py/data_batch_{i}')
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return file.getvalue()

    info = tarfile.TarInfo('cifar-10-batches-py/data_batch_1')
    info.size = 1 << 40
    evil = Call(os.system, f'touch {marker}')
    return [
        ('cifar-system', archive(pickle.dumps(evil, 2)), '.system'),
        ('cifar-labels', archive(pickle.dumps({'data': np.zeros([1, 3072], np.uint8), 'labels': [evil]}, 2)), '.system'),
        ('cifar-objects', archive(pickle.dumps({'data': np.array([evil], dtype=object), 'labels': [1]}, 2)), 'it '),
        ('cifar-network', archive(name('dnnlib.util', 'EasyDict') + b')\x81.'), 'dnnlib.util.EasyDict'),
        ('cifar-bomb', gzip.compress(info.tobuf()) + gzip.compress(bytes(16 * MB)) * 100, 'far more'),
        ('cifar-numbers', archive(pickle.dumps({'data': 3, 'labels': [1]}, 2)), 'not a complete'),
    ]


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for title, data, _ in corpus(str(folder / 'EXECUTED')):
        (folder / f'{title}.pkl').write_bytes(data)
    for title, data, _ in cifar(str(folder / 'EXECUTED')):
        (folder / title).mkdir(exist_ok=True)
        (folder / title / 'cifar-10-python.tar.gz').write_bytes(data)
    print(f'{len(list(folder.iterdir()))} hostile files in {folder}')


if __name__ == '__main__':
    sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]
    main()
