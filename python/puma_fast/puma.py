"""The facade: a trained model with its training set, and what can be asked of them."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from puma_fast.audit.report import removal_report
from puma_fast.distributed import PATIENCE, Ranks
from puma_fast.edit.removal import Removal, remove
from puma_fast.edit.weighing import Weighing
from puma_fast.from_lightning import lightning_arguments
from puma_fast.from_trainer import trainer_arguments
from puma_fast.numeric.arrays import as_count, as_flag, as_progress, as_threads
from puma_fast.score.average import average_scores, stream_average
from puma_fast.score.criteria import AskedCriteria, Criteria, MeanLoss
from puma_fast.score.fingerprint import model_digest
from puma_fast.score.handed_in import as_scores
from puma_fast.score.influence import Influence
from puma_fast.score.objective import Objective
from puma_fast.score.per_sample import per_sample_gradients
from puma_fast.score.self_influence import estimated, exact
from puma_fast.score.store import stored_scores, stream_scores
from puma_fast.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor, nn

    from puma_fast.edit.upweighted import Up
    from puma_fast.score.average import Checkpoint
    from puma_fast.score.curvature import Kind
    from puma_fast.score.damping import Damping
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
    criterion : callable or like `data`, or a list or mapping of them, optional
        What is to be preserved: ``criterion(model) -> scalar tensor``, or data whose mean loss is meant.
        By default the mean loss on `holdout`, else on `data` (where it vanishes as training converges:
        a warning says so). Several at once: a mapping of names to them (`per_class` and `per_group` make
        one), or a list in which at least one is a function, a Dataset or a DataLoader.
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
    curvature : {"ggn", "hessian", "fisher"}, default "ggn"
        Generalised Gauss-Newton matrix, exact Hessian or empirical Fisher matrix of J; the last is no
        approximation of the others far from the optimum of a well-specified model.
    solver : {"cg", "nystrom", "lanczos", "lissa", "exact"} or Solver, default "cg"
        How H⁻¹ is applied: conjugate gradients, which recycle what they learn from one solve to the next and
        are preconditioned by the few samples that hold most of the curvature, where they are few; the same
        preconditioned by Nyström's sketch; low rank; the Neumann series; or H formed, for small models.
        Classes with options of their own are in `puma_fast.score.solve`.
    damping : float or "auto", default "auto"
        Added to the curvature's diagonal; "auto" is 1e-3 of its largest eigenvalue.
    batch_size : int or "auto", optional
        Samples per batch, by default the DataLoader's or 256. It changes speed and memory, not results.
        "auto": as many as fit into the memory of a GPU, found by backing off.
    device : torch.device or str, optional
        Where to compute; by default where the model is.
    allow_tf32 : bool, default False
        Compute in TF32 where torch is set to: faster on a GPU, with ten bits of each float32. By default it
        is switched off for the length of a call, since curvature solves need the others.
    progress : bool, optional
        Bars for passes of over two seconds; by default only on a terminal.
    ids : array_like of shape (n,), optional
        Names of the samples, used for `remove` in the place of positions.
    tol : float, optional
        Relative residual of curvature solves; by default 1e-10, or 1e-5 for float32 models.
    max_iter : int, default 1000
        Curvature products per right-hand side, at most.
    n_threads : int, optional
        Threads of the numeric core; by default all.
    distributed : bool, default True
        Share the work with the other ranks where ``torch.distributed`` has been initialised (under
        ``torchrun``, say): every rank makes the same calls, with the same model and the whole data set,
        reads its own part of it, and gets the same results. False: this process works alone.
    patience : float, default 600
        Seconds to wait for another rank before it counts as lost: longer than its part of a pass takes.

    Raises
    ------
    TypeError, ValueError
        Where the model, data or loss do not fit together: found on the first samples, before long work.
    LostRankError
        From every method: another rank ended, or did not come to the common work in time.

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
        batch_size: int | Literal["auto"] | None = None,
        device: torch.device | str | None = None,
        allow_tf32: bool = False,
        progress: bool | None = None,
        ids: ArrayLike | None = None,
        tol: float | None = None,
        max_iter: int = 1000,
        n_threads: int | None = None,
        distributed: bool = True,
        patience: float = PATIENCE,
    ) -> None:
        progress, self._n_threads = as_progress(progress), as_threads(n_threads)
        shared = as_flag("distributed", distributed)
        ranks = Ranks.of_this_job(patience) if shared else Ranks(patience=patience)
        self._objective = Objective(
            model,
            loss,
            forward=forward,
            targets=targets,
            objective=objective,
            params=params,
            weight_decay=weight_decay,
            device=device,
            allow_tf32=allow_tf32,
        )
        digest = model_digest(self._objective.model)
        ranks.require_equal("the checksum of the model", digest, "load the same weights on every rank")
        self._read = partial(
            self._objective.read,
            batch_size=batch_size,
            progress=progress if ranks.index == 0 else False,
            ranks=ranks,
        )
        self._data = self._read(data, ids=ids)
        self._holdout = None if holdout is None else self._read(holdout, name="holdout")
        self._influence = Influence(
            self._objective,
            self._data,
            curvature=curvature,
            solver=solver,
            damping=damping,
            tol=tol,
            max_iter=max_iter,
        )
        self._asked = AskedCriteria(self._read)
        self._influence.preflight()
        self._criteria = self._default_criterion() if criterion is None else self._asked(criterion)

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
        TypeError
            Something else than a trainer.
        ValueError
            No train dataset; a head that is not known, or a trainer whose own loss on the first sample is
            another one (label smoothing, a compute_loss of its own): pass `loss` or `objective`.

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
        TypeError
            Something else than a module and a data module.
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

    def influence(
        self,
        *,
        criterion: Callable[[nn.Module], Tensor] | Any = None,
        checkpoints: Sequence[Checkpoint] | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> NDArray[np.float64]:
        """Compute ψ for every training sample (Eq. 9): ψ_j = ∇Cᵀ H⁻¹ ∇L_j.

        Parameters
        ----------
        criterion : callable or like `data`, or a list or mapping of them, optional
            Another criterion than the facade's, or several; see `Puma`. Several share one pass.
        checkpoints : sequence of state dicts or files, optional
            The mean over these, each with its own gradient, damping and solve, in the place of the model
            as it is. Files are safetensors, or torch files read without unpickling objects.
        out : path-like, optional
            A ``.npy`` file to write the scores to as they come. Beside it lie a mask of the samples that
            are done and what the scores were made of: killed at any moment, the same call goes on where it
            stood and ends with the same bits (at the same batch size); a call for another model, data or
            criterion is refused. With `checkpoints` each has such a file of its own beside the mean,
            ``scores.checkpoint-0.npy`` …, and they stay.

        Returns
        -------
        ndarray of shape (n,), or (n, k) for a list or mapping of k criteria, float64
            ψ_j > 0: the sample helps. Extra weight λ on sample j moves the criterion by −λψ_j/n, to
            first order; removing it (λ = −1) by +ψ_j/n. Scores are not divided by n. With `out` a
            read-only map of the file.

        Raises
        ------
        ValueError
            A criterion that does not depend on the edited parameters; a checkpoint that does not fit; a
            file at `out` that holds something else.

        Examples
        --------
        >>> import torch, puma_fast as pf
        >>> X = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
        >>> model = torch.nn.Linear(1, 1, dtype=torch.float64)
        >>> puma = pf.Puma(model, (X[:30], 2 * X[:30]), "mse_loss", holdout=(X[30:], 2 * X[30:]))
        >>> puma.influence(
        ...     criterion={"slope": lambda model: model.weight.sum(), "held out": (X, 2 * X)}
        ... ).shape
        (30, 2)
        """
        self._influence.stages = Stages()
        with self._objective.untouched():
            criteria = self._chosen(criterion)
            if out is not None:
                if checkpoints is None:
                    return stream_scores(self._influence, criteria, out)
                return stream_average(self._influence, criteria, checkpoints, out)
            if checkpoints is not None:
                return criteria.shaped(average_scores(self._influence, criteria, checkpoints))
            return criteria.shaped(self._influence.scores(criteria.each))

    def self_influence(
        self, ids: ArrayLike | None = None, *, probes: int | None = None, seed: int = 0
    ) -> NDArray[np.float64]:
        """Compute every sample's influence on its own loss: ∇L_jᵀH⁻¹∇L_j.

        Large where the model rests on the sample alone: atypical or mislabelled ones. To first order the
        loss of sample j rises by this, divided by n, when j is left out.

        Parameters
        ----------
        ids : array_like of shape (m,), optional
            The samples; by default all.
        probes : int, optional
            Estimate from that many random probes in the place of one curvature solve per sample. Each
            value then has a relative standard error of √(2/probes), whatever the sample (it is the exact
            one times χ² with `probes` degrees of freedom, divided by them), at twice the products of
            `probes` solves.
        seed : int, default 0
            Of the probes.

        Returns
        -------
        ndarray of shape (m,), float64
            At least 0, in units of the loss, times n.

        Examples
        --------
        >>> import torch, puma_fast as pf
        >>> X = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
        >>> y = 2 * X
        >>> y[7] += 5
        >>> model = torch.nn.Linear(1, 1, dtype=torch.float64)
        >>> _ = torch.nn.init.constant_(model.weight, 2), torch.nn.init.zeros_(model.bias)
        >>> int(pf.Puma(model, (X, y), "mse_loss").self_influence().argmax())
        7
        """
        positions = np.arange(self.n) if ids is None else self._data.positions(ids)
        count = None if probes is None else as_count("probes", probes, least=1)
        seed = as_count("seed", seed)
        with self._objective.untouched():
            if count is None:
                return exact(self._influence, positions)
            return estimated(self._influence, positions, probes=count, seed=seed)

    def per_sample_gradients(
        self,
        ids: ArrayLike | None = None,
        *,
        projection: int | None = None,
        seed: int = 0,
        chunk: int | None = None,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32] | NDArray[np.float64]]]:
        """Iterate over the gradients of single samples, ∇L_j, a chunk at a time.

        No score needs them here; they are for methods of your own. Memory is that of one chunk.

        Parameters
        ----------
        ids : array_like of shape (m,), optional
            The samples; by default all.
        projection : int, optional
            Project each gradient to that many numbers, by a seeded count sketch: inner products keep
            their value in expectation, with a variance of at most (‖x‖²‖y‖² + ⟨x, y⟩²)/projection.
        seed : int, default 0
            Of the projection.
        chunk : int, optional
            Samples at once; by default a batch, or fewer where their gradients would take over 256 MB.

        Yields
        ------
        positions : ndarray of shape (B,), int64
            Which samples.
        gradients : ndarray of shape (B, p) or (B, projection)
            In the type of the edited parameters, in their order in the model.

        Examples
        --------
        >>> import numpy as np, torch, puma_fast as pf
        >>> X, y = torch.randn(60, 3), torch.arange(60) % 3
        >>> puma = pf.Puma(torch.nn.Linear(3, 3), (X, y), batch_size=25)
        >>> [rows.shape for _, rows in puma.per_sample_gradients()]
        [(25, 12), (25, 12), (10, 12)]
        >>> np.concatenate([rows for _, rows in puma.per_sample_gradients(projection=4)]).shape
        (60, 4)
        """
        positions = np.arange(self.n) if ids is None else self._data.positions(ids)
        return per_sample_gradients(
            self._influence.passes,
            positions,
            projection=None if projection is None else as_count("projection", projection, least=1),
            seed=as_count("seed", seed),
            chunk=None if chunk is None else as_count("chunk", chunk, least=1),
        )

    def remove(
        self,
        ids: ArrayLike,
        *,
        eta: float | Literal["auto"] | None = None,
        max_change: float | None = None,
        up: Up = "rest",
        l1: float = 0.0,
        l2: float | None = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        criterion: Callable[[nn.Module], Tensor] | Any = None,
        scores: ArrayLike | str | os.PathLike[str] | None = None,
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
            Largest change of the criterion, of each one of several, allowed (δ of Eq. 2); goes with
            ``eta="auto"``.
        up : "rest", int, array_like or None, default "rest"
            Which samples may be reweighted: every unmarked one, that many drawn (seeded, classes in
            proportion), those ids, or none (plain influence removal).
        l1 : float, default 0.0
            Price of the sum of the weights' magnitudes (Eq. 10), absolute. Without one the weights spread
            over all samples and each is small; a high price puts all of b on a few large weights, which
            leave the range of a first-order prediction: bound the weights then.
        l2 : float, optional
            Price of their squares (Eq. 10), absolute; by default as `solve_weights` has it.
        lower, upper : float or array_like of shape (u,), optional
            Bounds of the weights, one for all or one for each sample that may be reweighted. A weight of −1
            takes a sample out, +1 counts it twice: with ``lower=-1, upper=1`` sparse weights (``l1 > 0``)
            stay where a first-order prediction holds, and what b they cannot make up for is reported.
        criterion : callable or like `data`, or a list or mapping of them, optional
            Another criterion than the facade's, or several; see `Puma`. With k criteria b has k numbers,
            and the weights make up for all of them at once.
        scores : array_like of shape (n,) or (n, k), or path-like, optional
            Influences computed elsewhere (kronfluence, dattri, TRAK), in the place of ψ, row j for sample
            j; or a ``.npy`` file of them, of which one made by ``influence(out=)`` has to be of this
            model, data and criterion. ψ > 0: the sample helps; not divided by n. The two predictions of
            the report then differ by the scores' own error, and a warning tells where sign or scale of
            the scores contradict the patch.
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
            bounds that do not fit, or any of them with ``up=None``; scores that do not fit.
        """
        marked, seed = self._data.positions(ids), as_count("seed", seed)
        self._influence.stages = Stages()
        with self._objective.untouched():
            criteria = self._chosen(criterion)
            removal = remove(
                self._influence,
                criteria,
                marked,
                eta=eta,
                max_change=max_change,
                up=up,
                weighing=Weighing(l1, l2, lower, upper),
                scores=None if scores is None else self._handed_in(scores, criteria),
                seed=seed,
                n_threads=self._n_threads,
            )
        return replace(removal, _audit=lambda edit: self._audit(edit, criteria))

    def _audit(self, removal: Removal, criteria: Criteria) -> Any:
        with self._objective.untouched():
            return removal_report(removal, self._objective, criteria, self._data, self._holdout)

    def _handed_in(
        self, scores: ArrayLike | str | os.PathLike[str], criteria: Criteria
    ) -> NDArray[np.float64]:
        if isinstance(scores, (str, os.PathLike)):
            scores = stored_scores(scores, self._influence, criteria)
        return as_scores(scores, self.n, len(criteria.each) if criteria.several else None)

    def _chosen(self, criterion: Any) -> Criteria:
        return self._criteria if criterion is None else self._asked(criterion)

    def _default_criterion(self) -> Criteria:
        if self._holdout is None:
            return Criteria((MeanLoss(self._data, is_training=True),))
        return Criteria((MeanLoss(self._holdout),))
