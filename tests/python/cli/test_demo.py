"""The demonstration shows an effect, says it in words, and is silent beside its report."""

import json

import pytest

from cli.user import run


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    figure = folder / "demo.png"
    return run("demo", "--out", folder / "report", "--figure", figure, cwd=folder), folder


def test_the_demo_shows_an_effect_of_the_reweighting(demo):
    ran, folder = demo
    assert ran.returncode == 0, ran.stderr
    numbers = json.loads((folder / "report" / "report.json").read_text())
    assert numbers["b"] != 0
    assert numbers["weights"]["nnz"] > 0
    ours, plain = numbers["criterion_change"]["after"], numbers["criterion_change"]["plain"]
    assert abs(ours["measured"]) < abs(plain["measured"])
    assert abs(ours["predicted_by_patch"]) < 1e-2 * abs(plain["predicted_by_patch"])
    before, after = numbers["measured"]["before"], numbers["measured"]["after"]
    assert after["marked_confidence"] < before["marked_confidence"]


def test_the_demo_says_in_words_what_the_json_holds(demo):
    ran, folder = demo
    numbers = json.loads((folder / "report" / "report.json").read_text())
    ours, plain = numbers["criterion_change"]["after"], numbers["criterion_change"]["plain"]
    assert f"(b = {numbers['b']:.3g})" in ran.stdout
    for change in (ours, plain):
        assert f"{change['predicted_by_patch']:+.1e}" in ran.stdout
        assert f"{change['measured']:+.1e}" in ran.stdout
    assert "membership attack: AUC" in ran.stdout
    assert "300 digits that took no part" in ran.stdout


def test_the_demo_saves_and_is_silent_beside_its_report(demo):
    ran, folder = demo
    assert ran.stderr == ""
    assert {path.name for path in (folder / "report").iterdir()} == {"report.json", "report.html"}
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "demo.png").stat().st_size < 150_000
