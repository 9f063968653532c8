"""A removal does what it says: the identity, the refit, the settings."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import puma_fast as pf
from convex import problem
from puma_fast.edit import weighing

MARKED = [3, 50, 51, 120, 199]


@pytest.fixture(scope="module")
def convex():
    return problem(n=200)


def puma_of(convex, **arguments):
    settings = {"holdout": convex.holdout, "weight_decay": convex.decay, "tol": 1e-12}
    return pf.Puma(convex.model(), convex.data, **(settings | arguments))


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 3)).double()


@pytest.mark.parametrize("up", ["rest", 8, [0, 1, 2, 9, 14], None])
@pytest.mark.parametrize("decay", [0.0, 0.02])
@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_the_identity_holds(batch_size, decay, up):
    """η∇Cᵀd = η(b − Ψᵀλ), by two roads, on a model that is neither convex nor converged."""
    convex = problem(n=16)
    puma = pf.Puma(
        network(),
        convex.data,
        holdout=convex.holdout,
        weight_decay=decay,
        batch_size=batch_size,
        tol=1e-12,
    )
    removal = puma.remove([3, 11, 12], eta=0.01, up=up)
    predicted = removal.predicted
    assert predicted.by_patch == pytest.approx(predicted.by_scores, rel=1e-8)
    assert removal.b != 0
    assert (removal.weights != 0).any() == (up is not None)
    plain = removal.plain.slope
    assert plain.by_patch == pytest.approx(plain.by_scores, rel=1e-8)
    assert plain.by_scores == removal.b
    # The one side again, from the parameters really patched.
    moved = sum(
        float((delta * gradient).sum())
        for delta, gradient in zip(removal.delta.values(), gradients(network(), convex), strict=True)
    )
    assert moved == pytest.approx(predicted.by_scores, rel=1e-7)


def gradients(model, convex):
    loss = nn.functional.cross_entropy(model(convex.X_out), convex.y_out)
    return torch.autograd.grad(loss, list(model.parameters()))


def test_without_reweighting_it_approaches_the_refit(convex):
    """At η = 1/n the patch is nearer to the refit without the samples than the original, by far."""
    puma = puma_of(convex, damping=0.0)
    removal = puma.remove(MARKED, up=None)
    assert removal.eta == 1 / 200
    keep = torch.ones(200, dtype=torch.float64)
    keep[MARKED] = 0
    refit = convex.fit(keep)
    there = nn.utils.parameters_to_vector(removal.model.parameters()).detach()
    assert (there - refit).norm() < 0.1 * (convex.fit() - refit).norm()


def test_reweighting_keeps_the_criterion(convex):
    removal = puma_of(convex).remove(MARKED)
    report = removal.report
    without = abs(report.plain.criterion - report.before.criterion)
    assert abs(report.after.criterion - report.before.criterion) < 0.3 * without
    assert abs(removal.predicted.by_scores) < 0.2 * abs(removal.eta * removal.b)


def test_weights_solve_the_reweighting_problem(convex):
    """λ is a minimum of Eq. 10: no single weight can be moved for the better."""
    removal = puma_of(convex).remove(MARKED, l1=1e-3, l2=1e-2)
    assert (removal.reweighting.l1, removal.reweighting.l2) == (1e-3, 1e-2)
    psi, weights = removal.psi_up, removal.weights
    slope = 2 * psi * (psi @ weights - removal.b) + 2 * 1e-2 * weights
    active = weights != 0
    np.testing.assert_allclose(slope[active], -1e-3 * np.sign(weights[active]), atol=1e-12)
    assert (np.abs(slope[~active]) <= 1e-3 + 1e-12).all()
    assert set(removal.up) == set(range(200)) - set(MARKED)


def test_at_is_the_same_direction(convex):
    removal = puma_of(convex).remove(MARKED, eta=0.001)
    far = removal.at(0.004)
    for name, value in removal.delta.items():
        torch.testing.assert_close(far.delta[name], 4 * value)
    original = dict(convex.model().named_parameters())
    for name, value in far.model.named_parameters():
        torch.testing.assert_close(value.detach(), original[name].detach() + far.delta[name])
    assert far.predicted.by_patch == pytest.approx(4 * removal.predicted.by_patch)
    assert removal.at(0.0).report.after.criterion == removal.report.before.criterion


def test_only_chosen_parameters_move(convex):
    model = network()
    removal = pf.Puma(model, convex.data, holdout=convex.holdout, params="2.*").remove(MARKED)
    assert set(removal.delta) == {"2.weight", "2.bias"}
    for (name, old), new in zip(model.named_parameters(), removal.model.parameters(), strict=True):
        assert torch.equal(old, new) == name.startswith("0.")


def test_eta_is_chosen_by_measuring(convex):
    puma = puma_of(convex)
    start = puma.remove(MARKED, eta=0.0).report.before.criterion
    removal = puma.remove(MARKED, eta="auto", max_change=0.01)
    assert abs(removal.report.after.criterion - start) <= 0.01
    beyond = removal.at(1.06 * removal.eta)
    assert abs(beyond.report.after.criterion - start) > 0.01
    tight = puma.remove(MARKED, eta="auto", max_change=1e-9, up=None)
    assert 0 < tight.eta < 1 / 200
    assert puma.remove(MARKED, eta="auto", max_change=1e9).eta == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eta": -1.0}, "eta must be a finite number"),
        ({"eta": float("nan")}, "eta must be a finite number"),
        ({"eta": "auto"}, "eta='auto' and max_change go together"),
        ({"max_change": 0.1}, "eta='auto' and max_change go together"),
        ({"eta": "auto", "max_change": 0.0}, "max_change must be a finite number above 0"),
        ({"eta": "auto", "max_change": "a"}, "max_change must be a finite number above 0.*got 'a'"),
        ({"eta": "a"}, "eta must be a finite number.*got 'a'"),
        ({"l1": 0.1, "up": None}, "l1=0.1: with up=None nothing is weighed"),
        ({"l2": 0.1, "upper": 1, "up": None}, "l2=0.1 and upper=1: with up=None nothing is weighed"),
        ({"lower": [0.0, 1.0]}, "lower must be a number or have one value for each of the 195 rows"),
        ({"lower": 1.0, "upper": 0.5}, "lower"),
        ({"l1": -1.0}, "l1"),
        ({"l2": float("nan")}, "l2"),
    ],
)
def test_bad_settings_are_refused(convex, arguments, message):
    with pytest.raises(TypeError if "got 'a'" in message else ValueError, match=message):
        puma_of(convex).remove(MARKED, **arguments)


def test_the_report_tells_what_was_done(convex):
    removal = puma_of(convex, batch_size=50).remove(MARKED, eta=0.002)
    report = removal.report
    numbers = report.numbers()
    assert numbers["eta_n"] == pytest.approx(0.4)
    assert numbers["marked"] == 5
    there = nn.utils.parameters_to_vector(removal.model.parameters()).detach()
    assert numbers["criterion_change"]["after"]["measured"] == pytest.approx(
        float(convex.criterion(there)) - report.before.criterion
    )
    with torch.no_grad():
        logits = removal.model(convex.X[MARKED])
    confidence = logits.softmax(1).gather(1, convex.y[MARKED, None]).mean()
    assert report.after.marked_confidence == pytest.approx(float(confidence))
    accuracy = (removal.model(convex.X_out).argmax(1) == convex.y_out).double().mean()
    assert report.after.accuracy == pytest.approx(float(accuracy))
    assert {"criterion solve", "scores", "reweighting", "marked solve", "measurement"} <= set(
        numbers["seconds"]
    )
    text = str(report)
    for word in ("criterion", "accuracy", "membership", "damping", "predicted by the patch"):
        assert word in text


def test_times_are_those_of_the_call(convex):
    """What an earlier call had solved is named as kept and takes none of this one's time."""
    puma = puma_of(convex)
    first = puma.remove(MARKED).seconds
    assert {"damping", "criterion gradient", "criterion solve", "scores", "marked solve"} <= set(first)
    assert not any(name.endswith("(kept)") for name in first)
    again = puma.remove([7]).seconds
    assert {"damping (kept)", "criterion gradient (kept)", "criterion solve (kept)", "scores (kept)"} <= set(
        again
    )
    assert not {"damping", "criterion solve", "scores"} & set(again)
    assert {"marked solve", "reweighting"} <= set(again)
    assert "criterion solve (kept)," in str(puma.remove([8]).report)
    # A removal's own times do not grow with what is asked later.
    assert "measurement" not in first


def test_what_was_asked_for_stays_in_the_settings(convex):
    removal = puma_of(convex).remove(MARKED, eta="auto", max_change=0.01, lower=-1, upper=[0.5] * 195)
    assert removal.settings["max_change"] == 0.01
    assert (removal.settings["lower"], removal.settings["upper"]) == (-1.0, "0.5 to 0.5, one for each sample")
    assert removal.at(0.1).settings["max_change"] is None


def test_a_patch_beyond_the_numbers_range_is_told(convex):
    puma = pf.Puma(
        convex.model().float(), (convex.X.float(), convex.y), holdout=(convex.X_out.float(), convex.y_out)
    )
    far = puma.remove(MARKED).at(1e40)
    with pytest.raises(
        ValueError, match=r"eta=1e\+40 .* takes the parameters out of the range of their type"
    ):
        _ = far.model
    with pytest.raises(ValueError, match="losses of the patched model are not finite: the patch is too long"):
        _ = far.report


def test_the_model_is_made_on_first_use_from_the_model_as_it_is(convex):
    model = convex.model()
    early, late = (pf.Puma(model, convex.data, holdout=convex.holdout).remove([each]) for each in (3, 4))
    made = early.model
    with torch.no_grad():
        model.bias += 1
    assert early.model is made
    with pytest.raises(RuntimeError, match="changed since this removal"):
        _ = late.model


def test_a_copy_is_of_the_same_model_and_a_pickle_is_refused(convex):
    removal = puma_of(convex).remove(MARKED, eta=0.01)
    assert copy.deepcopy(removal).report is removal.report
    for whole in (removal, removal.report):
        with pytest.raises(TypeError, match=r"cannot be pickled; keep removal.model, removal.delta"):
            pickle.dumps(whole)


@pytest.mark.parametrize("progress", [None, True, False])
def test_the_weights_are_solved_for_under_the_same_bars(convex, monkeypatch, progress):
    given = []

    def spy(*arguments, **options):
        given.append(options["progress"])
        return pf.solve_weights(*arguments, **options)

    monkeypatch.setattr(weighing, "solve_weights", spy)
    puma_of(convex, progress=progress).remove(MARKED, eta=0.01)
    # Once on nothing, before the long work.
    assert given == [False, progress]
