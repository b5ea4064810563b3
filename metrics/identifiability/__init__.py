"""Measures of how well codes recover the factors of rendered images. docs/identifiability.md defines them."""
