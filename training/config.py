"""Turn options into the configuration of a run: presets, checks, and the name of the run directory.

All functions are pure: they depend only on the options and on a description of the dataset. They do not need torch. The
configuration is one JSON-serialisable dict of class names and keyword arguments. Later code reads the configuration, never the
options.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dnnlib.image_size import ImageSize, height_width, text_of
from dnnlib.util import EasyDict, OptionError
from metrics.registry import parse_metrics
from training import methods, own_classes
from training.augmentation.presets import AUGPIPES
from training.data.labels import MOST_CLASSES
from training.presets import PRESETS, auto_preset
from training.run import symptoms
from training.run.resume import PRESETS as RESUME_PRESETS
from training.run.resume import Resume
from training.start_grid import levels, top_level

W_DIM = 512
WANDB_PROJECT = 'stylegan-research'  # default, unless the environment variable of this name is set
G_REG_INTERVAL, D_REG_INTERVAL = 4, 16
SMALLEST_FILTERED = 22  # pixels: the filters of --augpipe span 21 pixels, and images are reflected at their edges
DEFAULT_METRICS = 'fid50k_full'  # used unless metrics take hours on the device: training.run.evaluation


@dataclass(frozen=True)
class DatasetInfo:
    """Facts about a dataset that the configuration needs.

    resolution: (H, W) of the images, or one number for squares. label_dim: 0 without labels. size: number of images before
    mirroring.
    """

    name: str
    resolution: ImageSize
    label_dim: int
    size: int


def build_config(options: EasyDict, data: DatasetInfo, resume: Resume | None = None) -> EasyDict:
    """Turn the options of train.py into the configuration of a run, without `run_dir`.

    options: one item per option of train.py, None if the option was not given, after methods.complete_options. resume: how
    --resume was resolved.
    Raises OptionError for values that are out of range or conflict.
    """
    o = options
    check_options(o)
    check_size(o, data.resolution)
    if o.cond and data.label_dim > MOST_CLASSES:
        raise OptionError(f'--data={o.data}: has labels of {data.label_dim} classes or numbers, more than {MOST_CLASSES}; '
                          'number the classes from 0')
    if o.subset is not None and not 1 <= o.subset <= data.size:
        raise OptionError(f'--subset must be between 1 and {data.size}')

    preset = auto_preset(data.resolution, o.gpus) if o.cfg == 'auto' else PRESETS[o.cfg]
    batch = preset.batch if o.batch is None else o.batch
    precision = 'fp32' if o.fp32 else o.precision or 'auto'
    fp16 = dict(num_fp16_res=0, conv_clamp=None) if precision == 'fp32' else dict(num_fp16_res=4, conv_clamp=256)
    width = dict(channel_base=o.cbase or preset.channel_base, channel_max=o.cmax)
    least = top_level(data.resolution)
    if width['channel_base'] < least:
        raise OptionError(f'--cbase must be at least {least}, which leaves one feature map at this image size')
    layout = dict(fp16_channels_last=bool(o.nhwc))
    optimizer = dict(class_name='torch.optim.Adam', betas=[0.0, 0.99], eps=1e-8)

    c = EasyDict()
    c.device, c.num_gpus, c.precision, c.ops = o.device, o.gpus, precision, o.ops
    c.random_seed = o.seed
    size = data.resolution if isinstance(data.resolution, int) else list(data.resolution)  # a list, as in JSON
    c.training_set_kwargs = dict(class_name=own_classes.class_name(o, 'dataset_class'), path=o.data, resolution=size,
                                 use_labels=bool(o.cond), max_size=data.size, xflip=o.mirror)
    if o.subset is not None and o.subset < data.size:
        c.training_set_kwargs.update(max_size=o.subset, random_seed=o.seed)
    c.data_loader_kwargs = dict(num_workers=o.workers, prefetch_factor=2)
    mapping = dict(num_layers=o.map_depth or preset.map_depth)
    if o.concat_dim is not None:
        mapping['embed_features'] = o.concat_dim
    c.G_kwargs = dict(class_name=own_classes.class_name(o, 'g_class'), z_dim=o.z_dim, w_dim=W_DIM, mapping_kwargs=mapping,
                      synthesis_kwargs=dict(**width, **fp16, **layout, use_noise=o.noise))
    c.D_kwargs = dict(class_name=own_classes.class_name(o, 'd_class'), architecture=preset.d_architecture, **width, **fp16,
                      block_kwargs=dict(freeze_layers=o.freezed or 0, **layout),
                      epilogue_kwargs=dict(mbstd_group_size=preset.mbstd))
    c.G_opt_kwargs = dict(optimizer, lr=preset.lr if o.glr is None else o.glr)
    c.D_opt_kwargs = dict(optimizer, lr=preset.lr if o.dlr is None else o.dlr)
    c.G_reg_interval, c.D_reg_interval = G_REG_INTERVAL, D_REG_INTERVAL
    gamma = preset.gamma if o.gamma is None else o.gamma
    mixing = preset.style_mixing_prob if o.mixing is None else o.mixing
    pl_weight = preset.pl_weight if o.pl_weight is None else o.pl_weight
    c.loss_kwargs = dict(style_mixing_prob=mixing, gamma=gamma, pl_weight=pl_weight, terms={})
    c.update(augmentation(o, data.resolution))
    c.batch_size = batch
    c.batch_gpu = o.batch_gpu or (batch // o.gpus if o.batch is not None else max(preset.batch // preset.ref_gpus, 1))
    if batch % o.gpus or (batch // o.gpus) % c.batch_gpu:
        raise OptionError(f'--batch={batch} must be a multiple of --batch-gpu={c.batch_gpu} times --gpus={o.gpus}; give --batch '
                          'or --batch-gpu')
    check_minibatch_stddev(o, c, preset.mbstd)
    c.ema_kimg, c.ema_rampup, c.post_hoc_ema = preset.ema_kimg, preset.ema_rampup, o.post_hoc_ema
    c.total_kimg = preset.kimg if o.kimg is None else o.kimg
    c.kimg_per_tick = o.tick
    c.grid_by_domain = c.reconstructs = False
    c.metrics, c.metric_seed = parse_metrics(DEFAULT_METRICS if o.metrics is None else o.metrics), o.metric_seed
    c.slow_metrics = o.metrics is not None
    c.image_snapshot_ticks = c.network_snapshot_ticks = o.snap or 50
    c.keep, c.snap_minutes, c.max_minutes = o.keep, o.snap_minutes, o.max_minutes
    c.stop_on = symptoms.parse(o.stop_on)
    methods.configure(o, c, data.label_dim)
    c.anneal = annealing(o, c)
    if o.cond and data.label_dim == 0:
        raise OptionError('--cond=True requires labels specified in dataset.json')
    c.resume_pkl, c.resume_state, c.resume_nimg, c.transfer = None, None, None, False
    c.resume_partial = o.transfer == 'partial' and resume is not None and resume.run_dir is None
    if resume is not None:
        c.resume_pkl, c.resume_state, c.resume_nimg = resume.network_pkl, resume.training_state, resume.start_nimg
        # As published: these settings suit networks that are already trained but whose run is unknown. Resuming such a run keeps
        # them.
        c.transfer = resume.training_state is None or resume.transfer
        if c.transfer:
            c.ada_kimg, c.ema_rampup = 100, None
    c.wandb = dict(mode=o.wandb, project=WANDB_PROJECT, images=o.wandb_images)
    c.profile = o.profile
    c.cudnn_benchmark, c.allow_tf32, c.cuda_graphs = not o.nobench, bool(o.allow_tf32), o.cuda_graphs
    return c


def check_size(o: EasyDict, resolution: ImageSize) -> None:
    """Raise OptionError if networks cannot generate images of this size."""
    remedy = 'resize them with dataset_tool.py --resolution=WxH --transform=center-crop'
    try:
        if len(levels(resolution)) < 2:
            raise OptionError(f'--data={o.data}: images of {text_of(resolution)}, but 8x8 is the smallest; {remedy}')
    except ValueError as err:
        raise OptionError(f'--data={o.data}: {err}; {remedy}') from err


def check_minibatch_stddev(o: EasyDict, c: EasyDict, group: int) -> None:
    """Raise OptionError for a microbatch size that would disable minibatch stddev.

    Minibatch stddev compares the images of a group. A group has at most `group` images, and its size divides the microbatch.
    """
    largest = max(n for n in range(1, min(group, c.batch_gpu) + 1) if c.batch_gpu % n == 0)
    if group > 1 and largest == 1:
        name = 'batch-gpu' if o.batch_gpu is not None else 'batch'
        raise OptionError(f'--{name}: a microbatch of {c.batch_gpu} cannot be split into groups of 2 to {group} images, so that '
                          f'minibatch stddev would be off; take a multiple of {group}')


def augmentation(o: EasyDict, resolution: ImageSize) -> dict[str, Any]:
    """Configure adaptive discriminator augmentation (Karras et al. 2020). augment_kwargs = None disables it.

    augment_p: strength, or its initial value if ada_target is not None. ada_target: the mean sign of D on real images that the
    strength is adapted to. Raises OptionError for options that conflict.
    """
    aug = o.aug or 'ada'
    if aug == 'fixed' and o.p is None:
        raise OptionError('--aug=fixed requires specifying --p')
    if aug != 'fixed' and o.p is not None:
        raise OptionError('--p can only be specified with --aug=fixed')
    if aug != 'ada' and o.target is not None:
        raise OptionError('--target can only be specified with --aug=ada')
    for name in ('p', 'target'):
        if o[name] is not None and not 0 <= o[name] <= 1:
            raise OptionError(f'--{name} must be between 0 and 1')
    if aug == 'noaug':
        if o.augpipe is not None:
            raise OptionError('--augpipe cannot be specified with --aug=noaug')
        return dict(augment_kwargs=None, augment_p=0.0, ada_target=None)
    transforms = AUGPIPES[o.augpipe or 'bgc']
    if 'imgfilter' in transforms and min(height_width(resolution)) < SMALLEST_FILTERED:
        raise OptionError(f'--augpipe={o.augpipe} filters images, which takes {SMALLEST_FILTERED}x{SMALLEST_FILTERED} pixels at '
                          f'least, but --data={o.data} has {text_of(resolution)}; use --augpipe=bgc')
    target = (0.6 if o.target is None else o.target) if aug == 'ada' else None
    return dict(augment_kwargs=dict(class_name='training.augment.AugmentPipe', **transforms), augment_p=o.p or 0.0,
                ada_target=target, ada_interval=4, ada_kimg=500)


def annealing(o: EasyDict, c: EasyDict) -> dict[str, dict[str, float]]:
    """Cosine schedules (training.losses.annealing) from the usual values to those of --anneal. Raises OptionError for options
    that conflict or are out of range."""
    ends = dict(o.anneal or {})
    if o.anneal_kimg is not None and not ends:
        raise OptionError('--anneal-kimg has no effect without --anneal')
    if 'lr' in ends:
        ends = {'glr': ends['lr'], 'dlr': ends['lr'], **ends}
        del ends['lr']
    starts = dict(glr=c.G_opt_kwargs['lr'], dlr=c.D_opt_kwargs['lr'], beta2=c.G_opt_kwargs['betas'][1],
                  gamma=c.loss_kwargs['gamma'], p=c.augment_p, ema=c.ema_kimg)
    if 'p' in ends and o.aug != 'fixed':
        raise OptionError('--anneal: p needs --aug=fixed with the --p to begin with')
    for name, largest in (('p', 1), ('beta2', 0.999999)):
        if ends.get(name, 0) > largest:
            raise OptionError(f'--anneal: {name} must be at most {largest}')
    if ends.get('beta2', 1) == 0:
        raise OptionError('--anneal: beta2 must be greater than 0')
    if 'gamma' in ends and starts['gamma'] == 0:
        raise OptionError('--anneal: gamma cannot begin at 0; give a positive --gamma')
    kimg = o.anneal_kimg or c.total_kimg
    return {name: dict(start=starts[name], end=end, kimg=kimg) for name, end in ends.items()}


# Limits of options. An option that was not given is not checked.
AT_LEAST = {'gpus': 1, 'profile': 1, 'keep': 1, 'snap': 1, 'kimg': 1, 'batch_gpu': 1, 'workers': 1, 'cbase': 1, 'cmax': 1,
            'map_depth': 1, 'concat_dim': 1, 'z_dim': 1}
AT_MOST = {'seed': 2 ** 32 - 1, 'workers': 1024}  # NumPy's seeds; more workers than any machine needs
NOT_NEGATIVE = ('seed', 'metric_seed', 'gamma', 'pl_weight', 'freezed')
POSITIVE = ('tick', 'anneal_kimg', 'glr', 'dlr', 'snap_minutes', 'max_minutes')


def check_options(o: EasyDict) -> None:
    """Raise OptionError for values that are wrong for every dataset."""
    for name, least in AT_LEAST.items():
        if o[name] is not None and o[name] < least:
            raise OptionError(f'{_option(name)} must be at least {least}')
    for name, most in AT_MOST.items():
        if o[name] > most:
            raise OptionError(f'{_option(name)} must be at most {most}')
    if o.batch is not None and (o.batch < 1 or o.batch % o.gpus):
        raise OptionError('--batch must be at least 1 and divisible by --gpus')
    for name in NOT_NEGATIVE:
        if o[name] is not None and not 0 <= o[name] < math.inf:
            raise OptionError(f'{_option(name)} must be non-negative')
    for name in POSITIVE:
        if o[name] is not None and not 0 < o[name] < math.inf:
            raise OptionError(f'{_option(name)} must be greater than 0')
    if o.mixing is not None and not 0 <= o.mixing <= 1:
        raise OptionError('--mixing must be between 0 and 1')
    if o.fp32 and o.precision not in (None, 'fp32'):
        raise OptionError(f'--fp32=1 contradicts --precision={o.precision}; leave one of them out')
    if o.desc is not None and (any(ch in o.desc for ch in '/\\') or not o.desc.isprintable()):
        raise OptionError('--desc is part of a directory name and must not contain slashes or control characters')


def _option(name: str) -> str:
    return '--' + name.replace('_', '-')


def run_description(options: EasyDict, data: DatasetInfo) -> str:
    """Name of the run directory after its number: the options that were given explicitly, in the published order."""
    o = options
    parts: list[tuple[Any, str]] = [
        (True, data.name),
        (o.cond, '-cond'),
        (o.subset is not None, f'-subset{o.subset}'),
        (o.mirror, '-mirror'),
        (True, f'-auto{o.gpus}' if o.cfg == 'auto' else f'-{o.cfg}'),
        (o.gamma is not None, f'-gamma{o.gamma:g}' if o.gamma is not None else ''),
        (o.kimg is not None, f'-kimg{o.kimg}'),
        (o.batch is not None, f'-batch{o.batch}'),
        (o.aug is not None, f'-{o.aug}'),
        (o.p is not None, f'-p{o.p:g}' if o.p is not None else ''),
        (o.target is not None, f'-target{o.target:g}' if o.target is not None else ''),
        (o.augpipe is not None, f'-{o.augpipe}'),
        (o.resume not in (None, 'latest'), _resume_description(o.resume)),
        (o.freezed is not None, f'-freezed{o.freezed}'),
        (True, methods.describe(o)),
        (True, own_classes.description(o)),
        (o.desc, f'-{o.desc}'),
    ]
    return ''.join(text for given, text in parts if given)


def _resume_description(source: str | None) -> str:
    if source == 'noresume':
        return '-noresume'
    return f'-resume{source}' if source in RESUME_PRESETS else '-resumecustom'
