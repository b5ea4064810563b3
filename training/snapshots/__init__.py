"""Network snapshots: the file format (file), folders for model hubs (hub), facts about a snapshot (facts), pickles of other
programs (published), and the commands of `python -m training.snapshot` (tool)."""
