"""How `generate.py project` finds a latent."""
