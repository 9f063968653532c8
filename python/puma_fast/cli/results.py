"""The report in its files, for every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from puma_fast.atomic import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from puma_fast.audit.report import RemovalReport


def save_report(report: RemovalReport, out: Path, figure: Path | None) -> str:
    """Save a report, and its figure where it is asked for; say what was written, one file a line."""
    written = report.save(out)
    if figure is not None:
        from puma_fast.plot import plot_removal

        with replacing(figure) as there:
            plot_removal(report).savefig(there)
        written.append(figure)
    return "\n".join(f"written {path}" for path in written)
