"""From margins to a smaller training set, and to the perturbation size that each sample can bear.

A sample's margin is its signed distance to the model's decision boundary: positive where the model is
right. Easy samples have large margins, hard ones small or negative margins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from puma_fast.numeric.arrays import as_floats, as_number
from puma_fast.numeric.order import prune as prune_by_score

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.arrays import FloatArray
    from puma_fast.numeric.order import Nan
    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Progress


def prune_by_margin(
    margins: ArrayLike,
    *,
    ratio: float,
    labels: ArrayLike | None = None,
    prune: Literal["easy", "hard"] = "easy",
    min_per_class: int = 0,
    protect: ArrayLike = (),
    nan: Nan = "raise",
    shard: Shard | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
) -> NDArray[np.int64]:
    """Give the samples to keep when the easiest (or hardest) share of a training set is pruned.

    Parameters
    ----------
    margins : array_like, shape (n,)
        Signed margins, in any one unit. A mapped file (`numpy.memmap`) is read where it lies, three times
        from the first to the last, in constant memory; it may be larger than memory.
    ratio : float
        The share to prune, from 0 to 1: exactly ``round(ratio * n)`` samples go, halves rounded to even.
    labels : array_like, shape (n,), optional
        The samples' classes, which then shrink alike: class c loses less than one sample more or fewer than
        ``ratio * n_c``, by largest remainders, equal ones in favour of the class whose first sample comes
        first. The labels' names do not matter.
    prune : {"easy", "hard"}, default "easy"
        Prune the highest margins, or the lowest. Of equal margins the lowest position goes first.
    min_per_class : int, default 0
        Samples that each class keeps, or all it has where that is fewer. What a class then cannot give, the
        others give in proportion to their sizes. Needs `labels`.
    protect : array_like of int, shape (m,), default none
        Positions of samples that are never pruned. They count in n and n_c.
    nan : {"raise", "last", "first"}, default "raise"
        What becomes of a NaN margin: refused, or pruned last or first.
    shard : Shard, optional
        This process's place among several that hold consecutive rows; `protect` then holds
        positions in the whole, and each gets what is kept of its own rows, as positions in the whole.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use. The result does not
        depend on it.
    progress : bool or callable, optional
        As in :func:`puma_fast.solve_weights`; what is counted is ``"sample"``, over all passes.

    Returns
    -------
    ndarray, shape (n - round(ratio * n),), int64
        Positions of the samples to keep, ascending.

    Raises
    ------
    ValueError
        A ratio outside [0, 1] or more than may go; `labels` of another length; a position to protect that
        no sample has; `min_per_class` without `labels`; a NaN with ``nan="raise"``.
    TypeError
        Not real numbers; positions that are no integers.

    See Also
    --------
    adaptive_eps : The other half of the method: smaller perturbations for small margins.

    Notes
    -----
    Removing the samples of highest margin is the pruning of [1]_; removing those of lowest margin is the
    rival strategy. Class-balanced quotas, protection and the order of ties are this package's own.

    References
    ----------
    .. [1] Maroto, Frossard: "PUMA: margin-based data pruning", arXiv 2405.06298.

    Examples
    --------
    >>> import puma_fast as pf
    >>> margins = [0.9, 0.2, 0.5, -0.1]
    >>> pf.prune_by_margin(margins, ratio=0.5)
    array([1, 3])
    >>> pf.prune_by_margin(margins, ratio=0.5, labels=[0, 0, 1, 1])
    array([1, 3])
    >>> pf.prune_by_margin(margins, ratio=0.5, prune="hard")
    array([0, 2])
    """
    if prune not in ("easy", "hard"):
        msg = f'prune must be "easy" (the highest margins) or "hard" (the lowest), got {prune!r}'
        raise ValueError(msg)
    return prune_by_score(
        margins,
        ratio=ratio,
        largest=prune == "easy",
        nan=nan,
        labels=labels,
        min_per_class=min_per_class,
        protect=protect,
        shard=shard,
        n_threads=n_threads,
        progress=progress,
    )


def adaptive_eps(
    margins: ArrayLike,
    *,
    eps: float = 8 / 255,
    policy: Literal["clip0", "signed"] = "clip0",
) -> FloatArray:
    """Give each sample the perturbation size of its adversarial training, never beyond its margin.

    Parameters
    ----------
    margins : array_like, shape (n,)
        Signed margins in the norm and units of `eps`.
    eps : float, default 8/255
        The largest perturbation, above 0.
    policy : {"clip0", "signed"}, default "clip0"
        What a negative margin m gives: ``"clip0"`` trains on the clean sample, eps_i = max(m, 0);
        ``"signed"`` keeps the sign, eps_i = max(m, -eps).

    Returns
    -------
    ndarray, shape (n,)
        eps_i = min(m_i, eps), bounded below as `policy` says; float32 for float32 margins, else float64.

    Raises
    ------
    ValueError
        A NaN among the margins, an `eps` that is not positive and finite, an unknown policy.
    TypeError
        Margins or an `eps` that are not real numbers; margins that are not on the CPU.

    See Also
    --------
    prune_by_margin : The other half of the method.

    Notes
    -----
    The rule of [1]_ is eps_i = m_i where -eps < m_i < eps, and eps_i = eps where m_i >= eps. What holds for
    m_i <= -eps was not found stated there: ``"signed"`` takes -eps, the only continuous completion.
    A negative eps_i means a ball of radius abs(eps_i) in which the loss is *lowered*; that reading is ours
    too. Code that takes eps_i for a radius must not be handed negative ones: a projection onto
    ``[x - eps_i, x + eps_i]`` then silently returns a constant shift. ``"clip0"`` has none.

    References
    ----------
    .. [1] Maroto, Frossard: "PUMA: margin-based data pruning", arXiv 2405.06298.

    Examples
    --------
    >>> import puma_fast as pf
    >>> pf.adaptive_eps([0.3, 0.05, -0.02, -0.5], eps=0.1)
    array([0.1 , 0.05, 0.  , 0.  ])
    >>> pf.adaptive_eps([0.3, 0.05, -0.02, -0.5], eps=0.1, policy="signed")
    array([ 0.1 ,  0.05, -0.02, -0.1 ])
    """
    values = as_floats("margins", margins, ndim=1)
    # A NumPy scalar would lift float32 margins to its own type.
    bound = as_number("eps", eps, above=0)
    if policy not in ("clip0", "signed"):
        msg = f'policy must be "clip0" or "signed", got {policy!r}'
        raise ValueError(msg)
    if np.isnan(values).any():
        first = int(np.isnan(values).argmax())
        msg = f"margins[{first}] is nan, which bounds no perturbation; drop the sample or compute it again"
        raise ValueError(msg)
    return values.clip(0.0 if policy == "clip0" else -bound, bound)
