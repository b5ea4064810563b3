"""Networks as others keep them: published pickles of PyTorch and TensorFlow, folders of model hubs; and what is in a snapshot."""
