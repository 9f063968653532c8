"""``puma-fast demo``: the main job from end to end on data that every installation has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from puma_fast.cli import checks

if TYPE_CHECKING:
    import argparse

    from torch import Tensor, nn

    from puma_fast.audit.report import RemovalReport

CLUSTERS_PER_CLASS = 8
"""Of the marking in the paper's Appendix A."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "demo",
        help="train a small network on handwritten digits, remove samples from it, read the evidence",
        description=(
            "Train a small network on half of scikit-learn's handwritten digits, mark the largest of eight "
            "k-means clusters of each class, and remove them with a held-out third as the criterion. The "
            "last sixth takes no part and tells how far the result carries."
        ),
    )
    checks.add_outputs(parser, out=Path("demo-report"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the demonstration."""
    checks.installed("torch", "study")
    figure = checks.picture(options.figure)
    out = checks.folder(options.out)

    import torch

    from puma_fast.audit import page
    from puma_fast.cli.results import save_report
    from puma_fast.puma import Puma
    from puma_fast.select.clusters import mark_clusters
    from puma_fast.study import digits

    page.possible()
    device = checks.device(options.device)
    # A network this small has no work for two threads, and waits for them where the machine is busy.
    torch.set_num_threads(1)
    data = digits.load(options.seed)
    images, labels = data.train
    print(
        f"Training a network on {len(labels)} digits; {len(data.holdout[1])} are held out as the criterion, "
        f"{len(data.fresh[1])} take no part."
    )
    network = digits.trained_network(data.train, seed=options.seed, device=device)
    marked = mark_clusters(
        images.numpy(),
        labels.numpy(),
        clusters_per_class=CLUSTERS_PER_CLASS,
        pick="largest",
        seed=options.seed,
    )
    print(f"Removing {len(marked)} of them, the largest k-means cluster of each class.\n")
    puma = Puma(
        network,
        data.train,
        digits.LOSS,
        holdout=data.holdout,
        weight_decay=digits.WEIGHT_DECAY,
        device=device,
    )
    removal = puma.remove(marked)
    plain = puma.remove(marked, up=None)
    print(removal.report)
    print("\n" + _in_words(removal.report))
    print(_on_fresh_data(data.fresh, network, removal.model, plain.model))
    print("\n" + save_report(removal.report, out, figure))


def _in_words(report: RemovalReport) -> str:
    """Say in two sentences what the reweighting did, whatever came of it."""
    numbers = report.numbers()
    weights, change = numbers["weights"], numbers["criterion_change"]
    ours, plain = change["after"], change["plain"]
    helped = "helped" if numbers["b"] > 0 else "hurt"
    return (
        f"Together the marked samples {helped} the held-out loss (b = {numbers['b']:.3g}), so weights on "
        f"{weights['nnz']} of the other {numbers['up']} samples make up for them (between "
        f"{weights['smallest']:.2g} and {weights['largest']:.2g}, {weights['l1_norm']:.3g} in all).\n"
        f"With these weights the removal was predicted to move the held-out loss by "
        f"{ours['predicted_by_patch']:+.1e} and moved it by {ours['measured']:+.1e}; without them the "
        f"prediction was {plain['predicted_by_patch']:+.1e} and the change {plain['measured']:+.1e}."
    )


def _on_fresh_data(fresh: tuple[Tensor, Tensor], *models: nn.Module) -> str:
    """Say what became of the loss on data that neither trained nor steered."""
    import torch
    from torch.nn import functional

    images, labels = fresh
    with torch.no_grad():
        before, after, plain = (
            float(functional.cross_entropy(model(images.to(where)), labels.to(where)))
            for model in models
            for where in [next(model.parameters()).device]
        )
    return (
        f"On the {len(labels)} digits that took no part the loss moved by {after - before:+.1e} with the "
        f"weights and by {plain - before:+.1e} without: this is how far the help carries."
    )
