"""Marking samples for removal by cluster, so that what is removed is not simply restored by its likes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from puma_fast.numeric.arrays import as_array, as_classes, as_count, as_floats
from puma_fast.numeric.kmeans import kmeans
from puma_fast.progress import each, reporting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.progress import Progress


def mark_clusters(
    X: ArrayLike,
    y: ArrayLike,
    *,
    clusters_per_class: int = 8,
    pick: Literal["smallest", "largest"] | int = "smallest",
    classes: ArrayLike | None = None,
    n_init: int = 1,
    seed: int = 0,
    n_threads: int | None = None,
    progress: Progress = None,
) -> NDArray[np.int64]:
    """Mark all samples of one cluster of each class.

    Where a class has many similar samples, removing a few of them changes nothing: the model generalises to
    them from the others. So PUMA's removal experiments [1]_ run k-means on the features of each class and
    mark every sample of one cluster, the smallest.

    Parameters
    ----------
    X : array_like, shape (n, ...)
        The samples' features; all but the first dimension are flattened.
    y : array_like, shape (n,)
        The samples' classes, of any kind that NumPy compares.
    clusters_per_class : int, default 8
        Clusters of each class; the paper's 8.
    pick : "smallest", "largest" or int, default "smallest"
        Which cluster of a class is marked; a number counts from the smallest, which is 0. Of clusters of
        equal size the lower label comes first; empty ones, which only a class with too few distinct samples
        leaves, are not counted.
    classes : array_like, optional
        Mark in these classes alone. Left out: in all.
    n_init : int, default 1
        k-means starts for each class; the best is kept. (scikit-learn, which the paper used, made 10 at
        that time.)
    seed : int, default 0
        Seed of the starts, the same for each class.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use. The result does not
        depend on it.
    progress : bool or callable, optional
        As in :func:`puma_fast.kmeans`; what is counted is ``"class"``.

    Returns
    -------
    ndarray, shape (m,), int64
        Positions of the marked samples, ascending.

    Raises
    ------
    ValueError
        A class with fewer samples than `clusters_per_class`, or one in `classes` without samples; a `pick`
        that is no rank of a cluster; `y` of another length than X; a NaN or an infinity in
        X; a NaN in `y`.
    TypeError
        Not real numbers, a tensor that is not on the CPU, classes of kinds that have no common order, or a
        `progress` of no such kind.

    See Also
    --------
    puma_fast.kmeans : The clustering itself.

    References
    ----------
    .. [1] Wu, Hashemi, Srinivasa: "PUMA: Performance Unchanged Model Augmentation for Training Data
       Removal", AAAI 2022, Appendix A, "Data Marking for Removal Experiment" and Listing 3.

    Examples
    --------
    >>> import numpy as np
    >>> import puma_fast as pf
    >>> X = np.array([[0.0], [0.1], [5.0], [0.2], [7.0], [7.1], [2.0], [7.2]])
    >>> y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> pf.mark_clusters(X, y, clusters_per_class=2)
    array([2, 6])
    """
    features, labels = as_array("X", X), as_classes("y", y)
    if labels.ndim != 1 or features.ndim < 1 or len(features) != len(labels):
        msg = f"y must hold one class for each row of X, got shapes {labels.shape} and {features.shape}"
        raise ValueError(msg)
    k = as_count("clusters_per_class", clusters_per_class, least=1)
    rank = _rank(pick, k)
    chosen = np.unique(labels if classes is None else as_classes("classes", classes))
    marked = [np.empty(0, dtype=np.int64)]
    with reporting("marking", progress) as report:
        for label, within in each(list(chosen), "class", report):
            members = np.flatnonzero(labels == label)
            if len(members) < k:
                msg = (
                    f"class {label} has {len(members)} samples, fewer than clusters_per_class={k}; ask for "
                    "fewer clusters, or leave the class out by classes="
                )
                raise ValueError(msg)
            rows = as_floats("X", features[members].reshape(len(members), -1), ndim=2)
            clusters = kmeans(rows, k, n_init=n_init, seed=seed, n_threads=n_threads, progress=within)
            order = np.argsort(clusters.sizes, kind="stable")
            order = order[clusters.sizes[order] > 0]
            marked.append(members[clusters.labels == order[min(rank, len(order) - 1)]])
    return np.sort(np.concatenate(marked))


def _rank(pick: Any, k: int) -> int:
    """Place of the cluster to mark among k clusters by size."""
    if isinstance(pick, str):
        if pick not in ("smallest", "largest"):
            msg = f'pick must be "smallest", "largest" or a number, got {pick!r}'
            raise ValueError(msg)
        return 0 if pick == "smallest" else k - 1
    rank = as_count("pick", pick)
    if rank >= k:
        msg = f"pick must be below clusters_per_class={k}, got {rank}"
        raise ValueError(msg)
    return rank
