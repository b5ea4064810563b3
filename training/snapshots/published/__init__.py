"""Networks as other programs keep them: pickles of PyTorch and TensorFlow, in and out."""
