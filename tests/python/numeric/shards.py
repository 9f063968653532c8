"""Shards in one process: a thread each, connected by a barrier."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from puma_fast.numeric.shard import Shard

DEADLINE = 60
"""Seconds after which a shard that waits for the others gives up, so that a fault is not a hang."""


def in_shards(count, run):
    """Give `[run(shard) for each of count shards]`, all at the same time."""
    barrier = threading.Barrier(count)
    given = [None] * count

    def reducing(index):
        def reduce(values):
            given[index] = values
            barrier.wait(DEADLINE)
            total = np.sum(given, axis=0, dtype=np.int64)
            # Nobody may hand in the next values before all have read these.
            barrier.wait(DEADLINE)
            return total

        return reduce

    def one(index):
        try:
            return run(Shard(index, count, reducing(index)))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def cut(rows, count, rng):
    """Cut `rows` into `count` consecutive parts with edges anywhere, empty parts among them."""
    edges = np.sort(rng.integers(0, len(rows) + 1, count - 1))
    return np.split(rows, edges)
