"""Files: named by a path, and there whole or not at all, so that a kill leaves no half result."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def as_path(name: str, value: Any) -> Path:
    """Give `value`, the argument `name`, as a path; what names no file is refused."""
    if not isinstance(value, (str, os.PathLike)):
        msg = f"{name} must be a path, a str or a pathlib.Path, got {type(value).__name__}"
        raise TypeError(msg)
    return Path(value)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a name beside `path` to write to; it takes the place of `path` once the block has ended well.

    Parameters
    ----------
    path : path-like
        The file to make or replace; its folder exists.

    Yields
    ------
    Path
        In the same folder, so that the renaming is one step of the file system, and with the same ending.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "numbers.txt")) as there:
    ...         _ = there.write_text("1 2 3")
    ...     print(*(each.name for each in Path(folder).iterdir()))
    numbers.txt
    """
    final = Path(path)
    there = final.with_name(f".{os.getpid()}.{final.name}")
    try:
        yield there
        there.replace(final)
    finally:
        there.unlink(missing_ok=True)
