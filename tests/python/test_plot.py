"""Figures show what the report holds, and leave matplotlib's global state alone."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from puma_fast import Puma
from puma_fast.plot import as_svg, plot_removal


@pytest.fixture(scope="module")
def puma():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(90, 4, generator=generator, dtype=torch.float64)
    y = (X[:, 0] > 0).long()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Linear(4, 2, dtype=torch.float64)
    return Puma(model, (X[:60], y[:60]), holdout=(X[60:], y[60:]), weight_decay=0.1)


@pytest.fixture(scope="module")
def report(puma):
    return puma.remove([1, 2, 3, 4], l1=0.0).report


def line(axes, label):
    (found,) = [each for each in axes.get_lines() if each.get_label().startswith(label)]
    return found.get_data()


def test_the_curves_are_the_reports(report):
    figure = plot_removal(report)
    assert isinstance(figure, Figure)
    sureness, attack, cost, make_up = figure.axes
    for label, there in (("before", report.before), ("removed", report.after), ("without", report.plain)):
        x, y = line(sureness, f"marked, {label}")
        assert np.array_equal(x, np.sort(there.marked.confidence))
        assert y[-1] == 1.0
        assert np.trapezoid(line(attack, label)[1], line(attack, label)[0]) == pytest.approx(there.attack.auc)
    widths = [bar.get_width() for bar in cost.patches]
    removal = report.removal
    assert widths == pytest.approx(
        [
            removal.eta * removal.direction.slope.by_patch,
            report.after.criterion - report.before.criterion,
            removal.eta * removal.plain.slope.by_patch,
            report.plain.criterion - report.before.criterion,
        ]
    )
    sums = make_up.get_lines()[1].get_ydata()
    assert len(sums) == np.count_nonzero(removal.weights) + 1
    assert sums[-1] == pytest.approx(float(removal.weights @ removal.psi_up))


def test_every_panel_says_what_it_shows(report):
    for axes in plot_removal(report).axes:
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()


def test_no_text_leaves_the_figure(report):
    figure = plot_removal(report)
    figure.draw_without_rendering()
    page = figure.bbox
    for axes in figure.axes:
        for text in (*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label):
            box = text.get_window_extent()
            assert page.x0 <= box.x0
            assert box.x1 <= page.x1


def test_plain_removal_shows_no_weights(puma):
    figure = plot_removal(puma.remove([1, 2], up=None).report)
    assert len(figure.axes) == 3
    assert all(
        "removed" not in text.get_text() for axes in figure.axes[:2] for text in axes.get_legend().texts
    )


def test_without_held_out_data_there_is_no_attack():
    X = torch.linspace(-1, 1, 30, dtype=torch.float64)[:, None]
    model = nn.Linear(1, 1, dtype=torch.float64)
    puma = Puma(model, (X, 2 * X), "mse_loss", criterion=lambda model: model.weight.sum())
    titles = [axes.get_title(loc="left") for axes in plot_removal(puma.remove([2, 3]).report).axes]
    assert not any("attacker" in title for title in titles)


def test_settings_and_backend_are_left_alone(report):
    before = dict(mpl.rcParams)
    as_svg(plot_removal(report))
    assert dict(mpl.rcParams) == before


def test_pyplot_is_not_imported():
    code = "import puma_fast.plot, sys; print('matplotlib.pyplot' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_the_svg_is_whole_and_the_same_each_time(report):
    drawn = as_svg(plot_removal(report))
    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert as_svg(plot_removal(report)) == drawn
    assert "How sure the model is of them" in drawn


def test_a_picture_of_900_pixels(report, tmp_path):
    plot_removal(report).savefig(tmp_path / "removal.png")
    width = int.from_bytes((tmp_path / "removal.png").read_bytes()[16:20], "big")
    assert width == 900
