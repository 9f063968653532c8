"""The compiled core. Private: `puma_fast.numeric` wraps every function and says what it promises."""

from typing import Any, Literal, TypedDict, final, type_check_only

import numpy as np
from numpy.typing import NDArray

from puma_fast.numeric.arrays import FloatArray, LabelArray
from puma_fast.numeric.shard import Shard
from puma_fast.progress import Report

__all__ = [
    "Ladder",
    "__version__",
    "apportion",
    "argsort",
    "build_profile",
    "compare",
    "group_sums",
    "kmeans",
    "ladder",
    "prune",
    "select",
    "simd_level",
    "solve_weights",
    "suspects",
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

@final
class Ladder:
    @property
    def l2(self) -> float: ...

def ladder(
    psi_up: FloatArray,
    psi_mk: FloatArray | None,
    target: NDArray[np.float64] | None,
    l1s: NDArray[np.float64],
    l2: float | None,
    shard: Shard | None,
    n_threads: int | None,
) -> Ladder | None: ...
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
    ladder: Ladder | None,
    sparse: bool,
    out: FloatArray | None,
    shard: Shard | None,
    progress: Report | None,
    n_threads: int | None,
) -> tuple[Any, _WeightsFacts]: ...
def argsort(
    scores: FloatArray,
    largest: bool,
    nan: str,
    progress: Report | None,
    n_threads: int | None,
) -> NDArray[np.int64]: ...
def kmeans(
    x: FloatArray,
    n_clusters: int,
    init: NDArray[np.float64] | None,
    n_init: int,
    max_iter: int,
    tol: float,
    seed: int,
    n_threads: int | None,
    shard: Shard | None,
    progress: Report | None,
    bounds: bool,
) -> tuple[
    NDArray[np.int32], NDArray[np.float64], float, int, Literal["converged", "max_iter", "empty_clusters"]
]: ...
def apportion(sizes: list[int], total: int) -> NDArray[np.int64]: ...
def compare(a: NDArray[np.int64], b: NDArray[np.int64], shared: bool) -> NDArray[np.int64]: ...
def group_sums(
    scores: FloatArray,
    groups: NDArray[np.int64],
    n_groups: int,
    shard: Shard | None,
    progress: Report | None,
    n_threads: int | None,
) -> NDArray[np.float64]: ...
def prune(
    margins: FloatArray,
    ratio: float,
    largest: bool,
    nan: str,
    labels: LabelArray | None,
    min_per_class: int,
    protect: NDArray[np.int64],
    mapped: bool,
    shard: Shard | None,
    progress: Report | None,
    n_threads: int | None,
) -> NDArray[np.int64]: ...
def select(
    scores: FloatArray,
    at_least: float,
    at_most: float,
    nan: str,
    shard: Shard | None,
    progress: Report | None,
    n_threads: int | None,
) -> NDArray[np.int64]: ...
def suspects(
    influence: FloatArray,
    k: int,
    confidence: FloatArray,
    k_confident: int,
    nan: str,
    mapped: tuple[bool, bool],
    shard: Shard | None,
    progress: Report | None,
    n_threads: int | None,
) -> NDArray[np.int64]: ...
def top_k(
    scores: FloatArray,
    k: int,
    largest: bool,
    nan: str,
    ranked: bool,
    mapped: bool,
    shard: Shard | None,
    progress: Report | None,
    n_threads: int | None,
) -> NDArray[np.int64]: ...
