"""Progress bars: seen once work takes over two seconds, and then only where somebody looks.

Two kinds of work count differently. A loop in Python enters a :func:`bar` and updates it. The core counts by
itself and calls a function now and then: :func:`reporting` makes that function for the ``progress=`` of the
numeric functions, which so need no tqdm, and :func:`each` one for every turn of a loop around them.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from puma_fast.numeric.shard import Shard

    Report = Callable[[int, int | None, str], object]
    """Takes what is done, how much there is (None where that is not known) and what is counted."""

    Progress = bool | Report | None
    """Whether to show a bar (None: on a terminal), or what to call in its place."""

DELAY = 2.0
"""Seconds of work before a bar is seen."""

Item = TypeVar("Item")


class _Silent:
    """Stands where there is no tqdm, which only the extra `torch` brings."""

    total: int | None = None

    def update(self, count: int = 1) -> None:
        """Show nothing."""


def bar(
    description: str,
    *,
    unit: str,
    total: int | None = None,
    progress: bool | None = None,
    delay: float | None = None,
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
    delay : float, optional
        Seconds until it is seen; by default `DELAY`.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return nullcontext(_Silent())
    disable = None if progress is None else not progress
    delay = DELAY if delay is None else delay
    return tqdm(desc=description, total=total, unit=unit, disable=disable, delay=delay, leave=False)


class _Bars:
    """One bar after another, as what is counted changes; together they are seen after `DELAY` seconds."""

    def __init__(self, description: str, progress: bool | None, kept: ExitStack) -> None:
        self._description, self._progress, self._kept = description, progress, kept
        self._due = time.monotonic() + DELAY
        self._shown: Any = None
        self._unit, self._done = "", 0

    def __call__(self, done: int, total: int | None, unit: str) -> None:
        if self._shown is None or unit != self._unit or done < self._done:
            self._kept.close()
            delay = max(0.0, self._due - time.monotonic())
            shown = bar(self._description, unit=unit, total=total, progress=self._progress, delay=delay)
            self._shown = self._kept.enter_context(shown)
            self._unit, self._done = unit, 0
        # What is found to remain only on the way makes the total grow.
        self._shown.total = total
        self._shown.update(done - self._done)
        self._done = done


@contextmanager
def reporting(description: str, progress: Progress, shard: Shard | None = None) -> Iterator[Report | None]:
    """Give what the core, or a loop around it, calls as it comes along; None where nobody wants to know.

    Parameters
    ----------
    description : str
        What the bar says.
    progress : bool or callable, optional
        Whether to show a bar; by default on a terminal. A callable is given back as it is.
    shard : Shard, optional
        Who calls. Of several, which wait for each other anyhow, the first alone shows a bar that was not
        asked for.

    Raises
    ------
    TypeError
        `progress` is neither.
    """
    if not (progress is None or isinstance(progress, bool)):
        if not callable(progress):
            msg = f"progress must be True, False, None or a callable, got {progress!r}"
            raise TypeError(msg)
        yield progress
    elif progress is False or (progress is None and shard is not None and shard.index > 0):
        yield None
    else:
        with ExitStack() as kept:
            yield _Bars(description, progress, kept)


def each(items: Sequence[Item], unit: str, report: Report | None) -> Iterator[tuple[Item, Progress]]:
    """Go through `items`, each one a `unit`, and tell `report` how many are done.

    With each comes the ``progress=`` of the work on it: told of the parts of that, `report` hears again of
    the whole, so that a bar moves on from the first item as well.
    """
    for done, item in enumerate(items):
        if report is None:
            yield item, False
            continue

        def again(*_: object, done: int = done, report: Report = report) -> None:
            report(done, len(items), unit)

        again()
        yield item, again
