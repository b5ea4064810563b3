"""The endless, slowly reshuffled order of training images."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np

_DRAWS = 1 << 16  # random numbers are drawn in blocks, which is 20 times faster and gives the same numbers


class InfiniteSampler:
    """Yield indices into `dataset` forever; usable as the `sampler` of a torch DataLoader.

    All ranks walk through one global sequence of positions t = 0, 1, 2, ... Each rank takes the positions with t mod
    num_replicas == rank. After each position, its entry is swapped with one of the `window` entries before it. So every pass has
    another order, and each image still occurs about once per pass.

    dataset: anything with a length of at least 1.
    window_size: range of the swaps as a fraction of the dataset, 0 to 1.
    start: number of global positions to skip. The rest of the sequence is unchanged.

    Raises ValueError if an argument is out of range.
    """

    def __init__(self, dataset: Sized, rank: int = 0, num_replicas: int = 1, shuffle: bool = True, seed: int = 0,
                 window_size: float = 0.5, start: int = 0):
        if len(dataset) < 1:
            raise ValueError('the dataset is empty')
        if not 0 <= rank < num_replicas:
            raise ValueError(f'rank {rank} is not below num_replicas {num_replicas}')
        if not 0 <= window_size <= 1:
            raise ValueError(f'window_size {window_size} is not within 0 and 1')
        if start < 0:
            raise ValueError(f'start {start} is negative')
        self.size = len(dataset)
        self.rank = rank
        self.num_replicas = num_replicas
        self.shuffle = shuffle
        self.seed = seed
        self.window_size = window_size
        self.start = start

    def __iter__(self) -> Iterator[int]:
        order = np.arange(self.size)
        window = 0
        rng = np.random.RandomState(self.seed)
        if self.shuffle:
            rng.shuffle(order)
            window = round(self.size * self.window_size)
        order = order.tolist()  # items of a list are read many times faster than those of an array

        if window < 2:
            # Never reshuffled: position t can be computed directly.
            t = self.start + (self.rank - self.start) % self.num_replicas
            while True:
                yield order[t % self.size]
                t += self.num_replicas

        i = 0  # t mod size
        turn = (self.rank - self.start) % self.num_replicas  # positions until this rank's next one
        skip = self.start
        while True:
            draws = rng.randint(window, size=_DRAWS).tolist()
            if skip:
                skipped = draws[:skip]
                for d in skipped:
                    order[i], order[i - d] = order[i - d], order[i]  # i - d < 0 counts from the end, as intended
                    i = i + 1 if i + 1 < self.size else 0
                skip -= len(skipped)
                draws = draws[len(skipped):]
            for d in draws:
                if turn == 0:
                    turn = self.num_replicas
                    yield order[i]
                turn -= 1
                order[i], order[i - d] = order[i - d], order[i]
                i = i + 1 if i + 1 < self.size else 0
