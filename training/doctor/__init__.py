"""`python -m training.doctor`: what works on this machine, how fast, and what to do about what does not.

    findings    what a check returns, and short measurements
    worker      runs the checks in another process, which may hang or crash
    system      versions, memory, disks
    computing   devices, precisions, operators, compilers
    around      detectors, Weights & Biases, movies, browser
    report      the findings as text and as JSON

Nothing heavy is imported before a check needs it, so that a broken installation is diagnosed rather than met.
"""
