"""`python -m training.doctor`: what works on this machine, how fast, and what to do about what does not.

    findings    what a check returns, and short measurements
    worker      runs the checks in another process, which may hang or crash
    system      versions, memory, disks
    computing   devices, precisions, operators, compilers
    around      detectors, Weights & Biases, movies, browser
    report      the findings as text and as JSON

Heavy packages are imported only by the checks that need them, so a broken installation can be diagnosed.
"""
