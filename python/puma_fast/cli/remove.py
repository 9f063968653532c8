"""``puma-fast remove``: samples out of a checkpoint, with the patched weights and the report in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from puma_fast.cli import checks
from puma_fast.cli.job import job

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from puma_fast.edit.removal import Removal


PATCHED = "model.safetensors"
"""The patched weights' file within --out."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "remove",
        help="remove samples from a trained model",
        description=(
            "Remove marked samples from a trained model. PKG.MOD:NAME names an object, or a function without "
            "arguments that makes it; modules are also looked for in the current folder. Writes "
            "model.safetensors (patched weights), delta.safetensors (the difference), report.json and "
            "report.html."
        ),
    )
    files = parser.add_argument_group("what")
    files.add_argument("--model", required=True, metavar="PKG.MOD:NAME", help="the model")
    files.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help=(
            "its weights: .safetensors, or .pt, .pth or .ckpt, read without unpickling objects; left out, "
            "the model is taken as it is"
        ),
    )
    files.add_argument("--data", required=True, metavar="PKG.MOD:NAME", help="the training data, unaugmented")
    files.add_argument(
        "--holdout", metavar="PKG.MOD:NAME", help="held-out data: the criterion, and the attack's strangers"
    )
    files.add_argument(
        "--ids",
        required=True,
        type=Path,
        metavar="FILE",
        help="samples to remove: .npy (positions, or a mask), or a text file with a position on each line",
    )
    files.add_argument(
        "--loss",
        default="cross_entropy",
        metavar="NAME",
        help="name in torch.nn.functional, or PKG.MOD:NAME of a loss (default: cross_entropy)",
    )
    files.add_argument(
        "--weight-decay", type=checks.amount, default=0.0, metavar="GAMMA", help="of training (default: 0)"
    )
    files.add_argument(
        "--params",
        action="append",
        metavar="PATTERN",
        help="edit only these parameters ('head.*'); repeatable",
    )
    length = parser.add_argument_group("how far")
    length.add_argument(
        "--eta",
        type=checks.amount_or_auto,
        metavar="ETA",
        help="length, or auto (default: 1/n, one deletion)",
    )
    length.add_argument(
        "--max-change",
        type=checks.amount,
        metavar="DELTA",
        help="with --eta auto: bound of the criterion's change",
    )
    weights = parser.add_argument_group("reweighting")
    weights.add_argument(
        "--up",
        type=_up,
        default="rest",
        metavar="rest|none|INT",
        help="samples that may be reweighted: the rest, none, or so many drawn (default: rest)",
    )
    weights.add_argument(
        "--l1", type=checks.amount, default=0.0, help="price of the sum of magnitudes, absolute (default: 0)"
    )
    weights.add_argument("--l2", type=checks.amount, help="price of the sum of squares, absolute")
    weights.add_argument(
        "--lower", type=checks.number, metavar="W", help="least weight; -1 takes a sample out (default: none)"
    )
    weights.add_argument(
        "--upper", type=checks.number, metavar="W", help="greatest weight; 1 counts one twice (default: none)"
    )
    weights.add_argument(
        "--scores",
        type=Path,
        metavar="FILE",
        help="influences computed elsewhere, .npy of one row for each sample; positive where a sample helps",
    )
    solve = parser.add_argument_group("computation")
    kinds = ("ggn", "hessian", "fisher")
    solve.add_argument("--curvature", choices=kinds, default="ggn", help="(default: ggn)")
    solvers = ("cg", "nystrom", "lanczos", "lissa", "exact")
    solve.add_argument("--solver", choices=solvers, default="cg", help="(default: cg)")
    solve.add_argument(
        "--damping", type=checks.amount_or_auto, default="auto", metavar="D", help="(default: auto)"
    )
    solve.add_argument("--tol", type=float, help="relative residual of the solves")
    solve.add_argument(
        "--max-iter", type=checks.positive, default=1000, metavar="N", help="per solve (default: 1000)"
    )
    solve.add_argument(
        "--batch-size", type=checks.count_or_auto, metavar="B", help="samples at a time, or auto"
    )
    solve.add_argument("--threads", type=checks.positive, metavar="N", help="of the reweighting")
    checks.add_outputs(parser, out=None)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the removal."""
    from puma_fast.cli.inputs import read_ids
    from puma_fast.cli.results import save_report

    checks.installed("torch")
    ids = read_ids(options.ids)
    figure = checks.picture(options.figure)
    checks.file("--checkpoint", options.checkpoint)
    checks.file("--scores", options.scores)
    out = checks.folder(options.out)
    if options.checkpoint is not None and (out / PATCHED).resolve() == options.checkpoint.resolve():
        msg = f"--out {options.out}: the patched weights would overwrite --checkpoint; choose another folder"
        raise checks.UsageError(msg)

    from puma_fast.audit import page

    page.possible()
    with job(options.device) as (device, speaks):
        removal = _removal(options, ids, checks.device(device))
        # Measuring is work of all ranks too.
        report = removal.report
        if speaks:
            print(report, end="\n\n")
            _save(removal, out)
            print(save_report(report, out, figure))


def _removal(options: argparse.Namespace, ids: NDArray[Any], device: str) -> Removal:
    """Read what the options name, and remove."""
    from torch import nn

    from puma_fast.cli.inputs import named
    from puma_fast.puma import Puma
    from puma_fast.score.checkpoint import load_checkpoint

    model = named("--model", options.model)
    if not isinstance(model, nn.Module):
        msg = f"--model {options.model} gives {type(model).__name__}, not a torch.nn.Module"
        raise checks.UsageError(msg)
    if options.checkpoint is not None:
        load_checkpoint(model, options.checkpoint, name="--checkpoint")
    data = named("--data", options.data)
    loss = named("--loss", options.loss, call=False) if ":" in options.loss else options.loss
    holdout = None if options.holdout is None else named("--holdout", options.holdout)
    # The user's model, loss and data may raise anything; notes say where, and what they were given.
    try:
        puma = Puma(
            model.to(device),
            data,
            loss,
            holdout=holdout,
            weight_decay=options.weight_decay,
            params=options.params,
            curvature=options.curvature,
            solver=options.solver,
            damping=options.damping,
            batch_size=options.batch_size,
            tol=options.tol,
            max_iter=options.max_iter,
            n_threads=options.threads,
        )
        return puma.remove(
            ids,
            eta=options.eta,
            max_change=options.max_change,
            up=options.up,
            l1=options.l1,
            l2=options.l2,
            lower=options.lower,
            upper=options.upper,
            scores=options.scores,
            seed=options.seed,
        )
    except Exception as error:
        msg = ". ".join([str(error), *getattr(error, "__notes__", ())])
        raise checks.UsageError(msg) from error


def _save(removal: Removal, out: Path) -> None:
    """Write the patched weights and the difference."""
    from safetensors.torch import save_file, save_model

    from puma_fast.atomic import replacing

    with replacing(out / PATCHED) as there:
        # Tied tensors are stored once, as the loader expects them.
        save_model(removal.model, str(there), metadata={"format": "pt"})
    with replacing(out / "delta.safetensors") as there:
        delta: dict[str, Any] = {name: value.cpu().clone() for name, value in removal.delta.items()}
        save_file(delta, there, metadata={"format": "pt"})
    print(f"written {out / PATCHED}\nwritten {out / 'delta.safetensors'}")


def _up(text: str) -> str | int | None:
    if text == "rest":
        return text
    return None if text == "none" else checks.positive(text)
