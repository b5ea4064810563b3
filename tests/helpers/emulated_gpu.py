"""What launches the kernels of torch_utils.ops.nvrtc_ops where there is no GPU: they are compiled for the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import torch

from helpers.compiling import CSRC, compile_all, compiler
from torch_utils.ops import plans


class EmulatedGpu:
    """A launcher for nvrtc_ops.Operators. launches: the names of kernels in the order in which they ran."""

    def __init__(self, folder: Path):
        commands = []
        for dtype, name in plans.TYPES.items():
            (folder / name).mkdir()
            entries = ''.join(f'{{"{kernel}", Call<&{kernel}>::run}},\n' for kernel in plans.kernels(dtype))
            (folder / name / 'kernels.inc').write_text(entries)
            commands.append([compiler(), '-std=c++17', '-O1', '-w', '-shared', '-fPIC', f'-I{CSRC}', f'-I{folder / name}',
                             str(Path(__file__).with_name('emulate_gpu.cpp')), '-o', str(folder / f'{name}.so')])
        compile_all(commands)
        self._libraries = {name: ctypes.CDLL(str(folder / f'{name}.so')) for name in plans.TYPES.values()}
        self.launches: list[str] = []

    def __call__(self, launch: plans.Launch, device: torch.device, parameters: Sequence[ctypes._SimpleCData]) -> None:
        assert device.type == 'cpu' and 0 < launch.blocks < 2 ** 31
        self.launches.append(launch.kernel)
        dtype = launch.kernel.split('<')[1].split(',')[0]
        pointers = (ctypes.c_void_p * len(parameters))(*map(ctypes.addressof, parameters))
        status = self._libraries[dtype].launch(launch.kernel.encode(), launch.blocks, launch.shared, pointers)
        assert status == 0, f'{launch.kernel}: status {status}'
