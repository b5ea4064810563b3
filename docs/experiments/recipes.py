"""Options of train.py that several experiments share."""

from __future__ import annotations

from experiment import Cell

# Options of train.py: small networks of 32x32 pixels. They draw varied digits and letters after 100 kimg, in 10 to 40 minutes on
# one core.
SMALL = ['--z-dim=64', '--batch=16', '--cbase=512', '--cmax=64', '--map-depth=1', '--concat-dim=16', '--noise=0', '--mixing=0',
         '--pl-weight=0', '--aug=noaug', '--loss=relativistic', '--r2=1', '--gamma=0.1', '--penalty-interval=4', '--fp32=1',
         '--workers=1', '--metrics=none', '--wandb=disabled', '--tick=2', '--snap=4', '--keep=1']

# Options of dataset_tool.py: what networks with domains train with.
DIGITS = ['--source=mnist', '--domains=two-color']
LETTERS = ['--source=glyphs', '--split=train']

I_STYLEGAN = ['--method=i-stylegan', '--i_dim=16']
CG_GAN = ['--method=cg-gan', '--i_dim=16']
L1 = ['--perturb_norm=0.1']  # with --lambda_imgsparse
RECON = ['--lambda_recon=20']

START, CONTROL = 'start', 'continued'
# Second stages, which start from the same i-StyleGAN: title and options.
SECOND_STAGES = {
    CONTROL: ('i-StyleGAN, continued (control)', I_STYLEGAN),
    'l1-100': ('+ L1, 100', [*CG_GAN, *L1, '--lambda_imgsparse=100']),
    'hoyer-3': ('+ Hoyer by jvp, 3', [*CG_GAN, '--jacobian=jvp', '--jacobian-penalty=hoyer', '--lambda_imgsparse=3']),
    'l1-300': ('+ L1, 300', [*CG_GAN, *L1, '--lambda_imgsparse=300']),
    'l1-0.1': ('+ L1, 0.1 (published weight)', [*CG_GAN, *L1, '--lambda_imgsparse=0.1']),
    'csdi': ('+ CSDI, 1', ['--method=csdi', '--i_dim=16', '--lambda_orth=1']),
    'clr-gan': ('+ CLR-GAN, 20', ['--method=i-stylegan,clr-gan', '--i_dim=16', *RECON]),
    'both': ('+ L1, 100, and CLR-GAN, 20', ['--method=cg-gan,clr-gan', '--i_dim=16', *L1, '--lambda_imgsparse=100', *RECON]),
}


def two_stages(first: int, second: int, *names: str) -> dict[str, Cell]:
    """An i-StyleGAN of `first` kimg, and these of SECOND_STAGES, each of `second` kimg from there."""
    cells = {START: Cell('i-StyleGAN, start of stage two', I_STYLEGAN, first)}
    return cells | {name: Cell(title, options, first + second, START) for name in names
                    for title, options in [SECOND_STAGES[name]]}
