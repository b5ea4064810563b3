"""Network snapshots: the file format (file), folders of model hubs (hub), what a snapshot holds (facts), pickles of other
programs (published), and the commands of `python -m training.snapshot` (tool)."""
