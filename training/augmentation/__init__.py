"""Augmentation of the images that the discriminator sees: the pipe, its random parameters (draws), its transforms (geometry,
color, filters), the values of --augpipe (presets), and the controller of its strength (ada)."""
