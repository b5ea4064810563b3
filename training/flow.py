"""The published name of the flow; training/networks/flow.py has the code."""

from training.networks.flow import DDSF, DenseSigmoidFlow

__all__ = ['DDSF', 'DenseSigmoidFlow']
