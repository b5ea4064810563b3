"""`python -m training.snapshot`: the content of a snapshot, and copies for other programs."""

from __future__ import annotations

import click

from dnnlib import cli

COMMANDS = dict(
    info='What a snapshot holds (what is done if no command is named).',
    export='A folder for a model hub, a pickle for the published programs, ONNX or torch.export, or a smaller snapshot.',
    average='G_ema of another length, for runs with --post-hoc-ema=1.',
)

EXAMPLES = """\b
Examples:
  # Method, size, labels, metrics of a snapshot
  python -m training.snapshot info --network=runs/00000-faces-auto1/network-snapshot-025000.pkl
\b
  # The generator as safetensors and JSON, with a model card
  python -m training.snapshot export --network=runs/00000-faces-auto1/network-snapshot-025000.pkl --outdir=faces
\b
  # Every command that draws takes the folder
  python generate.py --network=faces --seeds=0-15 --outdir=out
"""


@click.group(cls=cli.Group, package='training.snapshots.tool', summaries=COMMANDS, default='info', epilog=EXAMPLES,
             context_settings=dict(max_content_width=120))
def main() -> None:
    """Inspect and export network snapshots."""
