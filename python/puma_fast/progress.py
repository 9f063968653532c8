"""Progress bars: seen once work takes over two seconds, and then only where somebody looks."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class _Silent:
    """Stands where there is no tqdm, which only the extra `torch` brings."""

    def update(self, count: int = 1) -> None:
        """Show nothing."""


def bar(
    description: str, *, unit: str, total: int | None = None, progress: bool | None = None
) -> AbstractContextManager[Any]:
    """Make a bar to enter, with `update(count)`.

    Parameters
    ----------
    description, unit : str
        What it says and what it counts.
    total : int, optional
        How many there will be, where that is known.
    progress : bool, optional
        Whether to show it at all; by default on a terminal.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return nullcontext(_Silent())
    disable = None if progress is None else not progress
    return tqdm(desc=description, total=total, unit=unit, disable=disable, delay=2, leave=False)
