"""Marking: all of one cluster of each class, as the paper's Listing 3 does it."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import puma_fast as pf

X, Y = load_digits(return_X_y=True)


def listing_3(X, y, label, k, which):
    """The paper's code, with our k-means for scikit-learn's."""
    label_index = np.where(y == label)[0]
    labels = pf.kmeans(X[label_index].reshape(len(label_index), -1), k).labels
    values, counts = np.unique(labels, return_counts=True)
    return label_index[labels == values[counts.argsort(kind="stable")[which]]]


@pytest.mark.parametrize(("pick", "which"), [("smallest", 0), ("largest", -1), (3, 3)])
def test_equals_the_papers_listing_for_every_class(pick, which):
    marked = pf.mark_clusters(X, Y, pick=pick)
    assert marked.dtype == np.int64
    expected = np.concatenate([listing_3(X, Y, label, 8, which) for label in range(10)])
    np.testing.assert_array_equal(marked, np.sort(expected))


def test_classes_may_be_chosen():
    np.testing.assert_array_equal(
        pf.mark_clusters(X, Y, classes=[7, 2, 7]),
        np.sort(np.concatenate([listing_3(X, Y, label, 8, 0) for label in (2, 7)])),
    )
    np.testing.assert_array_equal(pf.mark_clusters(X, Y, classes=4), listing_3(X, Y, 4, 8, 0))
    assert pf.mark_clusters(X, Y, classes=[]).tolist() == []


def test_images_tables_and_names_give_the_same():
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    expected = pf.mark_clusters(X, Y)
    np.testing.assert_array_equal(pf.mark_clusters(X.reshape(-1, 8, 8), Y), expected)
    np.testing.assert_array_equal(pf.mark_clusters(X.astype(np.uint8), Y), expected)
    np.testing.assert_array_equal(pf.mark_clusters(X, names[Y]), expected)


def test_threads_change_nothing_and_seeds_do():
    expected = pf.mark_clusters(X, Y)
    for n_threads in (1, 2, 7):
        np.testing.assert_array_equal(pf.mark_clusters(X, Y, n_threads=n_threads), expected)
    assert any(not np.array_equal(pf.mark_clusters(X, Y, seed=seed), expected) for seed in range(1, 5))


def test_a_class_of_copies_is_one_cluster():
    copies = np.ones((10, 3))
    for pick in ("smallest", "largest", 2):
        marked = pf.mark_clusters(copies, np.zeros(10), clusters_per_class=4, pick=pick)
        assert marked.tolist() == list(range(10))


def test_a_single_cluster_is_the_class():
    np.testing.assert_array_equal(
        pf.mark_clusters(X, Y, clusters_per_class=1, classes=[5]), np.flatnonzero(Y == 5)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clusters_per_class": 175}, ["class 8", "174 samples", "clusters_per_class=175", "classes="]),
        ({"classes": [11]}, ["class 11", "0 samples", "clusters_per_class=8"]),
        ({"clusters_per_class": 0}, ["clusters_per_class", "at least 1", "0"]),
        ({"pick": "median"}, ["pick", '"smallest"', "median"]),
        ({"pick": 8}, ["pick", "below clusters_per_class=8", "8"]),
        ({"pick": -1}, ["pick", "at least 0", "-1"]),
        ({"y": Y[1:]}, ["y", "one class for each row", "(1796,)"]),
        ({"y": Y[:, None]}, ["y", "one class for each row", "(1797, 1)"]),
        ({"y": np.where(np.arange(1797) == 5, np.nan, Y)}, ["y[5] is nan", "no class", "drop the sample"]),
        ({"y": np.where(np.arange(1797) == 5, np.nan, Y.astype(object))}, ["y[5] is nan", "no class"]),
        ({"y": np.full(1797, np.datetime64("NaT"))}, ["y[0] is NaT", "no class"]),
        ({"classes": [1, np.nan]}, ["classes[1] is nan", "no class"]),
        ({"X": np.where(np.arange(64) == 5, np.nan, X)}, ["X[5]", "NaN", "finite"]),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(options, words):
    with pytest.raises(ValueError, match=r".") as caught:
        pf.mark_clusters(**{"X": X, "y": Y, **options})
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("missing", [None, "unknown"])
def test_classes_without_a_common_order_are_refused(missing):
    mixed = Y.astype(object)
    mixed[7] = missing
    with pytest.raises(
        TypeError, match=r"y holds classes that cannot be sorted .* give all of them one kind"
    ):
        pf.mark_clusters(X, mixed)
