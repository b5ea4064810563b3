"""Importing this, before torch is loaded, makes OpenMP's threads share a machine well.

libgomp's threads spin at every barrier, for milliseconds. Where another program has taken a core, they spin for a thread that
does not run, and a training step takes several times as long. With a short spin they sleep instead. Median images/s of the
demo's network with two threads on two cores (tests/benchmarks/threads.py, medians of four rounds):

    spin        alone    beside one busy program
    default      90.3    25.3
    5,000        92.8    32.5
    1,000        92.6    56.8
    passive      85.6    68.6

The number of threads stays, and so do all results, bit for bit. OMP_WAIT_POLICY or GOMP_SPINCOUNT of the user's are kept.
"""

import os

if not {'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'} & os.environ.keys():
    os.environ['GOMP_SPINCOUNT'] = '1000'
