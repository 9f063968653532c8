"""The compiled core. Private: `puma_fast.numeric` wraps every function and says what it promises."""

from typing import Any, Literal, TypedDict, type_check_only

import numpy as np
from numpy.typing import NDArray

from puma_fast.numeric.arrays import FloatArray
from puma_fast.numeric.shard import Shard

__all__ = [
    "__version__",
    "argsort",
    "build_profile",
    "kmeans",
    "prune",
    "simd_level",
    "solve_weights",
    "top_k",
]

__version__: str
build_profile: Literal["debug", "release"]
simd_level: str

@type_check_only
class _WeightsFacts(TypedDict):
    status: str
    objective: float
    gap: float
    residual: NDArray[np.float64]
    price: NDArray[np.float64]
    l1: float
    l2: float
    l1_max: float
    l1_norm: float
    nnz: int
    iterations: int
    unique: bool
    reach: tuple[float, float] | None

def solve_weights(
    psi_up: FloatArray,
    psi_mk: FloatArray | None,
    target: NDArray[np.float64] | None,
    lower: FloatArray,
    upper: FloatArray,
    l1: float | None,
    l2: float | None,
    max_residual: float | None,
    tol: float,
    max_iter: int,
    start: NDArray[np.float64] | None,
    sparse: bool,
    out: FloatArray | None,
    shard: Shard | None,
    n_threads: int | None,
) -> tuple[Any, _WeightsFacts]: ...
def argsort(scores: FloatArray, largest: bool, nan: str, n_threads: int | None) -> NDArray[np.int64]: ...
def kmeans(
    x: FloatArray,
    n_clusters: int,
    init: NDArray[np.float64] | None,
    n_init: int,
    max_iter: int,
    tol: float,
    seed: int,
    n_threads: int | None,
) -> tuple[
    NDArray[np.int32], NDArray[np.float64], float, int, Literal["converged", "max_iter", "empty_clusters"]
]: ...
def prune(
    margins: FloatArray,
    ratio: float,
    largest: bool,
    nan: str,
    labels: NDArray[np.int64] | None,
    min_per_class: int,
    protect: NDArray[np.int64],
    n_threads: int | None,
) -> NDArray[np.int64]: ...
def top_k(
    scores: FloatArray, k: int, largest: bool, nan: str, n_threads: int | None
) -> NDArray[np.int64]: ...

__all__ = ["__version__", "argsort", "build_profile", "kmeans", "prune", "simd_level", "top_k"]
