"""Differentiable image operators of style-based GANs; `backend` chooses who computes them."""
