"""Draw from a trained network. `python generate.py --help` explains."""

from __future__ import annotations

import click

from dnnlib import cli, openmp  # noqa: F401 (before torch is loaded)

# A subcommand is `command` in the module training.sampling.commands.<name>, which is imported when it is called.
COMMANDS = dict(
    images='Images of seeds or of projected latents (the default command).',
    mix='Style mixing: some layers of one latent, the rest of another.',
    video='A movie that moves through latents or domains.',
    domains='The same latents in every domain, in one picture.',
    project='The latent whose image is most similar to a given picture.',
    translate='Real images in other domains.',
    traverse='What each coordinate of the latent changes, ordered by importance.',
    explore='A page in the browser, with sliders.',
)

EXAMPLES = """\b
Examples:
  # Sixteen images; `images` need not be written
  python generate.py --outdir=out --seeds=0-15 --trunc=0.7 --network=runs/00000-faces-auto1/network-snapshot-025000.pkl
  python generate.py images --outdir=out --seeds=0-15 --trunc=0.7 --network=...
\b
  # Style mixing: coarse styles of the columns, all else of the rows
  python generate.py mix --outdir=out --rows=0-3 --cols=4-7 --styles=coarse --network=network-snapshot-025000.pkl
\b
  # A looping movie through eight latents in each of 4x2 cells
  python generate.py video --output=lerp.mp4 --seeds=0-63 --grid=4x2 --network=network-snapshot-025000.pkl
\b
  # Eight latents in all domains of a conditional network
  python generate.py domains --outdir=out --labels=1 --network=network-snapshot-000280.pkl
\b
  # What the style coordinates of a network with --cond-mode=flow do to seed 0 in domain 1
  python generate.py traverse --outdir=out --class=1 --network=network-snapshot-000280.pkl
\b
  # The latent w of a picture, which `images` then renders
  python generate.py project --outdir=out --target=face.jpg --network=network-snapshot-025000.pkl
  python generate.py --outdir=out --projected-w=out/projected_w.npz --network=network-snapshot-025000.pkl
\b
  # Real images in every domain
  python generate.py translate --outdir=out --images=datasets/mnist.zip --network=network-snapshot-000200.pkl
\b
  # All of this with sliders in the browser
  python generate.py explore --network=network-snapshot-000280.pkl
\b
  # All options of a command, with examples
  python generate.py images --help
  python generate.py domains --help
"""


@click.group(cls=cli.Group, package='training.sampling.commands', summaries=COMMANDS, default='images', epilog=EXAMPLES,
             context_settings=dict(max_content_width=120))
def main() -> None:
    """Draw from a trained network, with the moving average of its generator (G_ema).

    The default command is images: generate.py --seeds=... means generate.py images --seeds=.... `generate.py images --help`
    explains its options.
    """


if __name__ == '__main__':
    cli.run(main)
