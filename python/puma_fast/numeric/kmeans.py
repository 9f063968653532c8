"""k-means: the clusters of a data set, with labels that are certain and independent of threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from puma_fast import _core
from puma_fast.numeric.arrays import as_count, as_floats, as_number, as_threads
from puma_fast.numeric.shard import as_shard
from puma_fast.progress import reporting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Progress


@dataclass(frozen=True, eq=False)
class KMeans:
    """Clusters of the n rows of X, as :func:`kmeans` found them.

    Attributes
    ----------
    labels : ndarray, shape (n,), int32
        The cluster of each row: the nearest of `centers`, the lowest of equally near ones.
    centers : ndarray, shape (k, d), float64
        The clusters' means (up to the last step, where the iteration stopped by `tol` or `max_iter`).
    inertia : float
        Σ ‖x - its center‖², formed directly in float64; units of X squared.
    n_iter : int
        Assignments made until the iteration ended.
    status : str
        ``"converged"``: no label changed any more, or the centers moved by no more than `tol` allows.
        ``"max_iter"``: the iterations allowed were not enough; the best clusters found.
        ``"empty_clusters"``: as converged, but with a cluster that holds no row: X has too few distinct rows
        for so many, or the tolerance ended the iteration before the cluster was filled (``tol=0`` does not).

    Examples
    --------
    >>> import puma_fast as pf
    >>> found = pf.kmeans([[0.0], [1.0], [10.0], [11.0]], 2)
    >>> found.sizes, found.inertia, found.converged
    (array([2, 2]), 1.0, True)
    """

    labels: NDArray[np.int32]
    centers: NDArray[np.float64]
    inertia: float
    n_iter: int
    status: Literal["converged", "max_iter", "empty_clusters"]

    @property
    def converged(self) -> bool:
        """Whether the iteration ended by itself."""
        return self.status != "max_iter"

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many rows each cluster holds, shape (k,)."""
        return np.bincount(self.labels, minlength=len(self.centers)).astype(np.int64, copy=False)

    def __str__(self) -> str:
        """Print one figure a line."""
        sizes = np.sort(self.sizes)
        rows = {
            "status": self.status,
            "n_iter": self.n_iter,
            "inertia": f"{self.inertia:.6g}",
            "clusters": f"{len(sizes)} of {sizes[0]} to {sizes[-1]} rows (median {np.median(sizes):g})",
        }
        return "\n".join(f"{name:<10}{value}" for name, value in rows.items())


def kmeans(
    X: ArrayLike,
    n_clusters: int,
    *,
    init: Literal["k-means++"] | ArrayLike = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    seed: int = 0,
    n_threads: int | None = None,
    shard: Shard | None = None,
    progress: Progress = None,
) -> KMeans:
    """Cluster the rows of X around `n_clusters` centers.

    Looks for centers c that make the inertia Σ_i min_j ‖x_i - c_j‖² small: greedy k-means++ [1]_ with
    2 + ⌊ln k⌋ candidates for each center, then Lloyd's iteration [2]_.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Finite numbers. float32 and float64 are read in place where they are C-contiguous, anything else is
        copied once. Besides that the call holds one centred copy of X.
    n_clusters : int
        k, from 1 to n.
    init : "k-means++" or array_like, shape (k, d), default "k-means++"
        Where the centers begin.
    n_init : int, default 1
        Starts; the result of least inertia is kept. Must be 1 where `init` gives the centers.
    max_iter : int, default 300
        Assignments allowed for each start.
    tol : float, default 1e-4
        Also stop once the centers' squared shift, summed over all, is at most `tol` times the mean variance
        of a column of X. With 0 the iteration runs until no label changes.
    seed : int, default 0
        Seed of the generator (xoshiro256++) for the starts, from 0; the same centers on every machine.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use. The result does not
        depend on it.
    shard : Shard, optional
        This process's place where the rows are cut over several; X holds its own rows, of which there may be
        none, and `labels` are theirs. Everything else is what one call on all rows gives, to the bit.
    progress : bool or callable, optional
        As in :func:`puma_fast.solve_weights`; what is counted is ``"center"``, then ``"iteration"``.

    Returns
    -------
    KMeans
        Labels, centers, inertia, iterations and status.

    Raises
    ------
    ValueError
        A NaN or an infinity; no column; fewer rows than clusters; `init` of another shape; a count below 1;
        a negative `tol` or `seed`.
    TypeError
        Not real numbers, a `tol` that is none, a tensor that is not on the CPU, or a `progress` of no such
        kind.

    Notes
    -----
    The result has the meaning of scikit-learn's ``KMeans``, tolerance and the fate of empty clusters (they
    take the farthest rows) included. Distances come from products in the precision of X; where their error
    bound leaves several centers possible, they are compared directly in float64. Rows that cannot have
    changed clusters since the centers last moved, by the triangle inequality [3]_ [4]_, are not looked at,
    which changes no bit of the result. Centers are sums of integers (X to 50 bits), which no order of adding
    can change.

    References
    ----------
    .. [1] Arthur, Vassilvitskii: "k-means++: the advantages of careful seeding", SODA 2007.
    .. [2] Lloyd: "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28(2), 1982.
    .. [3] Hamerly: "Making k-means even faster", SDM 2010.
    .. [4] Ding et al.: "Yinyang k-means: a drop-in replacement of the classic k-means with consistent
       speedup", ICML 2015.

    Examples
    --------
    >>> import puma_fast as pf
    >>> clusters = pf.kmeans([[0.0], [1.0], [10.0], [11.0]], 2, init=[[0.0], [10.0]])
    >>> clusters.labels
    array([0, 0, 1, 1], dtype=int32)
    >>> print(clusters)
    status    converged
    n_iter    2
    inertia   1
    clusters  2 of 2 to 2 rows (median 2)
    """
    rows = as_floats("X", X, ndim=2)
    k = as_count("n_clusters", n_clusters, least=1)
    starts = as_count("n_init", n_init, least=1)
    centers = None
    if not isinstance(init, str):
        centers = as_floats("init", init, ndim=2).astype(np.float64, copy=False)
        if centers.shape != (k, rows.shape[1]):
            msg = f"init must have one row for each cluster, shape {(k, rows.shape[1])}, got {centers.shape}"
            raise ValueError(msg)
        if starts != 1:
            msg = f"n_init must be 1 where init gives the centers, got {starts}"
            raise ValueError(msg)
    elif init != "k-means++":
        msg = f'init must be "k-means++" or an array of {k} centers, got {init!r}'
        raise ValueError(msg)
    shard = as_shard(shard)
    with reporting("k-means", progress, shard) as report:
        labels, found, inertia, n_iter, status = _core.kmeans(
            rows,
            k,
            centers,
            starts,
            as_count("max_iter", max_iter, least=1),
            as_number("tol", tol, infinite=True),
            as_count("seed", seed),
            as_threads(n_threads),
            shard,
            report,
            True,
        )
    return KMeans(labels, found, inertia, n_iter, status)
