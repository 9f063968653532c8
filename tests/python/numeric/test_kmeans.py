"""k-means: scikit-learn's labels from scikit-learn's start, and starts as good as scikit-learn's."""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans as Rival
from sklearn.datasets import load_digits

import puma_fast as pf
from numeric.shards import cut, in_shards

K = 8


def digits():
    X, y = load_digits(return_X_y=True)
    return [X[y == label] for label in range(10)]


def assert_equal_but_for_ties(X, ours, theirs, centers):
    """Labels may differ only where both centers are equally near, to the rounding of the rival's product."""
    differ = np.flatnonzero(ours != theirs)
    distance = ((X[differ, None].astype(np.float64) - centers) ** 2).sum(-1)
    rows = np.arange(len(differ))
    gap = np.abs(distance[rows, ours[differ]] - distance[rows, theirs[differ]])
    assert (gap <= np.finfo(X.dtype).eps * X.shape[1] * (X.astype(np.float64)[differ] ** 2).sum(-1)).all()
    assert len(differ) <= len(X) / 1000


def assert_same_iteration(X, init):
    ours = pf.kmeans(X, len(init), init=init, tol=0)
    theirs = Rival(len(init), init=init, n_init=1, tol=0, max_iter=300).fit(X)
    assert ours.status == "converged"
    assert_equal_but_for_ties(X, ours.labels, theirs.labels_, ours.centers)
    assert ours.n_iter == theirs.n_iter_
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5 if X.dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(ours.centers, theirs.cluster_centers_, atol=1e-4 * np.abs(X).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("label", range(10))
def test_the_iteration_is_that_of_scikit_learn(label, dtype):
    X = digits()[label].astype(dtype)
    assert_same_iteration(X, X[:K])


@pytest.mark.skipif("PUMA_FAST_DATA" not in os.environ, reason="PUMA_FAST_DATA names no folder of data sets")
@pytest.mark.parametrize("label", range(10))
def test_the_iteration_is_that_of_scikit_learn_on_mnist(label):
    data = np.load(Path(os.environ["PUMA_FAST_DATA"]) / "mnist.npz")
    X = data["x_train"].reshape(-1, 784)[data["y_train"] == label][:2000] / np.float32(255)
    assert_same_iteration(X, X[:K])


def nearest(X, centers):
    """Find the nearest center of each row, by the distances themselves in float64."""
    X = X.astype(np.float64)
    return np.argmin([((X - center) ** 2).sum(1) for center in centers], axis=0)


def crowd(rows):
    """Rows between so many centers that a single tie, once decided otherwise, soon moves many labels."""
    rng = np.random.default_rng(1)
    middles = rng.standard_normal((30, 8)) * 3
    return (middles[rng.integers(0, 30, rows)] + rng.standard_normal((rows, 8))).astype(np.float32)


def test_every_iteration_is_lloyds_without_an_exception():
    X = crowd(6000)
    init = X[:100]
    wide, centers = X.astype(np.float64), init.astype(np.float64)
    for steps in range(1, 300):
        labels = nearest(X, centers)
        centers = np.array([wide[labels == j].mean(axis=0) for j in range(100)])
        found = pf.kmeans(X, 100, init=init, tol=0, max_iter=steps)
        np.testing.assert_array_equal(found.labels, nearest(X, centers))
        np.testing.assert_allclose(found.centers, centers, rtol=0, atol=1e-12)
        if found.converged:
            break
    assert found.converged
    rival = Rival(100, init=init.astype(np.float64), n_init=1, tol=0, max_iter=300).fit(wide)
    assert_equal_but_for_ties(wide, found.labels, rival.labels_, found.centers)


def test_scikit_learn_in_float32_parts_from_lloyd_by_ties_in_its_rounding():
    """Its labels at its own centers are the nearest but for such ties; what follows from one is no fault.

    Final labels can differ in many rows therefore, and do: ours are those of scikit-learn in float64, as
    the test before this one says.
    """
    X = crowd(30_000)
    init = X[:100]
    for steps in (1, 2, 3, 5, 8, 13):
        rival = Rival(100, init=init, n_init=1, tol=0, max_iter=steps).fit(X)
        centers = rival.cluster_centers_.astype(np.float64)
        assert_equal_but_for_ties(X, nearest(X, centers), rival.labels_, centers)


def test_empty_clusters_are_filled_as_by_scikit_learn():
    X = digits()[0]
    init = np.vstack([X[: K - 1], np.full((1, 64), 1e3)])
    assert_same_iteration(X, init)


def test_one_start_is_as_good_as_scikit_learns():
    """Mean inertia over classes and seeds, to three standard errors: single starts spread by 1 to 2 %."""
    seeds = range(20)
    ratio = [
        pf.kmeans(X, K, seed=seed).inertia / Rival(K, n_init=1, random_state=seed).fit(X).inertia_
        for X in digits()
        for seed in seeds
    ]
    assert np.mean(ratio) <= 1.0005 + 3 * np.std(ratio) / np.sqrt(len(ratio))


def test_a_start_draws_by_the_square_of_the_distance():
    """The second of two centers: a far row is drawn in proportion to its squared distance.

    With one near and one far row, two draws, and the better kept, the far row is chosen unless both draws
    fall on the near one. From the origin the distances are 1 and 3, the chances 1 and 9 in 10.
    """
    X = np.array([[0.0], [1.0], [3.0]])
    runs = 4000
    got = [pf.kmeans(X, 2, seed=seed, max_iter=1, tol=np.inf).labels for seed in range(runs)]
    # Wrong halves come from the start {0, 1} alone: {0} {1, 3} with inertia 2, against .5 of {0, 1} {3}.
    wrong = np.mean([labels[1] == labels[2] for labels in got])
    # Starts at 0: both draws on 1 (.1**2). At 1: draws of 0 (1 in 5) twice. At 3: {3, x} is right always
    # but for x = 1, which splits 0, 1 | 3 as well.
    chance = (0.1**2 + 0.2**2) / 3
    assert wrong == pytest.approx(chance, abs=4 * np.sqrt(chance / runs))


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shards_give_the_bits_of_the_whole(count, dtype):
    X = digits()[2].astype(dtype)
    whole = pf.kmeans(X, K, seed=3)
    parts = cut(X, count, np.random.default_rng(count))
    results = in_shards(
        count, lambda shard: pf.kmeans(parts[shard.index], K, seed=3, n_threads=1, shard=shard)
    )
    np.testing.assert_array_equal(np.concatenate([result.labels for result in results]), whole.labels)
    for result in results:
        np.testing.assert_array_equal(result.centers, whole.centers)
        assert (result.inertia, result.n_iter, result.status) == (whole.inertia, whole.n_iter, whole.status)


def test_a_shard_that_refuses_its_rows_ends_the_call_of_all():
    def call(shard):
        rows = np.where(shard.index == 1, np.nan, X)
        with pytest.raises(ValueError, match=r"X\[0\] is NaN" if shard.index == 1 else "shard"):
            pf.kmeans(rows, 2, shard=shard)

    in_shards(3, call)


def test_the_result_prints_its_figures():
    result = pf.kmeans(digits()[3], K)
    assert result.sizes.sum() == len(result.labels)
    assert result.converged
    text = str(result)
    assert "converged" in text
    assert f"{result.inertia:.6g}" in text
    assert not pf.kmeans(digits()[3], K, max_iter=1).converged
    assert (result.labels.dtype, result.centers.dtype) == (np.int32, np.float64)


def test_the_callers_arrays_are_left_alone():
    X = digits()[1]
    init = X[:K].copy()
    before = X.copy(), init.copy()
    pf.kmeans(X, K, init=init)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(init, before[1])


X = np.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pf.kmeans(X[:, 0], 2), ValueError, ["X", "2-dimensional", "(6,)"]),
        (lambda: pf.kmeans(X, 7), ValueError, ["X", "fewer clusters", "6 rows for 7"]),
        (lambda: pf.kmeans(X[:, :0], 2), ValueError, ["X", "one column"]),
        (lambda: pf.kmeans(X[:0], 2), ValueError, ["X", "n_clusters", "0 rows for 2"]),
        (lambda: pf.kmeans(np.where(X == 3, np.inf, X), 2), ValueError, ["X[3]", "inf", "finite"]),
        (lambda: pf.kmeans(X * 1e290, 2), ValueError, ["X values must be at most 1e290", "e291"]),
        (lambda: pf.kmeans(X * 1e-295, 2), ValueError, ["X values of a column must differ", "got 1"]),
        (lambda: pf.kmeans(X, 0), ValueError, ["n_clusters", "at least 1", "0"]),
        (lambda: pf.kmeans(X, 2.0), TypeError, ["n_clusters", "integer", "2.0"]),
        (lambda: pf.kmeans(X, 2, n_init=0), ValueError, ["n_init", "at least 1", "0"]),
        (lambda: pf.kmeans(X, 2, max_iter=0), ValueError, ["max_iter", "at least 1", "0"]),
        (lambda: pf.kmeans(X, 2, max_iter=-1), ValueError, ["max_iter", "at least 1", "-1"]),
        (lambda: pf.kmeans(X, 2, tol=-1), ValueError, ["tol", "at least 0", "-1"]),
        (lambda: pf.kmeans(X, 2, tol=np.nan), ValueError, ["tol", "a number", "nan"]),
        (lambda: pf.kmeans(X, 2, tol=True), TypeError, ["tol", "a number", "True"]),
        (lambda: pf.kmeans(X, 2, tol="a"), TypeError, ["tol", "a number", "'a'"]),
        (lambda: pf.kmeans(X, 2, tol=None), TypeError, ["tol", "a number", "None"]),
        (lambda: pf.kmeans(X, 2, seed=-1), ValueError, ["seed", "at least 0", "-1"]),
        (lambda: pf.kmeans(X, 2, init="random"), ValueError, ["init", "k-means++", "random"]),
        (lambda: pf.kmeans(X, 2, init=X[:3]), ValueError, ["init", "(2, 2)", "(3, 2)"]),
        (lambda: pf.kmeans(X, 2, init=X[:2], n_init=2), ValueError, ["n_init", "must be 1", "2"]),
        (lambda: pf.kmeans(X, 2, init=X[:2] * np.nan), ValueError, ["init[0]", "NaN", "finite"]),
        (lambda: pf.kmeans([["a"]], 1), TypeError, ["X", "real numbers"]),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value
    assert len(str(caught.value)) < 200
