"""Scores of one criterion on which a fast way could lose its way, many enough for it to be taken."""

from __future__ import annotations

import numpy as np

N = 150_000


def patterns():
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(N)
    outlier = normal.copy()
    outlier[77] = 1e5
    zeros = np.where(rng.random(N) < 0.99, 0.0, normal)
    # A sample takes 8 of every 512 or so rows: these hide the large values from it.
    hidden = np.where(np.arange(N) % (N // (N // 512)) < 8, 0.01 * normal, normal)
    return {
        "normal": normal,
        "sorted": np.sort(normal),
        "reversed": np.sort(normal)[::-1].copy(),
        "outlier": outlier,
        "zeros": zeros,
        "one value": np.where(rng.random(N) < 0.95, 0.5, normal),
        "twenty values": rng.integers(-10, 10, N) / 4.0,
        "hidden": hidden,
        "heavy": rng.standard_cauchy(N),
        "subnormal": normal * np.where(rng.random(N) < 0.5, 1e-310, 1.0),
        "tiny": normal * 1e-150,
        "huge": normal * 1e150,
        "signed zeros": np.where(rng.random(N) < 0.3, -0.0, normal),
    }


PATTERNS = patterns()
