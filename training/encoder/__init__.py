"""`python -m training.encoder`: an encoder of real images for a trained generator."""
