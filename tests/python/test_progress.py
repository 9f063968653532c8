"""Bars: silent where nobody looks, seen after two seconds where somebody does, and no bit changed by them."""

import os
import select
import subprocess
import sys
import time
from contextlib import ExitStack

import numpy as np
import pytest

import puma_fast as pf
from puma_fast import progress
from puma_fast.numeric.reweight import solve_weights_path
from puma_fast.numeric.shard import Shard
from puma_fast.progress import each, reporting

RNG = np.random.default_rng(0)


def told_of(call, size):
    """Run `call(size, progress)` with ever more rows until it takes long enough to tell of itself."""
    heard = []
    while True:
        result = call(size, lambda *counts: heard.append(counts))
        if heard:
            return result, call(size, False), heard
        size *= 4


def test_kmeans_tells_of_its_centers_and_iterations_and_changes_no_bit():
    def call(rows, report):
        X = np.random.default_rng(0).random((rows, 6), dtype=np.float32)
        return pf.kmeans(X, 60, n_init=2, max_iter=20, progress=report)

    told, silent, heard = told_of(call, 30_000)
    np.testing.assert_array_equal(told.labels, silent.labels)
    np.testing.assert_array_equal(told.centers, silent.centers)
    assert (told.inertia, told.n_iter) == (silent.inertia, silent.n_iter)
    for done, total, unit in heard:
        assert (unit, total) in {("center", 60), ("iteration", None)}
        assert 0 <= done < 60


def test_weights_for_several_criteria_tell_of_their_steps_and_change_no_bit():
    def call(rows, report):
        psi = np.random.default_rng(0).standard_normal((rows, 24))
        return pf.solve_weights(psi, target=np.ones(24), l1=0.0, progress=report)

    told, silent, heard = told_of(call, 20_000)
    np.testing.assert_array_equal(told, silent)
    assert all(total is None and unit in {"step", "step on a sample"} for _, total, unit in heard)


def test_marking_tells_of_its_classes_and_changes_no_bit():
    X, y = RNG.random((90, 2)), np.repeat([3, 5, 9], 30)
    heard = []
    marked = pf.mark_clusters(X, y, progress=lambda *counts: heard.append(counts))
    assert [heard.index((done, 3, "class")) for done in range(3)] == sorted(map(heard.index, set(heard)))
    np.testing.assert_array_equal(marked, pf.mark_clusters(X, y, progress=False))


def test_a_path_tells_of_its_prices():
    heard = []
    solve_weights_path(
        [3.0, -4.0], target=25.0, l1s=[1.0, 2.0], progress=lambda *counts: heard.append(counts)
    )
    assert heard == [(0, 2, "price"), (1, 2, "price")]


def test_sorting_and_pruning_tell_of_their_samples_and_change_no_bit():
    def scores(rows):
        return np.random.default_rng(rows).standard_normal(rows)

    def pruned(rows, report):
        # Labels so far apart are looked up by name, which takes its time.
        labels = (np.arange(rows) % 7) << 40
        return pf.prune_by_margin(scores(rows), ratio=0.3, labels=labels, n_threads=1, progress=report)

    def sorted_(rows, report):
        return pf.argsort(scores(rows), n_threads=1, progress=report)

    for call in (pruned, sorted_):
        told, silent, heard = told_of(call, 4_000_000)
        np.testing.assert_array_equal(told, silent)
        assert {unit for *_, unit in heard} == {"sample"}
        done = [done for done, *_ in heard]
        assert done == sorted(done)
        assert all(0 <= done <= total for done, total, _ in heard)


SELECTIONS = {
    "top_k": lambda x, **options: pf.top_k(x, 700, **options),
    "bottom_k": lambda x, **options: pf.bottom_k(x, 70_000, sorted=False, **options),
    "select_scores": lambda x, **options: pf.select_scores(x, at_least=0.5, **options),
    "suspects": lambda x, **options: pf.suspects(x, x[::-1], 700, **options),
    "prune_by_margin": lambda x, **options: pf.prune_by_margin(x, ratio=0.5, **options),
}


@pytest.mark.parametrize("call", SELECTIONS.values(), ids=SELECTIONS.keys())
def test_selections_tell_of_their_samples_and_change_no_bit(call):
    """A connection that takes its time lets a short call be told of."""
    x, heard = RNG.standard_normal(100_000), []

    def slow(values):
        time.sleep(0.25)
        return values

    told = call(x, shard=Shard(0, 1, slow), progress=lambda *counts: heard.append(counts))
    np.testing.assert_array_equal(told, call(x, progress=False))
    assert all(0 <= done <= total and unit == "sample" for done, total, unit in heard)
    assert heard
    assert heard == sorted(heard)


class StopError(Exception):
    pass


def stop(*_):
    raise StopError


# Each would go on for hours.
ENDLESS = {
    "kmeans": lambda report: pf.kmeans(RNG.random((2000, 5)), 20, n_init=10**8, progress=report),
    "mark_clusters": lambda report: pf.mark_clusters(
        RNG.random((2000, 5)), np.zeros(2000), n_init=10**8, progress=report
    ),
    "solve_weights_path": lambda report: solve_weights_path(
        RNG.random((99, 5)), target=np.ones(5), l1s=np.ones(10**7), progress=report
    ),
}


@pytest.mark.parametrize("call", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_the_callable_raises_ends_the_call(call):
    with pytest.raises(StopError):
        call(stop)


def test_what_the_callable_raises_ends_a_solve():
    def call(rows):
        psi = np.random.default_rng(0).standard_normal((rows, 24))
        pf.solve_weights(psi, target=np.ones(24), l1=0.0, progress=stop)
        call(4 * rows)

    with pytest.raises(StopError):
        call(20_000)


@pytest.mark.parametrize("given", ["yes", 1, 2.0])
def test_a_progress_of_another_kind_is_refused(given):
    calls = [
        lambda: pf.kmeans(np.zeros((4, 1)), 2, progress=given),
        lambda: pf.mark_clusters(np.zeros((4, 1)), np.zeros(4), clusters_per_class=2, progress=given),
        lambda: pf.solve_weights([1.0], target=1.0, progress=given),
        lambda: solve_weights_path([1.0], target=1.0, l1s=[1.0], progress=given),
        lambda: pf.argsort([1.0], progress=given),
        lambda: pf.group_sums([1.0], [0], n_groups=1, progress=given),
        *(lambda call=call: call(np.zeros(100_000), progress=given) for call in SELECTIONS.values()),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"progress must be True, False, None or a callable"):
            call()


@pytest.mark.parametrize(("asked", "seen"), [(None, False), (True, True), (False, False)])
def test_a_bar_is_seen_where_it_is_asked_for_or_on_a_terminal(monkeypatch, capsys, asked, seen):
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with reporting("k-means", asked) as report:
        if report is not None:
            report(3, 10, "center")
            report(7, 10, "center")
            report(0, None, "iteration")
    shown = capsys.readouterr().err
    assert ("k-means" in shown) == seen
    assert ("/10" in shown) == ("0iteration" in shown) == seen


def test_a_bar_takes_in_a_total_that_grows(monkeypatch):
    shown, real = [], progress.bar

    def kept(*arguments, **options):
        shown.append(real(*arguments, **options))
        return shown[-1]

    monkeypatch.setattr(progress, "bar", kept)
    with reporting("selecting", True) as report:
        report(3, 10, "sample")
        report(20, 20, "sample")
    assert [(bar.n, bar.total) for bar in shown] == [(20, 20)]


def test_a_bar_is_not_seen_before_its_time(monkeypatch, capsys):
    monkeypatch.setattr(progress, "DELAY", 1e9)
    with reporting("k-means", True) as report:
        for done in range(100):
            report(done, 100, "center")
        report(1, None, "iteration")
    assert capsys.readouterr().err == ""


def test_bars_one_after_another_are_due_together(monkeypatch):
    """The second of two bars does not wait for its own two seconds."""
    clock, delays = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    real = progress.bar
    monkeypatch.setattr(progress, "bar", lambda *a, **b: delays.append(b["delay"]) or real(*a, **b))
    with reporting("k-means", None) as report:
        for now, unit in [(100.5, "center"), (101.25, "iteration"), (103.0, "center")]:
            clock[0] = now
            report(0, None, unit)
    assert delays == [1.5, 0.75, 0.0]


def test_of_several_shards_the_first_alone_shows_a_bar_unasked():
    shown = []
    for index in (0, 1):
        with reporting("k-means", None, Shard(index, 2, np.copy)) as report:
            shown.append(report is not None)
    assert shown == [True, False]
    shard = Shard(0, 1, lambda values: values)
    with pytest.raises(StopError):
        pf.kmeans(RNG.random((2000, 5)), 20, n_init=10**8, shard=shard, progress=stop)


def test_a_loop_moves_on_while_its_parts_work():
    heard = []
    for number, within in each([4, 6], "class", lambda *counts: heard.append(counts)):
        within(number, None, "iteration")
    assert heard == [(0, 2, "class")] * 2 + [(1, 2, "class")] * 2
    assert list(each([4, 6], "class", None)) == [(4, False), (6, False)]


SHOWN = """
import numpy as np
import puma_fast as pf
from puma_fast import progress
progress.DELAY = 0.0
bar = progress.bar
def told(*arguments, **options):
    print("told", flush=True)
    return bar(*arguments, **options)
progress.bar = told
pf.kmeans(np.random.default_rng(0).random((20_000, 5)), 30, n_init=10**8)
"""


@pytest.mark.skipif(os.name != "posix", reason="opens a pseudo-terminal")
def test_a_terminal_shows_a_long_call_and_a_file_does_not():
    import termios

    shown, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    command = [sys.executable, "-c", SHOWN]
    with ExitStack() as ended:
        ended.callback(os.close, shown)
        seen, silent = (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream)
            for stream in (terminal, subprocess.PIPE)
        )
        for run in (seen, silent):
            ended.enter_context(run)
            ended.callback(run.kill)
        os.close(terminal)
        text = b""
        while b"center" not in text or b"iteration" not in text:
            ready, _, _ = select.select([shown], [], [], 60)
            assert ready, text
            text += os.read(shown, 4096)
        assert b"k-means" in text
        for _ in range(3):
            assert silent.stdout.readline() == b"told\n"
        silent.kill()
        assert silent.stderr.read() == b""


def test_without_tqdm_a_long_call_is_silent():
    script = (
        "import sys; sys.modules['tqdm'] = None\n"
        "import numpy as np, puma_fast as pf\n"
        "from puma_fast.progress import reporting\n"
        "with reporting('k-means', True) as report:\n"
        "    report(1, None, 'iteration')\n"
        "print(pf.kmeans(np.eye(3), 2, progress=True).n_iter > 0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert (run.stdout, run.stderr) == ("True\n", "")
