"""The parts of training.augment: what is drawn (draws), and what is done with it (geometry, color, filters)."""
