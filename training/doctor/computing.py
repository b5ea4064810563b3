"""Devices, precisions, operators and compilers."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.doctor.findings import MISSING, OK, WARN, Finding, Place, seconds, seen

if TYPE_CHECKING:
    import torch

WIDTH, SIZE = 256, 32  # of the convolution that is measured: feature maps, and pixels of a side


def program(place: Place) -> Iterator[Finding]:
    """Whether the training program can be imported at all."""
    try:
        import training.training_loop  # noqa: F401
    except ImportError as err:
        yield Finding('Training', MISSING, f'cannot be imported ({err})', 'pip install -r requirements.txt', essential=True)
        return
    yield Finding('Training', OK, 'can be imported')


def cpu(place: Place) -> Iterator[Finding]:
    """Threads and speed."""
    import torch

    from torch_utils import bf16
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    measured = {'float32_gflops': _speed(torch.device('cpu'), torch.float32) / 1e9}
    half = 'no instructions for bfloat16'
    if bf16.has_instructions():
        measured['bfloat16_gflops'] = _speed(torch.device('cpu'), torch.bfloat16) / 1e9
        half = f'{measured["bfloat16_gflops"]:.0f} in bfloat16'
    text = f'threads: {threads}, cores: {cores}; {measured["float32_gflops"]:.0f} GFLOP/s in float32, {half}'
    load = os.getloadavg()[0]
    if threads > cores:
        yield seen('CPU', text, measured, 'more threads than cores', f'set OMP_NUM_THREADS={cores}')
    else:
        yield seen('CPU', text, measured, f'busy with other programs (load {load:.0f})' if load > cores + 1 else '',
                   'measure again when they have ended: all speeds here are too low')


def gpus(place: Place) -> Iterator[Finding]:
    """Each GPU in each precision, or why PyTorch cannot use any."""
    import torch

    from torch_utils import gpu_trouble
    if trouble := gpu_trouble.trouble():
        text, _, remedy = trouble.partition('; ')
        yield Finding('GPU', MISSING, text, remedy)
    elif torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            yield _gpu(i)
    elif torch.backends.mps.is_available():
        speed = _speed(torch.device('mps'), torch.float32) / 1e12
        yield Finding('GPU', OK, f'MPS, {speed:.1f} TFLOP/s in float32', measured={'float32_tflops': speed})
    else:
        yield Finding('GPU', MISSING, 'none that PyTorch can use; training is on the CPU, which is enough for small networks')


def _gpu(index: int) -> Finding:
    import torch

    from torch_utils import devices
    device, found = torch.device('cuda', index), torch.cuda.get_device_properties(index)
    measured = {'memory_gib': found.total_memory / 2 ** 30}
    precisions = {'float32': (torch.float32, False), 'TF32': (torch.float32, True), 'float16': (torch.float16, False)}
    if torch.cuda.is_bf16_supported():
        precisions['bfloat16'] = (torch.bfloat16, False)
    for name, (dtype, tf32) in precisions.items():
        devices.configure(device, cudnn_benchmark=True, allow_tf32=tf32)
        measured[f'{name.lower()}_tflops'] = _speed(device, dtype) / 1e12
    speeds = ', '.join(f'{measured[f"{name.lower()}_tflops"]:.0f} in {name}' for name in precisions)
    return Finding(f'GPU {index}', OK, f'{found.name}, {measured["memory_gib"]:.0f} GiB; TFLOP/s: {speeds}', measured=measured)


def _speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a 3x3 convolution, forward and backward."""
    import torch
    from torch.nn.functional import conv2d

    from torch_utils.devices import prefers_channels_last
    rng, count = torch.Generator().manual_seed(0), 4 if device.type == 'cpu' else 32
    layout = torch.channels_last if prefers_channels_last(device) or dtype != torch.float32 else torch.contiguous_format
    x, w = (torch.randn(shape, generator=rng).to(device, dtype, memory_format=layout).requires_grad_()
            for shape in ([count, WIDTH, SIZE, SIZE], [WIDTH, WIDTH, 3, 3]))

    def work() -> None:
        y = conv2d(x, w, padding=1)
        torch.autograd.grad(y, (x, w), y.detach())[1].sum().item()  # waits for the device

    return 3 * 2 * count * (WIDTH * SIZE * 3) ** 2 / seconds(work)


# --- Operators ---


def operators(place: Place) -> Iterator[Finding]:
    """Each way to compute the operators: PyTorch's, the library in C++, NVRTC, and the library in CUDA."""
    import torch

    from torch_utils import devices
    from torch_utils.ops import torch_kernels
    yield _operators('PyTorch', torch_kernels, devices.resolve_device('auto'))
    if torch.cuda.is_available():  # first the library for both devices, which excludes the one for CPUs in this process
        yield _nvrtc_on_a_gpu()
        yield _library('cuda', 'nvcc', torch.device('cuda'))
    else:
        yield _nvrtc_alone()
        yield from _tools('cuda', 'nvcc')
    yield _library('cpu', 'C++', torch.device('cpu'))


def compiler(place: Place) -> Iterator[Finding]:
    """The C++ compiler, which builds the operators for CPUs."""
    from torch_utils import building
    if trouble := list(_tools('cpu', 'compiler')):
        yield from trouble
        return
    command = building.compiler()
    version = subprocess.run([*command, '--version'], capture_output=True, text=True).stdout.partition('\n')[0]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, 'a.cpp')
        source.write_text('#include <vector>\nint size() { return std::vector<int>(7).size(); }\n')
        begun = time.perf_counter()
        done = subprocess.run([*command, *building.CXX_FLAGS, '-shared', '-fPIC', '-o', f'{folder}/a.so', source],
                              capture_output=True, text=True)
        taken = time.perf_counter() - begun
    if done.returncode:
        error = (done.stderr.strip().splitlines() or ['no reason given'])[0]
        yield Finding('Compiler', MISSING, f'{version}: does not compile ({error[:120]})',
                      'reinstall it, or set CXX to another one')
        return
    yield Finding('Compiler', OK, f'{version}; a small library in {taken:.1f} s', measured={'compile_s': taken})


def _operators(name: str, kernels: Any, device: torch.device) -> Finding:
    """Filter and activate images of 64 feature maps and 128x128 pixels."""
    import torch
    x = torch.ones([4, 64, 128, 128], device=device)
    f, b = torch.ones([4, 4], device=device) / 16, torch.ones([64], device=device)

    def work() -> None:
        y = kernels.upfirdn2d(x, f, (1, 1), (1, 1), (1, 2, 1, 2), False, 1.0)
        kernels.bias_act(y, b, 1, 'lrelu', 0.2, 1.4, None)[0, 0, 0, 0].item()

    taken = seconds(work) * 1e3
    return Finding(f'Operators, {name}', OK, f'filter and activation of 4x64x128x128 in {taken:.2f} ms on {device.type}',
                   measured={'ms': taken})


def _library(kind: str, name: str, device: torch.device) -> Finding:
    """The library of a compiler, if it is already built."""
    from torch_utils import custom_ops
    try:
        if custom_ops.load(kind, build=False):
            return _operators(name, custom_ops.kernels(kind), device)
    except custom_ops.CannotBuild as err:
        return Finding(f'Operators, {name}', WARN, err.reason, f'{err.remedy}; until then --ops=torch computes')
    return next(_tools(kind, name), Finding(
        f'Operators, {name}', WARN, f'not built yet; the first run that needs them builds them ({custom_ops.DURATION[kind]})',
        f'python -m torch_utils.custom_ops --device={kind} --ops=native builds them now'))


def _tools(kind: str, name: str) -> Iterator[Finding]:
    """What is missing to build the library of a kind; empty if it can be built."""
    from torch_utils import building
    try:
        building.tools(kind)
    except building.CannotBuild as err:
        title = 'Compiler' if name == 'compiler' else f'Operators, {name}'
        yield Finding(title, MISSING, err.reason, f'{err.remedy}; until then PyTorch\'s operators compute')


def _nvrtc_on_a_gpu() -> Finding:
    import torch

    from torch_utils import custom_ops
    try:
        custom_ops.load('nvrtc')
    except custom_ops.CannotBuild as err:
        return Finding('Operators, NVRTC', MISSING, err.reason, f'{err.remedy}; until then PyTorch\'s operators compute')
    return _operators('NVRTC', custom_ops.kernels('nvrtc'), torch.device('cuda'))


def _nvrtc_alone() -> Finding:
    """NVRTC compiles without a GPU, too."""
    import torch

    from torch_utils import nvrtc
    from torch_utils.building import CannotBuild
    try:
        library = nvrtc.library(torch.version.cuda)
        begun = time.perf_counter()
        library.compile('__global__ void twice(float* x) { *x *= 2; }', {}, 'twice', f'compute_{library.architectures()[-1]}')
    except CannotBuild as err:
        return Finding('Operators, NVRTC', MISSING, f'{err.reason}; it is for GPUs only', err.remedy)
    taken = time.perf_counter() - begun
    version = '.'.join(map(str, library.version))
    return Finding('Operators, NVRTC', WARN, f'NVRTC {version} compiles a kernel in {taken:.2f} s; no GPU here to run it',
                   measured={'compile_s': taken})
