"""`python -m training.report`; training/run/report/ has the code."""

from dnnlib import cli
from training.run.report.report import main

if __name__ == '__main__':
    cli.run(main)
