"""Import this before torch, so that OpenMP's threads share a machine well with other programs.

The threads of libgomp spin for milliseconds at every barrier. If another program has taken a core, they spin for a thread that
is not running, and a training step takes several times as long. After a short spin they sleep instead. Median images/s of the
demo's network with two threads on two cores (tests/benchmarks/threads.py, medians of four rounds):

    spin        alone    beside one busy program
    default      90.3    25.3
    5,000        92.8    32.5
    1,000        92.6    56.8
    passive      85.6    68.6

The number of threads and all results stay the same, bit for bit. The user's own OMP_WAIT_POLICY or GOMP_SPINCOUNT takes
precedence.
"""

import os

if not {'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'} & os.environ.keys():
    os.environ['GOMP_SPINCOUNT'] = '1000'
