"""Time of the operators, native against plain PyTorch: python tests/benchmarks/operators.py --help

The two are timed in turn within one process, so that both see the same machine; the ratio is the median of the pairs'. For
forward passes it also prints the share of memory bandwidth: bytes of input and output, relative to a copy.
On Linux, GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000 keeps the
price of fresh memory out of it, which is the same for both.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from training_step import copy_limit

from torch_utils import cuda_graphs, devices
from torch_utils.ops import backend, bias_act, upfirdn2d

FORMATS = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
LARGER = 4  # images on CUDA, where 8 would fit into its cache
CALLS = 10  # in one recording, on CUDA


def cases(where: torch.device) -> dict[str, tuple[list[int], Callable]]:
    """Name -> shape of the input, function of it."""
    short, long = (upfirdn2d.setup_filter(f, device=where) for f in ([1, 3, 3, 1], range(1, 13)))
    n = LARGER if where.type == 'cuda' else 1
    large, small, images = [8 * n, 128, 64, 64], [8 * n, 512, 8, 8], [16 * n, 3, 32, 32]
    b = torch.randn(large[1], device=where)
    return {
        'upfirdn2d up 2': (large, lambda x: upfirdn2d.upsample2d(x, short)),
        'upfirdn2d down 2': (large, lambda x: upfirdn2d.downsample2d(x, short)),
        'upfirdn2d filter': (large, lambda x: upfirdn2d.filter2d(x, short)),
        'upfirdn2d up 2, 8x8': (small, lambda x: upfirdn2d.upsample2d(x, short)),
        'upfirdn2d up 2, 12 taps': (images, lambda x: upfirdn2d.upsample2d(x, long)),
        'bias_act lrelu': (large, lambda x: bias_act.bias_act(x, b.to(x.dtype), act='lrelu')),
        'bias_act lrelu clamp': (large, lambda x: bias_act.bias_act(x, b.to(x.dtype), act='lrelu', gain=math.sqrt(2), clamp=256)),
    }


def forward(fn, x, dy):
    with torch.no_grad():
        fn(x)


def forward_backward(fn, x, dy):
    torch.autograd.grad(fn(x), x, dy)


def double_backward(fn, x, dy):
    dy = dy.detach().requires_grad_()
    dx, = torch.autograd.grad(fn(x), x, dy, create_graph=True)
    torch.autograd.grad(dx, dy, x.detach())


@click.command()
@click.option('--device', default='cpu', show_default=True)
@click.option('--precision', default='fp32,bf16', show_default=True, help='Some of: ' + ', '.join(DTYPES))
@click.option('--threads', default=torch.get_num_threads(), show_default=True)
@click.option('--repeats', default=15, show_default=True)
@click.option('--cpu-time', is_flag=True, help='Count the processor time of one thread: for a machine that others use, too.')
@click.option('--only', default='', help='Cases whose name contains this.')
@click.option('--json', 'as_json', is_flag=True, help='Print a JSON line per row.')
def main(device: str, precision: str, threads: int, repeats: int, cpu_time: bool, only: str, as_json: bool) -> None:
    """Median milliseconds of forward, forward + backward, and with double backward."""
    where = devices.resolve_device(device)
    devices.configure(where, cudnn_benchmark=True, allow_tf32=False)  # as a run does: freed memory is kept
    torch.set_num_threads(1 if cpu_time else threads)
    limit = copy_limit(where)
    if not as_json:
        print(f'{"":51s} {"torch ms":>9s} {"native ms":>9s} {"ratio":>7s} {"bandwidth":>9s}')
    for name, (shape, fn) in cases(where).items():
        if only not in name:
            continue
        for p in precision.split(','):
            for format_name, memory_format in FORMATS.items():
                x = torch.randn(shape, device=where).to(DTYPES[p]).contiguous(memory_format=memory_format).requires_grad_()
                dy = torch.randn_like(fn(x))
                for kind, run in (('forward', forward), ('fb', forward_backward), ('double', double_backward)):
                    row = dict(name=name, precision=p, layout=format_name, kind=kind,
                               **compare(where, lambda run=run, fn=fn, x=x, dy=dy: run(fn, x, dy), repeats, cpu_time))
                    if kind == 'forward':
                        row['bandwidth'] = (x.nbytes + dy.nbytes) / row['native_ms'] / 1e6 / limit
                    print(json.dumps(row) if as_json else f'{name:24s} {p} {format_name:13s} {kind:8s} {row["torch_ms"]:9.3f} '
                          f'{row["native_ms"]:9.3f} {row["ratio"]:7.2f} {row.get("bandwidth", math.nan):9.0%}', flush=True)


def compare(where: torch.device, work: Callable[[], object], repeats: int, cpu_time: bool) -> dict[str, float]:
    """Median ms by PyTorch and natively, and the median of the ratios of pairs."""
    calls = CALLS if cuda_graphs.works_on(where) else 1
    runs = {'torch': prepared(where, 'torch', work, calls), 'native': prepared(where, 'auto', work, calls)}
    times: dict[str, list[float]] = {ops: [] for ops in runs}
    for repeat in range(repeats + 1):  # the first warms up
        for ops, run in runs.items():
            stopwatch, start = devices.Stopwatch(where), time.thread_time()
            with stopwatch:
                run()
            ms = 1e3 * (time.thread_time() - start) if cpu_time else stopwatch.milliseconds()
            if repeat:
                times[ops].append(ms / calls)
    a, b = times.values()
    return dict(torch_ms=statistics.median(a), native_ms=statistics.median(b),
                ratio=statistics.median(s / t for s, t in zip(a, b, strict=True)))


def prepared(where: torch.device, ops: str, work: Callable[[], object], calls: int) -> Callable[[], None]:
    """Do the work as often as `calls` says. On a GPU it is recorded, because launching takes longer than a short operator."""
    def many() -> None:
        with backend.using(ops, where):
            for _ in range(calls):
                work()

    if not cuda_graphs.works_on(where):
        return many
    with cuda_graphs.Recording.rehearsal():
        many()
    recording = cuda_graphs.Recording(cuda_graphs.shared_memory())
    with recording.record():
        many()
    return recording.repeat


if __name__ == '__main__':
    main()
