"""Find out why PyTorch cannot use this machine's NVIDIA GPU. Each common installation fault has a one-line explanation."""

from __future__ import annotations

import re

import torch

from torch_utils import cuda_driver

INSTALL = 'https://pytorch.org/get-started/locally/'


def trouble() -> str | None:
    """Return the fault and its remedy. Returns None without an NVIDIA GPU, or if PyTorch can use all GPUs.

    Asks the driver, so it takes no memory on a GPU.
    """
    try:
        gpus, driver = cuda_driver.capabilities(), cuda_driver.version()
    except cuda_driver.DriverError:
        return None
    if not gpus:
        return None
    if torch.version.cuda is None:
        return f'this PyTorch is built without CUDA, so it cannot use the GPU; install one with CUDA from {INSTALL}'
    build = tuple(map(int, torch.version.cuda.split('.')))
    if driver[0] < build[0]:  # older drivers of the same major version work
        return (f"the GPU's driver supports CUDA {_dotted(driver)}, and this PyTorch needs {_dotted(build)}; update the "
                f'driver or install a PyTorch for CUDA {driver[0]} from {INSTALL}')
    oldest = min((arch for arch in map(_capability, torch.cuda.get_arch_list()) if arch), default=(0, 0))
    if min(gpus) < oldest:
        return (f'the GPU is too old: it has compute capability {_dotted(min(gpus))}, and this PyTorch needs {_dotted(oldest)}; '
                f'install an older PyTorch ({INSTALL}) or hide this GPU with CUDA_VISIBLE_DEVICES')
    return None


def _capability(arch: str) -> tuple[int, int] | None:
    """Parse an architecture: (7, 5) for sm_75; (9, 0) for sm_90a and compute_90."""
    match = re.fullmatch(r'(?:sm|compute)_(\d+)(\d)[a-z]?', arch)
    return (int(match[1]), int(match[2])) if match else None


def _dotted(version: tuple[int, ...]) -> str:
    return '.'.join(map(str, version))
