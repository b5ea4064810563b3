"""Time of the operators, native against plain PyTorch: python tests/benchmarks/operators.py --help

The two are timed in turn within one process, so that both see the same machine; the ratio is the median of the pairs'.
On Linux, GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000 keeps the
price of fresh memory out of it, which is the same for both.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from torch_utils import devices
from torch_utils.ops import backend, bias_act, upfirdn2d

FORMATS = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}


def cases() -> dict[str, tuple[list[int], Callable]]:
    """Name -> shape of the input, function of it."""
    short, long = upfirdn2d.setup_filter([1, 3, 3, 1]), upfirdn2d.setup_filter(range(1, 13))
    large, small, images = [8, 128, 64, 64], [8, 512, 8, 8], [16, 3, 32, 32]
    b = torch.randn(large[1])
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
@click.option('--precision', default='fp32,bf16', show_default=True)
@click.option('--threads', default=torch.get_num_threads(), show_default=True)
@click.option('--repeats', default=15, show_default=True)
@click.option('--cpu-time', is_flag=True, help='Count the processor time of one thread: for a machine that others use, too.')
@click.option('--only', default='', help='Cases whose name contains this.')
def main(precision: str, threads: int, repeats: int, cpu_time: bool, only: str) -> None:
    """Median milliseconds of forward, forward + backward, and with double backward."""
    devices.configure(torch.device('cpu'), cudnn_benchmark=True, allow_tf32=False)  # as a run does: freed memory is kept
    torch.set_num_threads(1 if cpu_time else threads)
    clock = time.thread_time if cpu_time else time.perf_counter
    print(f'{"":51s} {"torch ms":>9s} {"native ms":>9s} {"ratio":>7s}')
    for name, (shape, fn) in cases().items():
        if only not in name:
            continue
        for p in precision.split(','):
            for format_name, memory_format in FORMATS.items():
                x = torch.randn(shape).to(DTYPES[p]).contiguous(memory_format=memory_format).requires_grad_()
                dy = torch.randn_like(fn(x))
                for kind, run in (('forward', forward), ('fb', forward_backward), ('double', double_backward)):
                    times = {'torch': [], 'native': []}
                    for repeat in range(repeats + 1):  # the first warms up
                        for ops in times:
                            with backend.using(ops):
                                start = clock()
                                run(fn, x, dy)
                                if repeat:
                                    times[ops].append(1e3 * (clock() - start))
                    a, b = times.values()
                    ratio = statistics.median(s / t for s, t in zip(a, b, strict=True))
                    print(f'{name:24s} {p} {format_name:13s} {kind:8s}',
                          f'{statistics.median(a):9.2f} {statistics.median(b):9.2f} {ratio:7.2f}', flush=True)


if __name__ == '__main__':
    main()
