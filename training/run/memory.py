"""What to do if the GPU runs out of memory."""

from __future__ import annotations

from dnnlib.util import EasyDict


def smaller_options(c: EasyDict) -> str:
    """The options of train.py that reduce the memory of this configuration: 'use --batch-gpu=8 (...), or --cbase=...'."""
    recorded = c.get('cuda_graphs') and c.device != 'cpu' and c.augment_kwargs is None
    options = ['--cuda-graphs=0 (slower for small networks)'] if recorded else []
    rows = smaller_microbatch(c)
    if rows is not None:
        rounds = c.batch_size // c.get('num_gpus', 1) // rows
        options.append(f'--batch-gpu={rows} instead of {c.batch_gpu} (gradients are accumulated over {rounds} rounds: slower, '
                       'but with the same --batch)')
    if c.precision == 'fp32':
        options.append('--precision=auto instead of fp32')
    width = c.D_kwargs.get('channel_base')
    if width is not None:
        options.append(f'--cbase={width // 2} instead of {width} (smaller networks)')
    return 'use ' + ', or '.join(options) if options else 'use a GPU with more memory'


def smaller_microbatch(c: EasyDict) -> int | None:
    """The largest microbatch of at most half the current size that divides the batch of a rank and that minibatch stddev can
    divide into groups: of the current size if possible, else of a smaller one. None if there is none."""
    group = c.D_kwargs.get('epilogue_kwargs', {}).get('mbstd_group_size', 4)
    per_rank = c.batch_size // c.get('num_gpus', 1)
    sizes = [n for n in range(c.batch_gpu // 2, 0, -1) if per_rank % n == 0]
    whole = [n for n in sizes if n % min(group, c.batch_gpu) == 0]
    some = [n for n in sizes if any(n % k == 0 for k in range(2, group + 1))]
    return next(iter(whole + some), None)
