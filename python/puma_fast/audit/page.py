"""A removal's receipt as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from puma_fast.extras import missing
from puma_fast.warning import warn

if TYPE_CHECKING:
    from puma_fast.audit.report import RemovalReport


def possible() -> bool:
    """Tell whether the page can be made; warn with what to install where it cannot."""
    absent = missing("report")
    if absent is not None:
        warn(f"no HTML page is written, only report.json: {absent}")
    return absent is None


def render(report: RemovalReport) -> str:
    """Give the whole page; every text from outside is escaped.

    Parameters
    ----------
    report : RemovalReport
        Of a removal, `removal.report`.

    Returns
    -------
    str
        An HTML document.
    """
    # On use, so that a receipt in JSON needs neither.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    from puma_fast.plot import INK, as_svg, plot_removal

    drawn = as_svg(plot_removal(report)).replace(INK, "var(--ink)")
    environment = Environment(
        loader=PackageLoader("puma_fast.audit", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "signed": lambda value: f"{value:+.3g}",
        "short": _short,
        # What belongs to the criterion is a list where there are several.
        "each": lambda value: value if isinstance(value, list) else [value],
    }
    template = environment.get_template("report.html")
    # The figure's own texts were escaped where it was drawn.
    return template.render(numbers=report.numbers(), table=str(report), figure=Markup(drawn))


def _short(value: object) -> str:
    """Give a number in four digits, a missing one in words, words as they are."""
    if value is None:
        return "not known"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
