"""Network pickles of other programs, in PyTorch and TensorFlow: reading and writing."""
