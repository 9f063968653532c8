"""The receipt: every figure in valid JSON, and a page that needs nothing and escapes everything."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

from puma_fast import Puma
from puma_fast.score.solve import Solve


def problem(seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(90, 4, generator=generator, dtype=torch.float64)
    y = (X[:, 0] + 0.5 * torch.randn(90, generator=generator, dtype=torch.float64) > 0).long()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Linear(4, 2, dtype=torch.float64)
    options = {"holdout": (X[60:], y[60:]), "weight_decay": 0.1} | options
    return Puma(model, (X[:60], y[:60]), **options)


@pytest.fixture(scope="module")
def removal():
    return problem().remove([1, 2, 3, 4], l1=0.0)


class Page(HTMLParser):
    """What a page asks for, and what it says."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.asked, self.open, self.text = [], [], [], []
        self.feed(text)
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            local = (value or "").startswith("#")
            if name.split(":")[-1] in {"src", "href", "srcset", "action", "data"} and not local:
                self.asked.append((tag, name, value))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "title"}:
            self.text.append(data)


def strict(text):
    def refuse(constant):
        pytest.fail(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_holds_every_figure(removal, tmp_path):
    report = removal.report
    receipt, _ = report.save(tmp_path / "made" / "here")
    assert receipt == tmp_path / "made" / "here" / "report.json"
    stored = strict(receipt.read_text())
    assert stored == report.numbers()
    assert stored["settings"]["weight_decay"] == 0.1
    assert stored["settings"]["loss"] == "cross_entropy"
    assert stored["eta_n"] == pytest.approx(1.0)


def test_what_json_does_not_know_becomes_null(removal, tmp_path):
    lost = Solve(torch.zeros(10), math.nan, 0, math.inf, "solved")
    report = replace(removal.report, removal=replace(removal, solves={"criterion": lost}))
    stored = strict(report.save(tmp_path)[0].read_text())
    assert stored["solves"]["criterion"] == {
        "status": "solved",
        "iterations": 0,
        "residual": None,
        "smallest_ritz": None,
    }


def test_the_page_needs_nothing(removal, tmp_path):
    page = Page(removal.report.save(tmp_path)[1].read_text())
    assert page.asked == []
    assert page.open == []
    assert "script" not in page.tags
    assert page.tags.count("svg") == 1


def test_the_page_loads_nothing_from_styles(removal, tmp_path):
    text = removal.report.save(tmp_path)[1].read_text()
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_the_page_tells_what_it_cost(removal, tmp_path):
    report = removal.report
    page = Page(report.save(tmp_path)[1].read_text())
    assert "4 of 60 training samples removed" in page.words
    for figure in (report.before.criterion, report.after.criterion, report.plain.criterion):
        assert f"{figure:.4f}" in page.words
    assert f"{report.after.criterion - report.before.criterion:+.3g}" in page.words
    assert "best threshold in hindsight" in page.words
    for stage in report.seconds:
        assert f"time: {stage}" in page.words


def test_the_page_follows_dark_and_light(removal, tmp_path):
    text = removal.report.save(tmp_path)[1].read_text()
    assert "prefers-color-scheme: dark" in text
    drawn = text[text.index("<svg") : text.index("</svg>")]
    assert "var(--ink)" in drawn
    assert "#1f2429" not in drawn


def test_everything_from_outside_is_escaped(removal, tmp_path):
    def evil(model):
        return model.weight.square().sum()

    evil.__name__ = "<script>alert('&')</script>"
    report = problem(criterion=evil).remove([1, 2]).report
    text = report.save(tmp_path)[1].read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert page.words.count("<script>alert('&')</script>") >= 2


@pytest.mark.parametrize(
    ("options", "arguments", "says"),
    [
        ({}, {"up": None}, "no sample was allowed to be reweighted"),
        ({}, {"l1": 1e9}, "all weights are nought"),
        ({"holdout": None, "criterion": lambda model: model.weight.sum()}, {}, "No data was held out"),
    ],
    ids=["plain", "priced out", "no holdout"],
)
def test_every_kind_of_removal_has_a_page(tmp_path, options, arguments, says):
    report = problem(**options).remove([1, 2], **arguments).report
    receipt, shown = report.save(tmp_path)
    strict(receipt.read_text())
    assert says in Page(shown.read_text()).words


def test_regression_has_a_page(tmp_path):
    X = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    model = nn.Linear(1, 1, dtype=torch.float64)
    puma = Puma(model, (X[::2], 2 * X[::2]), "mse_loss", holdout=(X[1::2], 2 * X[1::2]))
    words = Page(puma.remove([3]).report.save(tmp_path)[1].read_text()).words
    assert "Accuracy" not in words
    assert "Marked samples: loss" in words


def test_saving_again_replaces_whole_files(removal, tmp_path):
    removal.report.save(tmp_path)
    (tmp_path / "report.json").write_text("old")
    removal.report.save(tmp_path)
    strict((tmp_path / "report.json").read_text())
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.html"}


def test_a_failing_page_leaves_the_old_one(removal, tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")
    monkeypatch.setattr("puma_fast.audit.page.render", lambda report: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        removal.report.save(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.html"}


WITHOUT = """
import sys, warnings

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {absent!r} else real(name, *rest)
sys.meta_path.insert(0, Absent())
import torch, puma_fast
X = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
puma = puma_fast.Puma(
    torch.nn.Linear(1, 1, dtype=torch.float64), (X[:30], X[:30]), "mse_loss", holdout=(X[30:], X[30:])
)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("default")
    written = puma.remove([3]).report.save({folder!r})
print([path.name for path in written])
print(*(str(each.message) for each in seen))
"""


@pytest.mark.parametrize("absent", ["jinja2", "matplotlib"])
def test_without_the_extra_the_json_is_written_and_the_extra_named(absent, tmp_path):
    code = WITHOUT.format(absent=absent, folder=str(tmp_path))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    files, warning = ran.stdout.splitlines()
    assert files == "['report.json']"
    assert warning.startswith(f"no HTML page is written, only report.json: {absent} not installed")
    assert 'pip install "puma-fast[report]"' in warning
    strict((tmp_path / "report.json").read_text())
