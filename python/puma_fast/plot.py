"""Figures drawn from results; matplotlib is imported with this module, so import it on use.

No figure touches pyplot, the backend or the user's settings: each is a `matplotlib.figure.Figure`,
which any backend saves and a notebook shows.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from puma_fast.audit.measurement import Measurement
    from puma_fast.audit.report import RemovalReport

INK, FAINT = "#1f2429", "#80868c"
"""Text and lines; frames. A page replaces INK by its own colour of text, for dark backgrounds."""

# Of the palette of Okabe and Ito, told apart by every kind of colour vision and on white and black;
# each also has a dash of its own.
BEFORE, AFTER, PLAIN = "#8c8c8c", "#2a7fb8", "#d5650b"

_MOST_CRITERIA = 12
"""Criteria that a panel has room for; the receipt's table holds them all."""

_NAME_WIDTH = 18
"""Letters on a line of a criterion's name."""

_DOTS: Any = (0, (1, 1.5))

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "legend.handlelength": 2.2,
    "lines.linewidth": 2.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "puma-fast",
}


def plot_removal(report: RemovalReport) -> Figure:
    """Draw the evidence for a removal: what the marked samples give away, and what it cost.

    Parameters
    ----------
    report : RemovalReport
        Of a removal, `removal.report`.

    Returns
    -------
    Figure
        Of 9 inches width, on white: the marked samples' confidence (or loss) and the membership attack,
        each on the original model, the patched one and one patched without reweighting; the change of
        the criterion, predicted and measured; and how the reweighted samples add up to what the marked
        ones did. Panels that the removal has no data for are left out.

    Examples
    --------
    >>> import torch, puma_fast as pf
    >>> _ = torch.manual_seed(0)
    >>> X = torch.randn(60, 3, dtype=torch.float64)
    >>> y = (X[:, 0] > 0).long()
    >>> model = torch.nn.Linear(3, 2, dtype=torch.float64)
    >>> puma = pf.Puma(model, (X[:40], y[:40]), holdout=(X[40:], y[40:]), weight_decay=0.1)
    >>> figure = plot_removal(puma.remove([0, 1, 2]).report)
    >>> len(figure.axes)
    4
    """
    panels: list[Callable[[Axes, RemovalReport], None]] = [_answers]
    if report.before.attack is not None:
        panels.append(_attack)
    panels.append(_change)
    if report.removal.weights.any():
        panels.append(_make_up)
    with mpl.rc_context(_STYLE):
        rows = -(-len(panels) // 2)
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.04, hspace=0.06)
        figure = Figure(figsize=(9.0, 3.5 * rows), dpi=100, layout=layout, facecolor="white")
        grid = figure.add_gridspec(rows, 2)
        for place, panel in enumerate(panels):
            alone = place == len(panels) - 1 and len(panels) % 2 == 1
            panel(figure.add_subplot(grid[place // 2, :] if alone else grid[place // 2, place % 2]), report)
    return figure


def as_svg(figure: Figure) -> str:
    """Give a figure as an SVG element without a background, to stand within an HTML page.

    Text stays text, and is drawn in the fonts of the page.
    """
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawn = buffer.getvalue()
    return drawn[drawn.index("<svg") :]


def _models(report: RemovalReport) -> list[tuple[str, Measurement, str, Any]]:
    """Name the models that were measured, each with its colour and dash; one without weights is plain."""
    models: list[tuple[str, Measurement, str, Any]] = [("before", report.before, BEFORE, "-")]
    if report.removal.weights.any():
        models.append(("removed", report.after, AFTER, "-"))
    return [*models, ("without reweighting", report.plain, PLAIN, (0, (4, 2)))]


def _answers(axes: Axes, report: RemovalReport) -> None:
    """Show the marked samples' confidence in the true label, or their loss where there is no such thing."""
    confidence = report.before.marked.confidence is not None
    lines = [(f"marked, {label}", there.marked, *look) for label, there, *look in _models(report)]
    if report.before.others is not None:
        lines.append(("held out, before", report.before.others, INK, _DOTS))
    for label, there, colour, dash in lines:
        values = np.sort(there.loss if there.confidence is None else there.confidence)
        share = np.arange(1, len(values) + 1) / len(values)
        axes.step(values, share, where="post", label=label, color=colour, linestyle=dash)
    axes.set(
        title="How sure the model is of them",
        xlabel="confidence in the true label" if confidence else "loss",
        ylabel="share of samples up to here",
        ylim=(0, 1.02),
    )
    if confidence:
        axes.set_xlim(0, 1)
    axes.legend(loc="upper left" if confidence else "lower right")


def _attack(axes: Axes, report: RemovalReport) -> None:
    """Show the ROC curves of the membership attack."""
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
    for label, there, colour, dash in _models(report):
        if there.attack is not None:
            rates = there.attack.false_positive_rate, there.attack.true_positive_rate
            axes.plot(*rates, label=f"{label}, area {there.attack.auc:.3f}", color=colour, linestyle=dash)
    axes.set(
        title="Can an attacker tell they were trained on?",
        xlabel="held-out samples called members",
        ylabel="marked samples called members",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    axes.legend(loc="lower right")


def _change(axes: Axes, report: RemovalReport) -> None:
    """Show the change of the criterion, or of each of several, predicted beside measured."""
    removal, names = report.removal, report.criterion_name
    bars: list[tuple[str, float, float, str]] = []
    several = not isinstance(names, str)
    shown = range(len(names))[:_MOST_CRITERIA] if several else range(1)
    for place in shown:
        for label, there, colour, _ in _models(report)[1:]:
            direction = removal.plain if there is report.plain else removal.direction
            predicted = removal.eta * np.atleast_1d(direction.slope.by_patch)[place]
            measured = np.atleast_1d(there.criterion - report.before.criterion)[place]
            name = _wrapped(f"{names[place]}, {label}") if several else label.replace(" ", "\n")
            bars.append((name, float(predicted), float(measured), colour))
    for place, (_, predicted, measured, colour) in enumerate(bars):
        axes.barh(place - 0.19, predicted, 0.32, facecolor="none", edgecolor=colour, linewidth=1.5)
        axes.barh(place + 0.19, measured, 0.32, color=colour, edgecolor=colour, linewidth=1.5)
        for offset, name, value in ((-0.19, "predicted", predicted), (0.19, "measured", measured)):
            axes.annotate(
                f"{value:+#.2g} {name}",
                (value, place + offset),
                xytext=(5 if value >= 0 else -5, 0),
                textcoords="offset points",
                ha="left" if value >= 0 else "right",
                va="center",
                fontsize=6.0 if several else 9.0,
            )
    axes.axvline(0.0, color=FAINT, linewidth=0.8)
    values = [0.0, *(value for _, *pair, _ in bars for value in pair)]
    low, high = min(values), max(values)
    # Room for the words beside the longest bars.
    room = 0.55 * ((high - low) or 1.0)
    axes.set(
        title="What it costs",
        xlabel="change of each criterion" if several else f"change of the {names}",
        xlim=(low - room * (low < 0), high + room * (high > 0 or low == 0)),
        yticks=range(len(bars)),
        yticklabels=[name for name, *_ in bars],
    )
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(axis="y", length=0, labelsize=7.0 if several else 10.0)


def _make_up(axes: Axes, report: RemovalReport) -> None:
    """Show how the weighted influences of the others add up to what the marked samples did."""
    if np.ndim(report.removal.b):
        _make_up_each(axes, report)
    else:
        _make_up_one(axes, report)


def _make_up_each(axes: Axes, report: RemovalReport) -> None:
    """Show b of every criterion beside the sum of the others' weighted influences on it."""
    removal, names = report.removal, report.criterion_name
    marked, others = np.atleast_1d(removal.b), removal.weights @ removal.psi_up
    places = np.arange(len(marked))[:_MOST_CRITERIA]
    axes.barh(places - 0.19, marked[places], 0.32, color=INK, label="b, what the marked ones did")
    axes.barh(places + 0.19, others[places], 0.32, color=AFTER, label="sum of λψ over the others")
    axes.axvline(0.0, color=FAINT, linewidth=0.8)
    axes.set(
        title="How the others make up for them",
        xlabel="per unit of η",
        yticks=places,
        yticklabels=[_wrapped(names[place]) for place in places],
    )
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelsize=7.0)
    axes.legend(loc="lower right", fontsize=7.0)


def _wrapped(name: str) -> str:
    """Break a name into lines that leave the panel its room."""
    return textwrap.fill(name, _NAME_WIDTH)


def _make_up_one(axes: Axes, report: RemovalReport) -> None:
    """Show the running sum of the weighted influences, largest share first."""
    removal, b = report.removal, float(report.removal.b)
    parts: NDArray[np.float64] = removal.weights * removal.psi_up
    parts = parts[np.argsort(-np.abs(parts), kind="stable")][: np.count_nonzero(removal.weights)]
    sums = np.concatenate([[0.0], np.cumsum(parts)])
    axes.axhline(b, color=INK, linewidth=1.5, linestyle=_DOTS)
    axes.fill_between(np.arange(len(sums)), sums, color=AFTER, alpha=0.15, linewidth=0)
    axes.plot(np.arange(len(sums)), sums, color=AFTER)
    axes.annotate(
        f"b = {b:.3g}, what the marked ones did",
        (0.985, b),
        xycoords=("axes fraction", "data"),
        xytext=(0, 5 if b > 0 else -5),
        textcoords="offset points",
        ha="right",
        va="bottom" if b > 0 else "top",
        fontsize=9.0,
    )
    axes.annotate(
        f"{len(parts)} of {len(removal.weights)} samples reweighted,\n"
        f"largest |λ| = {np.abs(removal.weights).max():.2g}",
        (0.985, 0.5),
        xycoords="axes fraction",
        ha="right",
        va="center",
        fontsize=9.0,
    )
    axes.set(
        title="How the others make up for them",
        xlabel="reweighted samples, largest share first",
        ylabel="sum of λψ",
        xlim=(0, len(parts)),
    )
    axes.margins(y=0.0)
    low, high = min(0.0, sums.min(), b), max(0.0, sums.max(), b)
    axes.set_ylim(low * 1.15, high * 1.15)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
