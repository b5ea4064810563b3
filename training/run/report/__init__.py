"""report.html: one self-contained page that shows a run, or compares several."""
