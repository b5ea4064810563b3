"""Train a GAN. `python train.py --help` explains; training/config.py turns the options into a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from dnnlib import cli, openmp  # noqa: F401 (before torch is loaded)
from dnnlib.image_size import text_of
from dnnlib.plugins import load_object
from dnnlib.util import EasyDict, OptionError, UserError
from torch_utils import torchrun
from training import methods, option_files, own_classes
from training.augmentation.presets import AUGPIPES
from training.config import DatasetInfo, build_config, run_description
from training.data import held_out
from training.presets import CFG_NAMES
from training.run import symptoms
from training.run.checks import ReadAhead, check_inputs, tell_data, tell_missing
from training.run.directory import next_run_dir
from training.run.plan import Plan, carry_out, carry_out_together
from training.run.resume import PRESETS, find_resume

EXAMPLES = """\b
Examples:
  # See what would be done, without doing it
  python train.py --outdir=runs --data=datasets/mnist.zip --dry-run
\b
  # Train on one GPU (or, without one, on the CPU) with settings chosen by the image size; on eight; on two machines with eight
  python train.py --outdir=runs --data=datasets/faces.zip --mirror=1
  python train.py --outdir=runs --data=datasets/faces.zip --mirror=1 --gpus=8
  torchrun --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-endpoint=HOST:29400 train.py --outdir=runs ...
\b
  # One domain per label; a network small enough for a laptop
  python train.py --outdir=runs --data=datasets/mnist.zip --cond=1 --cbase=1024 --cmax=64 --kimg=100
\b
  # Start, or resume the last run of this kind: for queues that interrupt
  python train.py --outdir=runs --data=datasets/faces.zip --mirror=1 --resume=latest --max-minutes=230
\b
  # Start from a snapshot in a new directory, here with another method; or from networks of other images
  python train.py --outdir=runs --data=datasets/mnist.zip --method=cg-gan \\
      --resume=runs/00000-mnist-cond-auto1/network-snapshot-000100.pkl
  python train.py --outdir=runs --data=datasets/faces.zip --resume=ffhq256
\b
  # Options in a file, some of them changed; the options of another run; networks of another size
  python train.py --config=faces.yaml --gamma=2
  python train.py --like=runs/00000-faces-mirror-auto1 --seed=1
  python train.py --outdir=runs --data=datasets/faces128.zip --transfer=partial \\
      --resume=runs/00000-faces-auto1/network-snapshot-005000.pkl
"""


SECTIONS = {'General': 'outdir', 'Dataset': 'data', 'Networks and training': 'cfg', 'Augmentation': 'aug',
            'Methods; several can be combined': 'method', 'Transfer learning': 'resume', 'Performance': 'precision'}


class Command(cli.Command):
    """The general options, and after --method those of all methods, including the user's own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        in_files = option_files.named_in(args)
        method = in_files['method'].value if 'method' in in_files else ''
        words = cli.values_in(args, 'method') or (method if isinstance(method, list) else [str(method)])
        ctx.obj = methods.load_methods(methods.paths_in(words))
        ctx.default_map = option_files.as_defaults(ctx, self.get_params(ctx), in_files)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        after = 1 + [param.name for param in params].index('method')
        of_methods = [option for method in ctx.obj or methods.built_in() for option in method.options]
        return [*params[:after], *of_methods, *params[after:]]

    def get_sections(self, ctx: click.Context) -> dict[str, str]:
        return {**SECTIONS, **{method.title: method.own_names()[0] for method in ctx.obj or methods.built_in() if method.options}}


@click.command(cls=Command, epilog=EXAMPLES, context_settings=dict(max_content_width=120))
@click.option('--outdir', type=cli.PATH,
              help='Directory for the results. Each run gets a numbered directory in it.', required=True,
              metavar='DIR')
@click.option('--gpus', help='Number of GPUs (or CPU processes). Must divide --batch.  [default: 1, or as many processes as '
              'torchrun started]', type=int, metavar='INT')
@click.option('--device', help='Where to compute. auto takes CUDA if available, then MPS, then the CPU.',
              type=click.Choice(['auto', 'cuda', 'cpu', 'mps']), default='auto', show_default=True)
@click.option('--snap', help='Save images and networks every N ticks.  [default: 50, or 40 with --cond-mode=flow or mlp]',
              type=int, metavar='INT')
@click.option('--keep', help='Number of training states to keep (needed for exact resume). Network snapshots are never deleted.',
              type=int, default=2, show_default=True, metavar='INT')
@cli.bool_option('--post-hoc-ema', help='Save two averages of the weights with each network snapshot. `python -m '
                 'training.snapshot average` makes G_ema of any length from them. A third more disk space, twice the memory '
                 'of G.',
                 show_default=True)
@click.option('--snap-minutes', help='Also save a snapshot whenever this many minutes have passed since the last one, even in '
              'the middle of a tick.', type=float, metavar='MINUTES')
@click.option('--max-minutes', help='Wall-clock limit in minutes, counted from launch. Saves and exits before it is reached '
              '(for job queues).',
              type=float, metavar='MINUTES')
@click.option('--stop-on', help='Save and exit with status 1 when one of these problems occurs, separated by commas: '
              f'{", ".join(symptoms.RULES)}; or any. Without this option, they only cause warnings (docs/health.md).',
              metavar='LIST')
@click.option('--tick', help='Print progress every N thousand images.', type=float, default=4, show_default=True,
              metavar='KIMG')
@click.option('--metrics', help='Metrics of each network snapshot, separated by commas: fid50k_full, fd5k_efficientnet_full, '
              'jacobian, ... (docs/metrics.md), or none. best.json names the best snapshot by the first. calc_metrics.py '
              'computes them later.  [default: fid50k_full; on a CPU none]', metavar='LIST')
@click.option('--metric-seed', help='Random seed of the metrics.', type=int, default=0, show_default=True, metavar='INT')
@click.option('--eval-data', type=cli.PATH,
              help='Held-out images. Metrics compare with them, and they show overfitting.  [default: metrics compare '
              'with --data]', metavar='PATH')
@click.option('--wandb', help='Weights & Biases. auto: as WANDB_MODE says, or online if you are logged in. offline: files '
              'for `wandb sync`. WANDB_PROJECT and WANDB_ENTITY set the destination.',
              type=click.Choice(['auto', 'online', 'offline', 'disabled']), default='auto', show_default=True)
@click.option('--wandb-images', help='Images to send to Weights & Biases. fakes: generated ones. all: also training images and '
              'their reconstructions.', type=click.Choice(['none', 'fakes', 'all']), default='fakes', show_default=True)
@click.option('--seed', help='Random seed. Runs with the same seed are identical.', type=int, default=0, show_default=True,
              metavar='INT')
@click.option('-n', '--dry-run', help='Check all that a run would check, print the configuration and exit.', is_flag=True)
@click.option('--desc', help='Text to append to the name of the run directory.', metavar='STR')
@click.option('--config', type=cli.PATH, metavar='FILE', help='Take options from a YAML or JSON file, or from the '
              'training_options.json of a run. The command line wins (docs/configuration.md).')
@click.option('--like', type=cli.PATH, metavar='RUN', help='Take the options of another run for a new one: its directory, or its '
              'name in --outdir. --config and the command line win.')
@click.option('--save-config', type=cli.PATH, metavar='FILE', help='Check the options, write them to a .yaml or .json file for '
              '--config, then train. With --dry-run, exit after writing.')
@click.option('--data', type=cli.PATH,
              help='Training data: a folder or ZIP made by dataset_tool.py.', required=True, metavar='PATH')
@own_classes.OPTIONS[2]
@cli.bool_option('--cond', default=None, help='Train with the labels of the dataset.  [default: 0, or 1 with --cond-mode]')
@click.option('--subset', help='Train with only N images, chosen by --seed.  [default: all]', type=int, metavar='INT')
@cli.bool_option('--mirror', help='Add mirrored copies of the images.', show_default=True)
@click.option('--cfg', help='Base configuration; auto chooses by image size.', type=click.Choice(CFG_NAMES), default='auto',
              show_default=True)
@click.option('--gamma', help='Weight of the R1 penalty. A larger one is more stable, a smaller one gives sharper images.  '
              '[default: by --cfg]', type=float,
              metavar='FLOAT')
@click.option('--pl-weight', help='Weight of path length regularisation; 0 turns it off.  [default: by --cfg]', type=float,
              metavar='FLOAT')
@click.option('--mixing', help='Probability of style mixing; 0 turns it off.  [default: by --cfg]', type=float, metavar='FLOAT')
@click.option('--kimg', help='Training length in thousands of images.  [default: by --cfg]', type=int,
              metavar='INT')
@click.option('--batch', help='Batch size over all GPUs.  [default: by --cfg]', type=int, metavar='INT')
@click.option('--batch-gpu', help='Microbatch size per GPU. Gradients are accumulated up to --batch; lower it to save memory.  '
              '[default: --batch / --gpus]', type=int, metavar='INT')
@click.option('--cbase', help='Capacity: cbase / r feature maps at resolution r, up to --cmax.  [default: by --cfg]', type=int,
              metavar='INT')
@click.option('--cmax', help='Largest number of feature maps in any layer.', type=int, default=512, show_default=True,
              metavar='INT')
@click.option('--map-depth', help='Number of layers in the mapping network.  [default: by --cfg]', type=int, metavar='INT')
@click.option('--concat-dim', help='Width of the label embedding that is concatenated to z. A narrower one gives z more '
              'influence.  [default: 512]', type=int, metavar='INT')
@cli.bool_option('--noise', help='Noise inputs of the synthesis network. Without them, all variety must come from z.',
                 default=True, show_default=True)
@click.option('--glr', help='Learning rate of the generator.  [default: by --cfg]', type=float, metavar='FLOAT')
@click.option('--dlr', help='Learning rate of the discriminator.  [default: by --cfg]', type=float, metavar='FLOAT')
@click.option('--anneal', help='Move values along a cosine to these over the first --anneal-kimg: lr, '
              'glr, dlr, beta2, gamma, p (with --aug=fixed), ema (half-life in kimg). Example: lr=0.0005,gamma=0.1',
              type=cli.Assignments(['lr', 'glr', 'dlr', 'beta2', 'gamma', 'p', 'ema']), metavar='NAME=VALUE,...')
@click.option('--anneal-kimg', help='Length of the cosines of --anneal.  [default: --kimg]', type=float, metavar='KIMG')
@click.option('--z-dim', help='Width of the latent z.', type=int, default=512, show_default=True, metavar='INT')
@own_classes.OPTIONS[0]
@own_classes.OPTIONS[1]
@click.option('--aug', help="Augment the discriminator's input to prevent overfitting on small datasets. ada: strength adapts to "
              'overfitting. fixed: strength --p. noaug: none (StyleGAN2).  [default: ada]',
              type=click.Choice(['noaug', 'ada', 'fixed']))
@click.option('--p', help='Strength with --aug=fixed: the probability of each transformation.', type=float, metavar='FLOAT')
@click.option('--target', help="Target of --aug=ada: the mean sign of the discriminator's output on real images. It rises with "
              'overfitting.  [default: 0.6]', type=float, metavar='FLOAT')
@click.option('--augpipe', help='Transformations: blit (flips, quarter turns, integer shifts), geom (scale, rotation, aspect, '
              'shift), color, filter, noise, cutout, or sets of them by initials.  [default: bgc]',
              type=click.Choice(list(AUGPIPES)))
@click.option('--method', help='Use the published options of a method, except those that you give: '
              f'{", ".join(m.name for m in methods.built_in())}; or of several, such as cg-gan,clr-gan. A folder or .py file, '
              'such as ./my_method, adds a method of your own (docs/adding-a-method.md).', metavar='LIST',
              type=methods.MethodNames())
@click.option('--resume', type=cli.PATH,
              help='Resume. latest: the newest run in --outdir with the same description, in place; starts a new run if there '
              'is none. A run directory: from its newest intact snapshot, in place, with the same images. A network pickle '
              f'or a name of models/: in a new directory, from its kimg. A URL, or {", ".join(PRESETS)}: transfer learning, '
              'from 0 kimg.  [default: noresume]', metavar='WHAT')
@click.option('--resume-kimg', help="Resume in a new directory and count from this kimg instead of the snapshot's. 0 means "
              'transfer learning with fresh optimisers.', type=int, metavar='KIMG')
@click.option('--transfer', help='How to copy the networks of --resume. strict: tensors with the same name must have the same '
              'shape. partial: copy the tensors that fit, list the others, and count from 0 kimg; for images of another size, '
              'other channels or other labels.  [default: strict]', type=click.Choice(['strict', 'partial']))
@click.option('--freezed', help='Freeze-D: freeze the first N layers of the discriminator.  [default: 0]', type=int,
              metavar='INT')
@click.option('--precision', help='Precision of the four highest resolutions. auto: fp16 on CUDA; bf16 on CPUs where a short '
              'measurement finds it faster; otherwise fp32.  [default: auto]',
              type=click.Choice(['auto', 'fp32', 'fp16', 'bf16']))
@cli.bool_option('--fp32', help='The same as --precision=fp32.', show_default=True)
@cli.bool_option('--nhwc', help='Channels-last memory layout with half precision.', show_default=True)
@cli.bool_option('--nobench', help="Don't let cuDNN search for the fastest algorithms.", show_default=True)
@cli.bool_option('--allow-tf32', help='Allow TF32 on CUDA: faster, less exact.', show_default=True)
@cli.bool_option('--cuda-graphs', help='Record each phase as a CUDA graph and repeat it, on one GPU with --aug=noaug. Up to ten '
                 'times as fast for small networks; takes more memory.', default=True, show_default=True)
@click.option('--ops', help='Operators for resampling, filters and activations. auto: our own; on CUDA, NVRTC compiles '
              "them in seconds. native: the same, built once per machine by a C++ compiler and nvcc. torch: PyTorch's. If auto "
              "cannot use our operators, it prints the reason and uses PyTorch's.",
              type=click.Choice(['auto', 'native', 'torch']), default='auto', show_default=True, envvar='STYLEGAN_OPS',
              show_envvar=True)
@click.option('--profile', help='Profile N steps after the first few. Writes trace.json.gz and profile.txt to the run '
              'directory. 16 steps include every lazy phase.', type=int, metavar='N')
@click.option('--workers', help='Number of processes that read images.', type=int, default=3, show_default=True, metavar='INT')
@click.pass_context
def main(ctx: click.Context, **options) -> None:
    """Train StyleGAN2 on a folder or ZIP of images (make one with dataset_tool.py).

    Everything goes into DIR/<number>-<description>: report.html, which shows the run in a browser, training_options.json,
    log.txt, stats.jsonl, TensorBoard events, reals.png, fakes<kimg>.png, network-snapshot-<kimg>.pkl and
    training-state-<kimg>.pt. Ctrl-C saves a snapshot and exits. The same command with --resume=latest resumes.

    Every option can be written with hyphens or underscores.
    """
    with option_files.naming_files(ctx):
        train(methods.complete_options(EasyDict(options, given=option_files.given(ctx)), ctx.obj))


def train(o: EasyDict) -> None:
    """Train with these options, as a process that launches the ranks, or as a rank of torchrun."""
    o.gpus = torchrun.how_many(o.gpus)
    if torchrun.under_torchrun() and not o.dry_run:
        from training.training_loop import training_loop
        carry_out_together(o, make_plan, training_loop)
        return
    plan = make_plan(o)
    if plan is not None:
        from training.training_loop import training_loop
        carry_out(plan, training_loop)


def make_plan(o: EasyDict) -> Plan | None:
    """Turn options into a plan, check its inputs and print it. None if there is nothing to do."""
    if o.save_config is not None:
        option_files.check_name(o.save_config)
    training_set, info = open_dataset(o)
    desc = run_description(o, info)
    resume = find_resume(o.resume, o.resume_kimg, o.outdir, desc, partial=o.transfer == 'partial')
    config = build_config(o, info, resume)
    own_classes.complete(config, o, training_set)
    complete_eval_data(config, o, training_set)
    goes_on = resume is not None and resume.run_dir is not None
    config.run_dir = resume.run_dir if goes_on else str(next_run_dir(Path(o.outdir), desc))
    print_config(config, info)
    tell_data(config, training_set)
    config.resume_stamp = None if resume is None else resume.stamp
    read_ahead = ReadAhead()
    start_nimg = check_inputs(config, training_set, read_ahead, goes_on, o.dry_run)
    if o.save_config is not None:
        option_files.save(o.save_config, o.given)
        print(f'Options are in {o.save_config}: python train.py --config={o.save_config}')
    if o.dry_run:
        tell_missing(config)
        print('Dry run; exiting.')
        return None

    if start_nimg >= config.total_kimg * 1000:
        if not goes_on:
            raise OptionError(f'--kimg={config.total_kimg} is the length of the whole training, and --resume has already '
                              f'seen {start_nimg / 1000:g} kimg; ask for more')
        # Exit status 0, for scripts that repeat the command until the run is complete.
        print(f'{config.run_dir} is complete: {start_nimg / 1000:g} kimg of --kimg={config.total_kimg}; increase it to '
              'train longer')
        return None
    options = option_files.of_run(o.given, resume.run_dir if goes_on else None)
    return Plan(config, options, resume, Path(o.outdir), desc, read_ahead)


def open_dataset(o: EasyDict) -> tuple[Any, DatasetInfo]:
    """Open the dataset, with its labels if they are used. Raises OptionError if it is invalid."""
    data = own_classes.open_dataset(o)
    try:
        return data, DatasetInfo(name=data.name, resolution=data.resolution, label_dim=data.label_dim, size=len(data))
    except UserError as err:
        raise OptionError(f'--data: {err}') from err


def complete_eval_data(config: EasyDict, o: EasyDict, training_set: Any) -> None:
    """Add the images of --eval-data to the configuration. Raises OptionError if they do not fit the training images."""
    if o.eval_data is None:
        return
    kwargs = dict(class_name=config.training_set_kwargs['class_name'], path=o.eval_data, xflip=o.mirror)
    data = held_out.open_eval_data(load_object(kwargs['class_name']), o.eval_data, bool(o.cond), o.mirror, training_set)
    try:
        data.validate()
    except UserError as err:
        raise OptionError(f'--eval-data: {err}') from err
    config.eval_set_kwargs = kwargs


def print_config(config: EasyDict, info: DatasetInfo) -> None:
    """Print the configuration."""
    kwargs = config.training_set_kwargs
    print(f'\nTraining options:\n{json.dumps(config, indent=2)}\n')
    print(f'Output directory:   {config.run_dir}')
    print(f'Training data:      {kwargs["path"]}')
    if 'eval_set_kwargs' in config:
        print(f'Evaluation data:    {config.eval_set_kwargs["path"]}')
    print(f'Training duration:  {config.total_kimg} kimg')
    print(f'Number of GPUs:     {config.num_gpus}')
    print(f'Number of images:   {kwargs["max_size"]}')
    print(f'Image resolution:   {text_of(info.resolution)}')
    print(f'Conditional model:  {kwargs["use_labels"]}')
    print(f'Dataset x-flips:    {kwargs["xflip"]}\n', flush=True)


if __name__ == '__main__':
    cli.run(main)
