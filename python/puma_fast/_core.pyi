"""The compiled core. Private: `puma_fast.numeric` wraps every function and says what it promises."""

from typing import Literal, TypedDict, type_check_only

import numpy as np
from numpy.typing import NDArray

from puma_fast.numeric.arrays import FloatArray

__all__ = ["__version__", "build_profile", "simd_level", "solve_weights"]

__version__: str
build_profile: Literal["debug", "release"]
simd_level: str

@type_check_only
class _WeightsFacts(TypedDict):
    status: str
    objective: float
    gap: float
    residual: NDArray[np.float64]
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
    n_threads: int | None,
) -> tuple[FloatArray, _WeightsFacts]: ...

__all__ = ["__version__", "build_profile", "simd_level", "solve_weights"]
