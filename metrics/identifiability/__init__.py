"""How well codes recover the factors from which images were rendered: docs/identifiability.md defines all measures."""
