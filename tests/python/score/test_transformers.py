"""Models of `transformers`, built small and without a download, against dense float64 references.

The reference takes nothing from the package: gradients are those of the library's loss written out, one
sample at a time, and the curvature is written out from the Jacobian of the logits.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional

import puma_fast as pf
from puma_fast.score.curvature import Curvature

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
    peft = pytest.importorskip("peft")

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("error::UserWarning:puma_fast"),
]

N, LENGTH, VOCABULARY = 10, 5, 9
DAMPING, DECAY = 1.0, 0.01
IGNORED = -100


def bert():
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=5,
        max_position_embeddings=LENGTH,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config)


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=4, n_layer=1, n_head=2, n_inner=5
    )
    return transformers.GPT2LMHeadModel(config)


def adapted():
    """A fine-tune of which the adapter alone is trained; its second factor begins at nought."""
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
    model = peft.get_peft_model(gpt2(), config)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.3)
    return model


def batch(seed, *, causal):
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCABULARY, (N, LENGTH), generator=draw)
    lengths = torch.randint(3, LENGTH + 1, (N, 1), generator=draw)
    seen = torch.arange(LENGTH) < lengths
    labels = ids.masked_fill(~seen, IGNORED) if causal else torch.arange(N) % 3
    return {"input_ids": ids, "attention_mask": seen.long(), "labels": labels}


def following(logits, labels):
    """The loss of a causal model, as a user writes it."""
    return functional.cross_entropy(logits[:, :-1].movedim(-1, 1), labels[:, 1:], reduction="none")


MODELS = {
    "classifier": (bert, "cross_entropy", False),
    "language model": (gpt2, following, True),
    "adapter": (adapted, following, True),
}


@pytest.fixture(params=MODELS)
def case(request):
    build, loss, causal = MODELS[request.param]
    torch.manual_seed(1)
    model = build().double()
    # Drawn as wide as this, no gradient is next to nought.
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.3 * torch.randn_like(value))
    return model, loss, batch(0, causal=causal), batch(1, causal=causal), causal


def dense(model, data, causal):
    """The gradients (n, p) of the library's loss, and the mean Gauss-Newton matrix of the logits."""
    model = model.eval()
    parameters = [value for value in model.parameters() if value.requires_grad]

    def flat(value):
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        pairs = zip(gradients, parameters, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])

    gradients, curvature = [], 0
    for j in range(N):
        one = {key: value[j : j + 1] for key, value in data.items()}
        out = model(**one)
        labels = one["labels"][0, 1:] if causal else one["labels"]
        rows = (out.logits[0, :-1] if causal else out.logits)[labels != IGNORED]
        loss = functional.cross_entropy(rows, labels[labels != IGNORED], reduction="sum")
        # The library's own loss, which it computes in float32 for language models.
        assert float(loss) == pytest.approx(float(out.loss) * len(rows), rel=1e-5)
        gradients.append(flat(loss))
        for row in rows:
            jacobian = torch.stack([flat(value) for value in row])
            p = row.detach().softmax(0)
            curvature = curvature + jacobian.T @ (p.diag() - torch.outer(p, p)) @ jacobian
    return torch.stack(gradients), curvature / N


@pytest.mark.parametrize("batch_size", [4, N])
def test_scores_curvature_and_removal_are_those_of_the_dense_reference(case, batch_size):
    model, loss, data, holdout, causal = case
    puma = pf.Puma(
        model,
        data,
        loss,
        holdout=holdout,
        damping=DAMPING,
        weight_decay=DECAY,
        batch_size=batch_size,
    )
    gradients, curvature = dense(model, data, causal)
    gradient = dense(model, holdout, causal)[0].mean(0)
    matrix = curvature + (DAMPING + DECAY) * torch.eye(len(curvature), dtype=torch.float64)
    want = gradients @ torch.linalg.solve(matrix, gradient)
    assert float(want.abs().max()) > 1e-3
    np.testing.assert_allclose(puma.influence(), want, rtol=1e-6, atol=1e-8 * float(want.abs().max()))

    objective = puma._objective
    vector = torch.linspace(-1, 1, len(curvature), dtype=torch.float64)
    with objective.untouched():
        product = Curvature(objective, puma._data, "ggn", DAMPING) @ vector
    torch.testing.assert_close(product, matrix @ vector, rtol=1e-9, atol=1e-9)

    removal = puma.remove([0, 3], eta=0.01)
    assert removal.predicted.by_patch == pytest.approx(removal.predicted.by_scores, rel=1e-7)
    plain = puma.remove([0, 3], eta=0.01, up=None)
    step = 0.01 * torch.linalg.solve(matrix, gradients[[0, 3]].sum(0))
    got = torch.cat([value.flatten() for value in plain.delta.values()])
    torch.testing.assert_close(got, step, rtol=1e-6, atol=1e-8 * float(step.abs().max()))


def test_tied_weights_stay_tied(case):
    model, loss, data, holdout, causal = case
    patched = pf.Puma(model, data, loss, holdout=holdout, damping=DAMPING).remove([0, 3], eta=0.1).model
    if causal:
        inner = getattr(patched, "get_base_model", lambda: patched)()
        assert inner.lm_head.weight is inner.transformer.wte.weight


def test_of_an_adapted_model_the_adapter_alone_is_edited():
    torch.manual_seed(1)
    model = adapted()
    data = batch(0, causal=True)
    removal = pf.Puma(model, data, following, holdout=batch(1, causal=True)).remove([0, 3], eta=0.1)
    assert all("lora_" in name for name in removal.delta)
    before = dict(model.named_parameters())
    changed = {
        name for name, value in removal.model.named_parameters() if not torch.equal(value, before[name])
    }
    assert changed == set(removal.delta)


def test_a_half_precision_model_is_scored_as_its_float32_copy():
    torch.manual_seed(1)
    half = gpt2().bfloat16()
    data, holdout = batch(0, causal=True), batch(1, causal=True)
    settings = {"holdout": holdout, "damping": DAMPING}
    want = gpt2()
    want.load_state_dict({name: value.float() for name, value in half.state_dict().items()})
    np.testing.assert_array_equal(
        pf.Puma(half, data, following, **settings).influence(),
        pf.Puma(want, data, following, **settings).influence(),
    )


def test_a_batch_of_the_librarys_own_kind_goes_in_as_it_is():
    rows = batch(0, causal=False)
    items = [{key: value[j] for key, value in rows.items()} for j in range(N)]

    def collate(items):
        return transformers.BatchEncoding(torch.utils.data.default_collate(items))

    torch.manual_seed(1)
    model = bert()
    loader = torch.utils.data.DataLoader(items, batch_size=4, collate_fn=collate)
    settings = {"damping": DAMPING, "holdout": batch(1, causal=False), "batch_size": 4}
    np.testing.assert_array_equal(
        pf.Puma(model, loader, **settings).influence(), pf.Puma(model, rows, **settings).influence()
    )
