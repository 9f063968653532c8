"""Scores in a file that a killed computation takes up where it stood.

Beside ``scores.npy`` lie ``scores.done.npy``, which samples are done; ``scores.json``, of what the scores
were made; and, until all are done, ``scores.directions.npy``, the solutions v = H⁻¹∇C, so that what is
added later is added to the very same. A sample is marked as done only after its score has been written.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from puma_fast.atomic import as_path, replacing
from puma_fast.score.fingerprint import difference, fingerprint

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from puma_fast.score.criteria import Criteria
    from puma_fast.score.influence import Influence

_SECONDS_BETWEEN_MARKS = 1.0
"""How much work a kill may cost. Marking waits for the disk."""

_ROWS_AT_ONCE = 2**16
"""Rows that are written together."""


class ScoreStore:
    """The file of scores, one row for each sample in the order of the data, and what lies beside it.

    Parameters
    ----------
    path : path-like
        ``….npy``; its folder exists.
    name : str, default "out"
        The argument's name, for messages.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str = "out") -> None:
        self.path = as_path(name, path)
        if self.path.suffix != ".npy" or not self.path.parent.is_dir():
            msg = f"{name}={str(path)!r} must be a .npy file in a folder that exists; name such a one"
            raise ValueError(msg)
        self._facts = self.path.with_suffix(".json")
        self._done = self.path.with_suffix(".done.npy")
        self._directions = self.path.with_suffix(".directions.npy")

    def claim(self, facts: dict[str, Any]) -> None:
        """Write what the scores are made of, or check that those there are of the same make.

        Raises
        ------
        ValueError
            They are not.
        """
        if self._facts.exists():
            self.check(facts)
        elif self.path.exists():
            msg = f"out={str(self.path)!r} is a file that was not begun here; name another one, or delete it"
            raise ValueError(msg)
        else:
            with replacing(self._facts) as there:
                there.write_text(json.dumps(facts, indent=2), encoding="utf-8")

    def begin(self, facts: dict[str, Any], shape: tuple[int, ...]) -> None:
        """Make the files, or check that those there are of the same make.

        Raises
        ------
        ValueError
            They are not.
        """
        self.claim(facts)
        if self.path.exists() and self._done.exists():
            self._check_whole(shape)
            return
        # The mask is made last: where there is one, the rest is whole.
        self._done.unlink(missing_ok=True)
        write_scores(self.path, shape, lambda rows: np.full((rows.stop - rows.start, *shape[1:]), np.nan))
        with replacing(self._done) as there:
            np.save(there, np.zeros(shape[0], dtype=bool))

    def _check_whole(self, shape: tuple[int, ...]) -> None:
        """Refuse files that somebody else has written to."""
        try:
            scores, done = np.load(self.path, mmap_mode="r"), np.load(self._done)
            is_whole = scores.shape == shape and done.shape == shape[:1] and scores.dtype == np.float64
        except (OSError, ValueError, EOFError):
            is_whole = False
        if not is_whole:
            raise ValueError(self._damaged())

    def _damaged(self) -> str:
        return (
            f"{self.path} or what lies beside it is not as it was left here; name another file, or delete "
            f"all that begins with {self.path.stem!r}"
        )

    def check(self, facts: dict[str, Any]) -> None:
        """Refuse scores that were made of something else."""
        other = difference(self.facts(), facts)
        if other is not None:
            msg = (
                f"{self.path} holds scores of {other}; name another file, or delete this one with all that "
                f"begins with {self.path.stem!r} beside it"
            )
            raise ValueError(msg)

    def facts(self) -> dict[str, Any]:
        """Give what is written of the make of the scores."""
        try:
            known: dict[str, Any] = json.loads(self._facts.read_text(encoding="utf-8"))
        except ValueError:
            raise ValueError(self._damaged()) from None
        return known

    @property
    def is_known(self) -> bool:
        """Whether what the file was made of is written beside it."""
        return self._facts.exists()

    def missing(self) -> NDArray[np.int64]:
        """Give the positions of the samples that are not done."""
        return np.flatnonzero(~np.load(self._done))

    def directions(self, influence: Influence, criteria: Criteria) -> Tensor:
        """Give the solutions v (k, p) of the first call, or solve for them."""
        ranks = influence.samples.ranks
        if ranks.total_of(float(self._directions.exists())) < ranks.count:
            solved = influence.directions(criteria.each).cpu().numpy()
            ranks.first(lambda: self._keep(solved))
        return torch.from_numpy(np.load(self._directions)).to(influence.objective.device)

    def _keep(self, directions: NDArray[np.float64]) -> None:
        with replacing(self._directions) as there:
            np.save(there, directions)

    def fill(self, influence: Influence, criteria: Criteria) -> None:
        """Compute the scores that are missing."""
        ranks = influence.samples.ranks
        positions = self.missing()
        # Nobody marks a sample before all have read which are missing.
        ranks.wait()
        if len(positions):
            scores = np.load(self.path, mmap_mode="r+")
            done = np.load(self._done, mmap_mode="r+")
            written: list[NDArray[np.int64]] = []

            def mark() -> None:
                if not written:
                    return
                scores.flush()
                done[np.concatenate(written)] = True
                done.flush()
                written.clear()

            last = time.monotonic()
            directions = self.directions(influence, criteria)
            with influence.stages("scores"):
                for places, columns in influence.passes.derivatives(directions, positions):
                    where = positions[places]
                    scores[where] = criteria.shaped(columns)
                    written.append(where)
                    if time.monotonic() - last >= _SECONDS_BETWEEN_MARKS:
                        mark()
                        last = time.monotonic()
            mark()
        ranks.first(lambda: self._directions.unlink(missing_ok=True))

    def read(self) -> NDArray[np.float64]:
        """Give the scores as a read-only map of the file."""
        scores: NDArray[np.float64] = np.load(self.path, mmap_mode="r")
        return scores


def write_scores(path: Path, shape: tuple[int, ...], rows: Callable[[slice], NDArray[np.float64]]) -> None:
    """Write a .npy file a few rows at a time.

    Not through a map: of a disk that is full, that would end the process without an exception.
    """
    kind = np.lib.format.dtype_to_descr(np.dtype(np.float64))
    with path.open("wb") as file:
        header = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, shape[0], _ROWS_AT_ONCE):
            file.write(rows(slice(first, min(first + _ROWS_AT_ONCE, shape[0]))).tobytes())


def stream_scores(
    influence: Influence, criteria: Criteria, path: str | os.PathLike[str]
) -> NDArray[np.float64]:
    """Compute ψ into a file, or what of it is missing there; see `Puma.influence`."""
    store = ScoreStore(path)
    k = len(criteria.each)
    shape = (influence.samples.n, k) if criteria.several else (influence.samples.n,)
    facts = fingerprint(influence, criteria)
    influence.samples.ranks.first(lambda: store.begin(facts, shape))
    store.fill(influence, criteria)
    return store.read()


def stored_scores(
    path: str | os.PathLike[str], influence: Influence, criteria: Criteria
) -> NDArray[np.float64]:
    """Read scores from a .npy file; where `stream_scores` made it, only those of this model and criterion.

    Raises
    ------
    ValueError
        The file cannot be read, is not finished, or belongs to another model, data or criterion.
    """
    file = Path(path)
    if not file.is_file():
        msg = f"scores={str(path)!r}: there is no such file"
        raise ValueError(msg)
    store = ScoreStore(file, name="scores")
    if store.is_known:
        if "checkpoints" in store.facts():
            msg = (
                f"scores={str(path)!r} is a mean over checkpoints, which cannot be held against this model "
                f"and criterion; pass numpy.load({str(path)!r}) to take it as it is"
            )
            raise ValueError(msg)
        store.check(fingerprint(influence, criteria))
        missing = len(store.missing())
        if missing:
            msg = (
                f"scores={str(path)!r} lacks {missing} of {influence.samples.n} samples; finish it with "
                f"influence(out={str(path)!r})"
            )
            raise ValueError(msg)
    try:
        return store.read() if store.is_known else np.asarray(np.load(file))
    except (OSError, ValueError, EOFError) as error:
        msg = f"scores={str(path)!r} cannot be read as a .npy file ({error})"
        raise ValueError(msg) from error
