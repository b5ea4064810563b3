"""Augmentation of what the discriminator sees: the pipe, what is drawn (draws), what is done with it (geometry, color, filters),
the values of --augpipe (presets), and what adapts its strength (ada)."""
