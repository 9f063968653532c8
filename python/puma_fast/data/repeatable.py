"""A look, before any long work, whether a sample reads the same a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from puma_fast.batches import IncomparableError, equal
from puma_fast.progress import bar
from puma_fast.restored import unchanged_randomness

if TYPE_CHECKING:
    from puma_fast.data.reading import Reader

_PROBES = 16
"""Items read twice to find random transforms: a fair coin per item escapes once in 65536 times."""


def require_repeatable(reader: Reader, batch_size: int, progress: bool | None) -> None:
    """Refuse data that reads differently the second time, or that cannot be compared."""
    n, name, is_stream = reader.n, reader.name, reader.source.is_stream
    probes = min(n, _PROBES)
    # A stream is probed at its start, so that the check does not read all of it.
    last = probes - 1 if is_stream else n - 1
    where = np.linspace(0, last, probes).astype(np.int64)
    # Where one sample is a batch, no two need to fit together.
    chunks = [where[first : first + batch_size] for first in range(0, probes, batch_size)]
    look = bar(f"two readings of {name}", unit="reading", total=2, progress=progress)
    with unchanged_randomness(), look as shown:
        try:
            once = list(reader.here(chunks))
            shown.update()
            again = list(reader.here(chunks))
            shown.update()
        except Exception as error:
            error.add_note(
                f"Raised on reading samples of {name} into batches of {min(batch_size, probes)}: those of a "
                "batch must be tensors, arrays or numbers of the same shapes; or pass a DataLoader with a "
                "collate_fn, or batch_size=1"
            )
            raise
        try:
            same = equal(once, again)
        except IncomparableError as error:
            msg = (
                f"{name} gives batches that hold a {error}, so that two readings of them cannot be "
                "compared, and random transforms would go unseen; give tensors, arrays, dataclasses or "
                "objects that can be pickled"
            )
            raise TypeError(msg) from None
    if not same:
        why = ", or an __iter__ that goes on where the last one stopped" if is_stream else ""
        msg = (
            f"{name} reads differently the second time: random transforms or a shuffled order{why}. "
            "Pass the data without augmentation, so that a score belongs to a sample"
        )
        raise ValueError(msg)
