"""The published name of snapshots, and `python -m training.snapshot`; training/snapshots/ has the code."""

from training.snapshots.file import load_network_snapshot, save_network_snapshot

__all__ = ['load_network_snapshot', 'save_network_snapshot']

if __name__ == '__main__':
    from dnnlib import cli
    from training.snapshots.tool import main
    cli.run(main)
