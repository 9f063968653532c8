"""`Puma.from_trainer` and `Puma.from_lightning` read from the real libraries what they were given."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import puma_fast as pf

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
    lightning = pytest.importorskip("lightning")
    pytest.importorskip("accelerate")

pytestmark = pytest.mark.filterwarnings("ignore")

N, LENGTH, VOCABULARY = 12, 5, 9


def rows(labels):
    ids = torch.randint(VOCABULARY, (N, LENGTH), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": ids[j], "labels": labels(ids[j], j)} for j in range(N)]


def bert(kind, **settings):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=5,
        max_position_embeddings=LENGTH,
        **settings,
    )
    return getattr(transformers, kind)(config)


def gpt2():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=4, n_layer=1, n_head=2, n_inner=5
    )
    return transformers.GPT2LMHeadModel(config)


def ignored_first(ids, _):
    return torch.cat([torch.full((2,), -100), ids[2:]])


def a_class(_, j):
    return torch.tensor(j % 3)


KINDS = {
    "classification": (lambda: bert("BertForSequenceClassification", num_labels=3), a_class),
    "regression": (
        lambda: bert("BertForSequenceClassification", num_labels=1),
        lambda _, j: torch.tensor(j / 10),
    ),
    "several labels": (
        lambda: bert(
            "BertForSequenceClassification", num_labels=3, problem_type="multi_label_classification"
        ),
        lambda _, j: torch.tensor([j % 2, 1, 0]).float(),
    ),
    "tokens": (lambda: bert("BertForTokenClassification", num_labels=VOCABULARY), ignored_first),
    "masked": (lambda: bert("BertForMaskedLM"), ignored_first),
    "causal": (gpt2, ignored_first),
}


def trainer(model, data, tmp_path, kind=None, **settings):
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, report_to=[], per_device_train_batch_size=5, **settings
    )
    return (kind or transformers.Trainer)(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=data[:6],
        data_collator=transformers.default_data_collator,
    )


def oracle(model, data, direction):
    """directionᵀ∇L_j with the library's own loss, sample by sample."""
    model.eval()
    parameters = [value for value in model.parameters() if value.requires_grad]
    scores = []
    for row in data:
        one = {key: value[None] for key, value in row.items()}
        out = model(**one)
        labels = one["labels"]
        if out.logits.ndim == 3:
            counted = labels[:, 1:] if isinstance(model, transformers.GPT2LMHeadModel) else labels
            tokens = int((counted != -100).sum())
        else:
            tokens = 1
        gradients = torch.autograd.grad(out.loss * tokens, parameters, allow_unused=True)
        pairs = zip(gradients, parameters, strict=True)
        flat = torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])
        scores.append(float(flat.double() @ direction))
    return np.array(scores)


@pytest.mark.parametrize("name", KINDS)
def test_a_trainer_gives_model_data_and_loss(name, tmp_path):
    build, labels = KINDS[name]
    model, data = build(), rows(labels)
    puma = pf.Puma.from_trainer(trainer(model, data, tmp_path), damping=0.1)
    assert puma.n == N
    assert puma._data.batch_size == 5
    assert puma._holdout.n == 6
    with puma._objective.untouched():
        direction = puma._influence.inverse(
            puma._influence.passes.gradient_sum(np.arange(3), np.ones(3)), stage="solve"
        ).x
        got = np.concatenate(
            [puma._objective.derivatives(each, direction).numpy() for _, each in puma._data.batches()]
        )
    want = oracle(model, data, direction)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())
    assert puma.remove([0, 1]).report.after.criterion > 0


def test_a_trainer_that_was_run_is_read_in_order(tmp_path):
    model, data = KINDS["classification"][0](), rows(a_class)
    ran = trainer(model, data, tmp_path, num_train_epochs=1, save_strategy="no", disable_tqdm=True)
    ran.train()
    direct = pf.Puma(ran.model, data, holdout=data[:6], damping=0.1, batch_size=5)
    one = pf.Puma.from_trainer(ran, damping=0.1)
    # The one loss is the trainer's, the other by name: they round apart.
    np.testing.assert_allclose(one.influence(), direct.influence(), rtol=1e-5)


class Weighted(transformers.Trainer):
    def compute_loss(self, model, inputs, **_):
        logits = model(input_ids=inputs["input_ids"]).logits
        return 3 * functional.cross_entropy(logits, inputs["labels"])


def test_a_trainer_that_minimises_something_else_is_refused(tmp_path):
    model, data = KINDS["classification"][0](), rows(a_class)
    with pytest.raises(ValueError, match=r"the trainer's loss of the first sample is .*Pass loss="):
        pf.Puma.from_trainer(trainer(model, data, tmp_path, Weighted))
    given = pf.Puma.from_trainer(
        trainer(model, data, tmp_path, Weighted),
        loss=lambda logits, labels: 3 * functional.cross_entropy(logits, labels, reduction="none"),
    )
    assert given.n == N
    with pytest.raises(ValueError, match=r"the loss of BertModel is not known; pass loss="):
        pf.Puma.from_trainer(trainer(bert("BertModel"), data, tmp_path))


class Regression(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 1)
        )

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        loss = functional.mse_loss(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


class Line(lightning.LightningDataModule):
    def setup(self, stage):
        x = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
        self.data = TensorDataset(x, x.sum(1, keepdim=True))

    def train_dataloader(self):
        return DataLoader(self.data, batch_size=4, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.data, batch_size=4)


def test_a_lightning_module_is_scored_as_the_network_that_it_is(tmp_path):
    module, lines = Regression(), Line()
    lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    ).fit(module, datamodule=lines)
    kept = module._trainer
    puma = pf.Puma.from_lightning(module, lines, loss="mse_loss", damping=0.1)
    direct = pf.Puma(
        module.net, lines.data.tensors, "mse_loss", holdout=lines.data, damping=0.1, batch_size=4
    )
    np.testing.assert_array_equal(puma.influence(), direct.influence())
    assert module._trainer is kept
    patched = puma.remove([0]).model
    assert type(patched) is Regression
    assert patched._trainer is None
    # Training goes on in the module that the user holds, and is noticed.
    before = puma.influence()
    with torch.no_grad():
        module.net[0].weight.mul_(2)
    assert not np.array_equal(puma.influence(), before)


def test_a_loss_that_the_training_step_does_not_compute_is_refused():
    with pytest.raises(ValueError, match=r"the training step's loss .*name the one that was minimised"):
        pf.Puma.from_lightning(Regression(), Line(), loss="l1_loss")
