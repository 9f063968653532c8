"""Scores computed elsewhere take the place of ψ; what can be told of their shape, sign and scale is."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import puma_fast as pf
from convex import problem

MARKED = [3, 50, 51, 120, 199]


@pytest.fixture(scope="module")
def convex():
    return problem(n=200)


@pytest.fixture(scope="module")
def puma(convex):
    return pf.Puma(
        convex.model(),
        convex.data,
        holdout=convex.holdout,
        weight_decay=convex.decay,
        damping=0.01,
        tol=1e-12,
    )


@pytest.mark.parametrize("form", [np.asarray, np.float32, list, torch.as_tensor])
def test_our_own_scores_handed_in_change_nothing(puma, form):
    ours = puma.remove(MARKED)
    theirs = puma.remove(MARKED, scores=form(puma.influence()))
    np.testing.assert_allclose(theirs.weights, ours.weights, rtol=1e-4)
    assert theirs.predicted.by_patch == pytest.approx(ours.predicted.by_patch, rel=1e-3)
    assert set(ours.solves) - set(theirs.solves) == {"criterion"}


def test_several_columns_go_with_several_criteria(puma, convex):
    classes = pf.per_class(convex.holdout)
    psi = puma.influence(criterion=classes)
    ours = puma.remove(MARKED, criterion=classes)
    theirs = puma.remove(MARKED, criterion=classes, scores=psi)
    np.testing.assert_allclose(theirs.weights, ours.weights, rtol=1e-9)


def test_the_two_roads_differ_by_the_scores_error(puma, tmp_path):
    """The patch's road is the truth to solver tolerance, whatever the scores: it says what they miss."""
    psi = puma.influence()
    error = 0.2 * np.abs(psi).mean() * np.random.default_rng(0).standard_normal(200)
    removal = puma.remove(MARKED, scores=psi + error)
    weights = removal.weights
    true = removal.eta * (psi[MARKED].sum() - weights @ psi[removal.up])
    assert removal.predicted.by_patch == pytest.approx(true, rel=1e-6, abs=1e-9)
    missed = removal.eta * (error[MARKED].sum() - weights @ error[removal.up])
    predicted = removal.predicted
    assert predicted.by_scores - predicted.by_patch == pytest.approx(missed, rel=1e-6, abs=1e-9)
    report = removal.report
    assert "scores     handed in" in str(report)
    assert report.numbers()["settings"]["scores"] == "handed in"
    assert "which were handed in" in report.save(tmp_path)[1].read_text()
    assert "handed in" not in str(puma.remove(MARKED).report)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda psi: -psi, "pass -scores"),
        (lambda psi: psi / 200, r"pass scores \* n"),
        (lambda psi: 200 * psi, "pass scores / n"),
        (lambda psi: -psi / 200, r"pass -scores, and off by the factor n: pass scores \* n"),
    ],
)
def test_another_sign_or_scale_is_told(puma, change, says):
    with pytest.warns(UserWarning, match=f"the patch says .*{says}"):
        puma.remove(MARKED, scores=change(puma.influence()))


def test_another_approximation_is_not(puma):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        puma.remove(MARKED, scores=0.4 * puma.influence())


def with_nan(psi):
    psi = psi.copy()
    psi[7] = np.nan
    return psi


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda psi: psi[:-1], ValueError, r"shape \(200,\), one row for each training sample, got \(199,\)"),
        (lambda psi: psi[:, None], ValueError, r"pass scores\.mean\(1\).*pass criterion=\[…\]"),
        (lambda psi: np.stack([psi] * 3), ValueError, r"test samples, pass scores\.mean\(0\)"),
        (with_nan, ValueError, r"scores\[7\] is nan; every score must be finite"),
        (lambda psi: psi.astype(str), TypeError, "scores must hold real numbers"),
        (lambda psi: psi + 1j, TypeError, "scores must hold real numbers"),
        (lambda psi: torch.tensor(psi, requires_grad=True), TypeError, r"pass scores\.detach\(\)"),
    ],
)
def test_what_does_not_fit_is_refused(puma, change, error, says):
    with pytest.raises(error, match=says):
        puma.remove(MARKED, scores=change(puma.influence()))
