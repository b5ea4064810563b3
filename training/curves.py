"""`python -m training.curves`; training/run/curves.py has the code."""

from dnnlib import cli
from training.run.curves import main

if __name__ == '__main__':
    cli.run(main)
