"""The receipt of a removal: what was predicted, by two roads, beside what is measured.

Everything that is claimed of a removal is measured on the original model, on the patched one, and on
one patched by the same length without reweighting, so that the reweighting's own part can be seen.
"""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from puma_fast._core import __version__
from puma_fast.atomic import as_path, replacing
from puma_fast.audit import page
from puma_fast.audit.measurement import Measurement, measure
from puma_fast.stages import Stages

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from puma_fast.data import Samples
    from puma_fast.edit.removal import Removal
    from puma_fast.score.criteria import Criteria
    from puma_fast.score.objective import Objective


@dataclass(frozen=True, eq=False)
class RemovalReport:
    """Evidence for one removal at one η.

    Attributes
    ----------
    removal : Removal
        What was done, with its settings and diagnostics.
    criterion_name : str or list of str
        What C is, or each of several.
    before, after, plain : Measurement
        The original model, the patched one, and one patched by Φ_mk alone, at the same η.
    seconds : dict of str to float
        Per stage of the call, the measuring included; "(kept)" is what an earlier call had computed.
    """

    removal: Removal
    criterion_name: str | list[str]
    before: Measurement
    after: Measurement
    plain: Measurement
    seconds: Mapping[str, float]

    def numbers(self) -> dict[str, Any]:
        """Give every figure of the report as plain numbers and words, as the JSON receipt holds them.

        What belongs to the criterion is one number, or a list of k for several.
        """
        removal = self.removal
        weights, qp = removal.weights, removal.reweighting
        changes = {
            name: {
                "predicted_by_patch": direction.slope.scaled(removal.eta).by_patch,
                "predicted_by_scores": direction.slope.scaled(removal.eta).by_scores,
                "measured": there.criterion - self.before.criterion,
            }
            for name, direction, there in (
                ("after", removal.direction, self.after),
                ("plain", removal.plain, self.plain),
            )
        }
        numbers = {
            "puma_fast": __version__,
            "python": platform.python_version(),
            "n": removal.n,
            "marked": len(removal.marked),
            "up": len(removal.up),
            "eta": removal.eta,
            "eta_n": removal.eta * removal.n,
            "criterion": self.criterion_name,
            "measured": {
                "before": self.before.numbers(),
                "after": self.after.numbers(),
                "plain": self.plain.numbers(),
            },
            "criterion_change": changes,
            "b": removal.b,
            "weights": {
                "nnz": int(np.count_nonzero(weights)),
                "l1_norm": float(np.abs(weights).sum()),
                "smallest": float(weights.min(initial=0.0)),
                "largest": float(weights.max(initial=0.0)),
            },
            "reweighting": None
            if qp is None
            else {
                "l1": qp.l1,
                "l2": qp.l2,
                "l1_max": qp.l1_max,
                "residual": float(np.linalg.norm(qp.residual)),
                "gap": qp.gap,
                "objective": qp.objective,
                "status": qp.status,
                "iterations": qp.iterations,
            },
            "damping": asdict(removal.damping),
            "settings": dict(removal.settings),
            "solves": {
                name: {
                    "status": solve.status,
                    "iterations": solve.iterations,
                    "residual": solve.residual,
                    "smallest_ritz": solve.smallest_ritz,
                }
                for name, solve in removal.solves.items()
            },
            "seconds": dict(self.seconds),
        }
        valid: dict[str, Any] = _valid(numbers)
        return valid

    def __str__(self) -> str:
        """Print the table of evidence."""
        numbers = self.numbers()
        measured, change = numbers["measured"], numbers["criterion_change"]
        models = "before", "after", "plain"
        rows: list[tuple[str, ...]] = [("", "before", "removed", "without reweighting")]
        values = zip(*(np.atleast_1d(measured[model]["criterion"]) for model in models), strict=True)
        rows += [
            (label, *(f"{value:.6f}" for value in each))
            for label, each in zip(self._labels("criterion"), values, strict=True)
        ]
        for label, key in (
            ("accuracy", "accuracy"),
            ("marked: mean confidence", "marked_confidence"),
            ("marked: mean loss", "marked_loss"),
            ("membership attack: AUC", "membership_auc"),
            ("membership attack: advantage", "membership_advantage"),
        ):
            if measured["before"][key] is not None:
                rows.append((label, *(f"{measured[model][key]:.4f}" for model in models)))
        for label, key in (
            ("criterion change, predicted by the patch", "predicted_by_patch"),
            ("criterion change, predicted by the scores", "predicted_by_scores"),
            ("criterion change, measured", "measured"),
        ):
            pairs = zip(*(np.atleast_1d(change[model][key]) for model in ("after", "plain")), strict=True)
            rows += [
                (line, "", *(f"{value:+.4e}" for value in pair))
                for line, pair in zip(self._labels(label), pairs, strict=True)
            ]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        table = "\n".join(
            "  ".join(
                [
                    row[0].ljust(widths[0]),
                    *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
                ]
            )
            for row in rows
        )
        return "\n".join(
            [self._heading(), "", table, "", *self._settings(numbers), f"seconds    {self._times()}"]
        )

    def save(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write the receipt: ``report.json`` always, ``report.html`` where the extra `report` is installed.

        Each file takes the place of an older one only once it is whole.

        Parameters
        ----------
        directory : path-like
            Made where it does not exist.

        Returns
        -------
        list of Path
            What was written.

        Warns
        -----
        UserWarning
            Where the page is left out, with what to install.

        Examples
        --------
        >>> import tempfile, torch, puma_fast as pf
        >>> X = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
        >>> puma = pf.Puma(
        ...     torch.nn.Linear(1, 1, dtype=torch.float64),
        ...     (X[:30], 2 * X[:30]),
        ...     "mse_loss",
        ...     holdout=(X[30:], 2 * X[30:]),
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in puma.remove([3]).report.save(folder)]
        ['report.json', 'report.html']
        """
        folder = as_path("directory", directory)
        folder.mkdir(parents=True, exist_ok=True)
        receipt, shown = folder / "report.json", folder / "report.html"
        with replacing(receipt) as there:
            text = json.dumps(self.numbers(), indent=2, allow_nan=False)
            there.write_text(text + "\n", encoding="utf-8")
        if not page.possible():
            return [receipt]
        with replacing(shown) as there:
            there.write_text(page.render(self), encoding="utf-8")
        return [receipt, shown]

    def _labels(self, label: str) -> list[str]:
        """Give a row's label, once or for each of several criteria."""
        names = self.criterion_name
        return [label] if isinstance(names, str) else [f"{label}: {name}" for name in names]

    def _heading(self) -> str:
        removal, names = self.removal, self.criterion_name
        what = f"criterion: {names}" if isinstance(names, str) else f"criteria: {', '.join(names)}"
        return (
            f"Removal of {len(removal.marked)} of {removal.n} samples at eta = {removal.eta:.4g} "
            f"(eta*n = {removal.eta * removal.n:.4g} deletions); {what}"
        )

    def _settings(self, numbers: Mapping[str, Any]) -> list[str]:
        weights, qp, settings = numbers["weights"], numbers["reweighting"], numbers["settings"]
        b = " ".join(f"{value:.4g}" for value in np.atleast_1d(numbers["b"]))
        lines = []
        if qp is not None:
            box = "".join(
                f", {name} = {bound if isinstance(bound, str) else f'{bound:.3g}'}"
                for name in ("lower", "upper")
                if (bound := settings[name]) is not None
            )
            lines.append(
                f"weights    b = {b}; {weights['nnz']} of {numbers['up']} not nought, "
                f"sum of magnitudes {weights['l1_norm']:.4g}; l1 = {qp['l1']:.3g}, l2 = {qp['l2']:.3g}{box}; "
                f"|b - Psi'lambda| = {qp['residual']:.3g}, gap {qp['gap']:.1e} ({qp['status']})"
            )
        else:
            lines.append(f"weights    b = {b}; none (up=None)")
        if settings["scores"] == "handed in":
            lines.append("scores     handed in, not computed here: the two predictions differ by their error")
        lines.append(f"damping    {numbers['damping']['value']:.4g}, {numbers['damping']['reason']}")
        lines += [f"solve      {name}: {solve}" for name, solve in self.removal.solves.items()]
        return lines

    def _times(self) -> str:
        return ", ".join(
            name if name.endswith("(kept)") else f"{name} {seconds:.2f}"
            for name, seconds in self.seconds.items()
        )


def _valid(value: Any) -> Any:
    """Give nested numbers as JSON knows them: arrays as lists, infinities and NaN as null."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _valid(each) for key, each in value.items()}
    return [_valid(each) for each in value] if isinstance(value, list) else value


def removal_report(
    removal: Removal, objective: Objective, criteria: Criteria, samples: Samples, holdout: Samples | None
) -> RemovalReport:
    """Measure a removal.

    Parameters
    ----------
    removal : Removal
        The edit to audit.
    objective : Objective
        Model and loss.
    criteria : Criteria
        What was to be preserved.
    samples : Samples
        The training data.
    holdout : Samples or None
        Data not trained on; without it there is no membership attack, and accuracy is on the training data.

    Returns
    -------
    RemovalReport

    Raises
    ------
    ValueError
        The patch is so long that the patched model's losses are not finite.
    """
    stages = Stages(removal.seconds)
    states = (
        objective.parameters,
        removal.patched(removal.direction),
        removal.patched(removal.plain),
    )
    measured = []
    with stages("measurement"), samples.bar("measurement", unit="model", total=len(states)) as bar:
        for parameters in states:
            measured.append(measure(objective, parameters, criteria, samples, holdout, removal.marked))
            bar.update()
    before, after, plain = measured
    return RemovalReport(removal, criteria.name, before, after, plain, dict(stages))
