"""Features of images: computed, summed up, kept."""
