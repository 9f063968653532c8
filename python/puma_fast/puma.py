"""The facade: a trained model with its training set, and what can be asked of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from puma_fast.audit.report import removal_report
from puma_fast.edit.removal import Removal, remove
from puma_fast.from_lightning import lightning_arguments
from puma_fast.from_trainer import trainer_arguments
from puma_fast.score.criteria import Criterion, Function, MeanLoss
from puma_fast.score.influence import KEPT_CRITERIA, Influence
from puma_fast.score.objective import Objective

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import torch
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor, nn

    from puma_fast.edit.upweighted import Up
    from puma_fast.score.curvature import Kind
    from puma_fast.score.influence import Damping
    from puma_fast.score.losses import Loss
    from puma_fast.score.solve import Solver


class Puma:
    """A trained model and its training set, ready to be asked and edited (PUMA, AAAI 2022).

    The training objective is J(θ) = (1/n) Σ L_i(θ) + (γ/2)‖θ‖². Nothing here changes the user's model,
    its modes and gradients, or the random state; training it later is noticed, and what was solved for
    the old parameters is solved again.

    Parameters
    ----------
    model : nn.Module
        The trained model, evaluated in eval mode. Half precision is computed in a float32 copy, and the
        patched model rounded back once.
    data : tuple or mapping of tensors, Dataset or DataLoader
        The n training samples. Of a DataLoader the dataset, `collate_fn`, batch size and workers are
        taken and read in order. Random transforms and one-shot iterators are refused.
    loss : str, nn.Module or callable, default "cross_entropy"
        The training loss: its name in torch.nn.functional, a torch loss function or module, or
        ``loss(outputs, targets) -> (B,)``.
    holdout : like `data`, optional
        Data that was not trained on: the criterion unless another is given, and the strangers of the
        membership attack.
    criterion : callable or like `data`, optional
        What is to be preserved: ``criterion(model) -> scalar tensor``, or data whose mean loss is meant.
        By default the mean loss on `holdout`, else on `data` (where it vanishes as training converges:
        a warning says so).
    weight_decay : float, default 0.0
        γ of J.
    forward, targets : callable, optional
        ``forward(model, batch) -> outputs`` and ``targets(batch)``; by default the first item of a batch
        goes in and the last one is the target, or a mapping's keys but labels, label, y go in.
    objective : callable, optional
        ``objective(model, batch) -> (B,)`` in the place of loss, forward and targets; it takes
        ``curvature="hessian"``.
    params : str or sequence of str, optional
        Patterns (``"head.*"``) of the parameters to edit; by default all with `requires_grad`.
    curvature : {"ggn", "hessian"}, default "ggn"
        Generalised Gauss-Newton matrix or exact Hessian of J.
    solver : {"cg", "exact"} or Solver, default "cg"
        How H⁻¹ is applied; "exact" forms H, for small models.
    damping : float or "auto", default "auto"
        Added to the curvature's diagonal; "auto" is 1e-3 of its largest eigenvalue.
    batch_size : int, optional
        Samples per batch, by default the DataLoader's or 256. It changes speed and memory, not results.
    device : torch.device or str, optional
        Where to compute; by default where the model is.
    progress : bool, optional
        Bars for passes of over two seconds; by default only on a terminal.
    ids : array_like of shape (n,), optional
        Names of the samples, used for `remove` in the place of positions.
    tol : float, optional
        Relative residual of curvature solves; by default 1e-10, or 1e-5 for float32 models.
    max_iterations : int, default 1000
        Curvature products per solve, at most.
    n_threads : int, optional
        Threads of the numeric core; by default all.

    Raises
    ------
    TypeError, ValueError
        Where the model, data or loss do not fit together: found on the first samples, before long work.

    Examples
    --------
    >>> import torch, puma_fast as pf
    >>> _ = torch.manual_seed(0)
    >>> X = torch.randn(60, 3, dtype=torch.float64)
    >>> y = (X[:, 0] > 0).long()
    >>> model = torch.nn.Linear(3, 2, dtype=torch.float64)
    >>> puma = pf.Puma(model, (X[:40], y[:40]), holdout=(X[40:], y[40:]), weight_decay=0.1)
    >>> puma.influence().shape
    (40,)
    >>> removal = puma.remove([0, 1, 2])
    >>> type(removal.model).__name__
    'Linear'
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        loss: Loss = "cross_entropy",
        *,
        holdout: Any = None,
        criterion: Callable[[nn.Module], Tensor] | Any = None,
        weight_decay: float = 0.0,
        forward: Callable[[nn.Module, Any], Any] | None = None,
        targets: Callable[[Any], Any] | None = None,
        objective: Callable[[nn.Module, Any], Tensor] | None = None,
        params: str | Sequence[str] | None = None,
        curvature: Kind = "ggn",
        solver: str | Solver = "cg",
        damping: float | Literal["auto"] = "auto",
        batch_size: int | None = None,
        device: torch.device | str | None = None,
        progress: bool | None = None,
        ids: ArrayLike | None = None,
        tol: float | None = None,
        max_iterations: int = 1000,
        n_threads: int | None = None,
    ) -> None:
        self._objective = Objective(
            model,
            loss,
            forward=forward,
            targets=targets,
            objective=objective,
            params=params,
            weight_decay=weight_decay,
            device=device,
        )
        self._read = partial(self._objective.read, batch_size=batch_size, progress=progress)
        self._data = self._read(data, ids=ids)
        self._holdout = None if holdout is None else self._read(holdout, name="holdout")
        self._influence = Influence(
            self._objective,
            self._data,
            curvature=curvature,
            solver=solver,
            damping=damping,
            tol=tol,
            max_iterations=max_iterations,
        )
        self._n_threads = n_threads
        self._criteria: dict[int, tuple[Any, Criterion]] = {}
        self._influence.preflight()
        self._criterion = self._default_criterion() if criterion is None else self._as_criterion(criterion)

    @classmethod
    def from_trainer(cls, trainer: Any, **settings: Any) -> Puma:
        """Make one from a Hugging Face `Trainer`: its model, its train and eval datasets, its collator.

        Parameters
        ----------
        trainer : transformers.Trainer
            Its model may be wrapped by peft: then only the adapter, which was trained, is edited.
        **settings
            Other arguments of `Puma`; what is given here goes before what the trainer has. The decoupled
            weight decay of AdamW is no part of any objective, so `weight_decay` stays 0 unless given.

        Returns
        -------
        Puma
            With the loss of the model's head (sequence or token classification, regression, masked or
            causal language model), a sum over the tokens of a sample where there are any.

        Raises
        ------
        ValueError
            A head that is not known, or a trainer whose own loss on the first sample is another one (label
            smoothing, a compute_loss of its own): pass `loss` or `objective`.

        Examples
        --------
        >>> puma = pf.Puma.from_trainer(trainer)  # doctest: +SKIP
        >>> suspects = puma.influence().argsort()[:20]  # doctest: +SKIP
        """
        return cls(**trainer_arguments(trainer, **settings))

    @classmethod
    def from_lightning(cls, module: nn.Module, datamodule: Any, **settings: Any) -> Puma:
        """Make one from a `LightningModule` and the data module that it was trained on.

        Parameters
        ----------
        module : lightning.LightningModule
            Trained; its `forward` gives the outputs.
        datamodule : lightning.LightningDataModule
            Its train dataset is the data, its validation dataset the holdout.
        **settings
            Other arguments of `Puma`, `loss` above all: a training step gives one number per batch only.

        Returns
        -------
        Puma

        Raises
        ------
        ValueError
            `loss` is not what the training step computes on the first samples.

        Examples
        --------
        >>> puma = pf.Puma.from_lightning(module, datamodule, loss="mse_loss")  # doctest: +SKIP
        """
        return cls(**lightning_arguments(module, datamodule, **settings))

    @property
    def n(self) -> int:
        """Number of training samples."""
        return self._data.n

    @property
    def damping(self) -> Damping:
        """What is added to the curvature's diagonal, and why."""
        with self._objective.untouched():
            return self._influence.damping

    def influence(self, *, criterion: Callable[[nn.Module], Tensor] | Any = None) -> NDArray[np.float64]:
        """Compute ψ for every training sample (Eq. 9): ψ_j = ∇Cᵀ H⁻¹ ∇L_j.

        Parameters
        ----------
        criterion : callable or like `data`, optional
            Another criterion than the facade's; see `Puma`.

        Returns
        -------
        ndarray of shape (n,), float64
            ψ_j > 0: the sample helps. Extra weight λ on sample j moves the criterion by −λψ_j/n, to
            first order; removing it (λ = −1) by +ψ_j/n. Scores are not divided by n.
        """
        with self._objective.untouched():
            return self._influence.scores(self._chosen(criterion))

    def remove(
        self,
        ids: ArrayLike,
        *,
        eta: float | Literal["auto"] | None = None,
        max_change: float | None = None,
        up: Up = "rest",
        l1: float = 0.0,
        l2: float | None = None,
        criterion: Callable[[nn.Module], Tensor] | Any = None,
        seed: int = 0,
    ) -> Removal:
        """Remove marked samples' effect, with weights on others that preserve the criterion (Algorithm 1).

        Parameters
        ----------
        ids : array_like of shape (m,)
            The samples to remove: positions, names where the data has any, or a mask of n booleans.
        eta : float or "auto", optional
            Length η of the patch; by default 1/n, which is to first order a refit without the samples.
            "auto": the largest one, up to 1, that keeps the criterion within `max_change`, by measuring.
        max_change : float, optional
            Largest change of the criterion allowed (δ of Eq. 2); goes with ``eta="auto"``.
        up : "rest", int, array_like or None, default "rest"
            Which samples may be reweighted: every unmarked one, that many drawn (seeded, classes in
            proportion), those ids, or none (plain influence removal).
        l1 : float, default 0.0
            Price of the sum of the weights' magnitudes (Eq. 10), absolute. Without one the weights spread
            over all samples and each is small; a high price puts all of b on a few large weights, which
            leave the range of a first-order prediction.
        l2 : float, optional
            Price of their squares (Eq. 10), absolute; by default as `solve_weights` has it.
        criterion : callable or like `data`, optional
            Another criterion than the facade's; see `Puma`.
        seed : int, default 0
            Of the draw of `up`.

        Returns
        -------
        Removal
            `.model` (a patched copy), `.report` (evidence), `.delta`, `.at(eta)`.

        Raises
        ------
        ValueError
            No, duplicate, unknown or all samples in `ids`; a marked one in `up`; negative l1 or l2,
            or either with ``up=None``.
        """
        chosen = self._chosen(criterion)
        marked = self._data.positions(ids)
        with self._objective.untouched():
            removal = remove(
                self._influence,
                chosen,
                marked,
                eta=eta,
                max_change=max_change,
                up=up,
                l1=l1,
                l2=l2,
                seed=seed,
                n_threads=self._n_threads,
            )
        return replace(removal, _audit=lambda edit: self._audit(edit, chosen))

    def _audit(self, removal: Removal, criterion: Criterion) -> Any:
        with self._objective.untouched():
            return removal_report(removal, self._objective, criterion, self._data, self._holdout)

    def _chosen(self, criterion: Any) -> Criterion:
        return self._criterion if criterion is None else self._as_criterion(criterion)

    def _default_criterion(self) -> Criterion:
        if self._holdout is None:
            return MeanLoss(self._data, is_training=True)
        return MeanLoss(self._holdout)

    def _as_criterion(self, criterion: Any) -> Criterion:
        """Wrap a user's criterion once, so that what is solved for it is found again."""
        if id(criterion) not in self._criteria:
            if callable(criterion):
                wrapped: Criterion = Function(criterion)
            else:
                wrapped = MeanLoss(self._read(criterion, name="criterion"))
            # The user's object is kept along, so that its id is not given to another one.
            self._criteria[id(criterion)] = criterion, wrapped
            if len(self._criteria) > KEPT_CRITERIA:
                del self._criteria[next(iter(self._criteria))]
        return self._criteria[id(criterion)][1]
