"""Differentiable image operators of style-based GANs. `backend` chooses their implementation."""
