"""Several criteria at once are the single ones side by side, in scores, removal and receipt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import puma_fast as pf
from convex import problem

MARKED = [3, 50, 51, 120, 199]


@pytest.fixture(scope="module")
def convex():
    return problem(n=200)


@pytest.fixture(scope="module")
def small():
    return problem(n=15)


def puma_of(convex, **arguments):
    settings = {"holdout": convex.holdout, "weight_decay": convex.decay, "tol": 1e-12}
    return pf.Puma(convex.model(), convex.data, **(settings | arguments))


def network(*after):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), *after, nn.Linear(5, 3)).double()


class ByHand(nn.Module):
    """A forward that looks at the numbers, which no vectorised pass may do."""

    def forward(self, x):
        return x if float(x.detach().sum()) > -1e30 else -x


@pytest.mark.parametrize("batch_size", [1, 7, 15])
@pytest.mark.parametrize("k", [1, 3, 9])
def test_several_are_the_single_ones_side_by_side(small, k, batch_size):
    criteria = {f"slope {i}": lambda model, i=i: (model(small.X_out)[i] ** 2).sum() for i in range(k)}
    puma = pf.Puma(network(), small.data, holdout=small.holdout, batch_size=batch_size, tol=1e-12)
    psi = puma.influence(criterion=criteria)
    assert psi.shape == (puma.n, k)
    single = pf.Puma(network(), small.data, holdout=small.holdout, tol=1e-12)
    for column, criterion in zip(psi.T, criteria.values(), strict=True):
        expected = single.influence(criterion=criterion)
        np.testing.assert_allclose(column, expected, atol=1e-9 * np.abs(expected).max())


def test_a_model_that_looks_at_its_numbers_is_taken_one_direction_at_a_time(small):
    criteria = [lambda model, i=i: model(small.X_out)[i].sum() for i in range(3)]
    plain, looking = (
        pf.Puma(network(*after), small.data, holdout=small.holdout) for after in ((), (ByHand(),))
    )
    expected = plain.influence(criterion=criteria)
    np.testing.assert_allclose(looking.influence(criterion=criteria), expected, rtol=1e-7, atol=1e-10)


def test_what_is_known_is_kept_in_both_forms(convex):
    puma = puma_of(convex)

    def spread(model):
        return model(convex.X_out).square().mean()

    both = puma.influence(criterion=[spread, convex_loss(convex)])
    np.testing.assert_array_equal(puma.influence(criterion=spread), both[:, 0])


def convex_loss(convex):
    return lambda model: cross_entropy(model(convex.X_out), convex.y_out)


@pytest.mark.parametrize("form", ["tuple", "mapping", "data set", "loader"])
def test_classes_come_in_the_kind_of_the_data(convex, form):
    X, y = convex.holdout
    data = {
        "tuple": (X, y),
        "mapping": {"x": X, "y": y},
        "data set": TensorDataset(X, y),
        "loader": DataLoader(TensorDataset(X, y), batch_size=64),
    }[form]
    options = {"forward": lambda model, batch: model(batch["x"] if isinstance(batch, dict) else batch[0])}
    puma = puma_of(convex, **options)
    psi = puma.influence(criterion=pf.per_class(data))
    for label in range(convex.classes):
        mine = y == label
        np.testing.assert_allclose(psi[:, label], puma.influence(criterion=(X[mine], y[mine])), rtol=1e-8)
    # The whole is the mean of the classes, each by its size.
    sizes = np.bincount(y.numpy()) / len(y)
    np.testing.assert_allclose(psi @ sizes, puma.influence(), rtol=1e-6, atol=1e-9)


def test_groups_are_named_and_checked(convex):
    X, y = convex.holdout
    groups = np.where(X[:, 0].numpy() > 0, "right", "left")
    parts = pf.per_group((X, y), groups)
    assert list(parts) == ["group left", "group right"]
    assert torch.equal(parts["group right"][0], X[X[:, 0] > 0])
    unknown = pf.per_group((X, y), np.where(X[:, 0].numpy() > 0, 1.0, np.nan))
    assert torch.equal(unknown["group nan"][0], X[~(X[:, 0] > 0)])
    with pytest.raises(TypeError, match=r"groups are of types that have no common order, or some are None"):
        pf.per_group((X, y), [None, *groups[1:]])
    with pytest.raises(ValueError, match=r"groups must name the group of each of the 200 samples"):
        pf.per_group((X, y), groups[:-1])
    with pytest.raises(ValueError, match=r"one integer per sample; name the groups: per_group"):
        pf.per_class((X, y.double()))


def test_no_criterion_is_refused(convex):
    for nothing in ([], {}):
        with pytest.raises(ValueError, match="criterion is empty"):
            puma_of(convex).influence(criterion=nothing)


def test_a_list_of_samples_is_still_data(convex):
    rows = list(zip(*convex.holdout, strict=True))
    puma = puma_of(convex)
    assert puma.influence(criterion=rows).shape == (200,)
    np.testing.assert_allclose(puma.influence(criterion=rows), puma.influence(), rtol=1e-7)


# Removal.


@pytest.mark.parametrize("up", ["rest", 9, None])
@pytest.mark.parametrize("batch_size", [7, 15])
def test_the_identity_holds_for_each(small, batch_size, up):
    puma = pf.Puma(network(), small.data, batch_size=batch_size, weight_decay=0.01, tol=1e-12)
    removal = puma.remove([3, 11, 12], criterion=pf.per_class(small.holdout), eta=0.01, up=up)
    assert removal.b.shape == removal.predicted.by_patch.shape == (3,)
    np.testing.assert_allclose(removal.predicted.by_patch, removal.predicted.by_scores, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(removal.plain.slope.by_patch, removal.b, rtol=1e-8)
    np.testing.assert_allclose(
        removal.predicted.by_scores, 0.01 * (removal.b - removal.weights @ removal.psi_up), atol=1e-15
    )


def test_one_of_a_list_is_the_single_one(convex):
    puma = puma_of(convex)
    single = puma.remove(MARKED)
    listed = puma.remove(MARKED, criterion=[convex_loss(convex)])
    np.testing.assert_allclose(listed.b, [single.b], rtol=1e-9)
    np.testing.assert_allclose(listed.weights, single.weights, atol=1e-8 * np.abs(single.weights).max())


def test_weights_make_up_for_all_of_them_at_once(convex):
    """With several, every class's loss is kept; with their mean alone, the mean is and they are not."""
    classes = pf.per_class(convex.holdout)
    puma = puma_of(convex)
    marked = np.flatnonzero(convex.y.numpy() == 0)[:15]
    several = puma.remove(marked, criterion=classes, l2=1e-6)
    assert several.reweighting.residual.shape == (3,)
    assert (np.abs(several.predicted.by_scores) < 0.01 * np.abs(several.eta * several.b)).all()
    # A minimum of Eq. 10: its gradient is nought.
    slope = 2 * several.psi_up @ (several.weights @ several.psi_up - several.b) + 2e-6 * several.weights
    assert np.abs(slope).max() < 1e-6 * np.abs(2 * several.psi_up @ several.b).max()


def test_the_receipt_shows_each(convex, tmp_path):
    removal = puma_of(convex).remove(MARKED, criterion=pf.per_class(convex.holdout), lower=-1, upper=1)
    report = removal.report
    numbers = report.numbers()
    assert numbers["criterion"] == [f"mean loss on class {label}" for label in range(3)]
    for label, (X, y) in enumerate(pf.per_class(convex.holdout).values()):
        with torch.no_grad():
            moved = float(cross_entropy(removal.model(X), y) - cross_entropy(convex.model()(X), y))
        assert numbers["criterion_change"]["after"]["measured"][label] == pytest.approx(moved)
    _, page = report.save(tmp_path)
    for text in (str(report), page.read_text()):
        assert text.count("mean loss on class 2") >= 3
    assert "lower = -1, upper = 1" in str(report)


def test_a_bound_holds_for_each(convex):
    classes = pf.per_class(convex.holdout)
    removal = puma_of(convex).remove(MARKED, criterion=classes, eta="auto", max_change=0.01, up=None)
    moved = np.abs(removal.report.after.criterion - removal.report.before.criterion)
    assert moved.max() <= 0.01
    beyond = removal.at(1.06 * removal.eta).report
    assert np.abs(beyond.after.criterion - beyond.before.criterion).max() > 0.01


# Bounds.


def test_bounds_hold_and_spare_the_dear_ones(convex):
    puma = puma_of(convex)
    free = puma.remove(MARKED, l1=1e-2)
    assert np.abs(free.weights).max() > 0.5
    boxed = puma.remove(MARKED, l1=1e-2, lower=-0.5, upper=0.5)
    assert np.abs(boxed.weights).max() <= 0.5
    assert boxed.predicted.by_patch == pytest.approx(boxed.predicted.by_scores, rel=1e-7)
    assert np.count_nonzero(boxed.weights) > np.count_nonzero(free.weights)
