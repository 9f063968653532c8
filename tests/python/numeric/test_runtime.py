"""What every function of the core promises at run time: the GIL, Ctrl-C, fork, threads, memory, layout."""

import ast
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import puma_fast as pf
from puma_fast import _core, numeric
from puma_fast.numeric.arrays import as_floats
from puma_fast.numeric.order import prune

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 5, 300_000)


def clusters(X, **options):
    result = pf.kmeans(X.reshape(-1, 10), 6, **options)
    return result.labels, result.centers, result.inertia, result.n_iter


CALLS = {
    "top_k": lambda x, **options: pf.top_k(x.ravel(), 5000, **options),
    "argsort": lambda x, **options: pf.argsort(x.ravel(), **options),
    "top_k, unsorted": lambda x, **options: pf.top_k(x.ravel(), 90_000, sorted=False, **options),
    "select_scores": lambda x, **options: pf.select_scores(x.ravel(), at_least=0.5, **options),
    "prune": lambda x, **options: prune(x.ravel(), ratio=0.3, labels=LABELS, **options),
    "group_sums": lambda x, **options: pf.group_sums(x.ravel(), LABELS, n_groups=5, **options),
    "kmeans": clusters,
    "solve_weights": lambda x, **options: pf.solve_weights(x.ravel(), target=40.0, **options),
    "solve_weights, 10 criteria": lambda x, **options: pf.solve_weights(
        x.reshape(-1, 10), target=np.arange(10.0), **options
    ),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def bits(result):
    parts = result if isinstance(result, tuple) else (result,)
    return [np.asarray(part).tobytes() for part in parts]


@every_call
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_number_of_threads_changes_no_bit(call, dtype):
    x = RNG.standard_normal(300_000).round(2).astype(dtype)
    one = bits(call(x, n_threads=1))
    for n_threads in (2, 7, None):
        assert bits(call(x, n_threads=n_threads)) == one


@every_call
def test_layout_and_permission_do_not_matter(call):
    x = RNG.standard_normal((30_000, 10))
    expected = bits(call(x))
    frozen = x.copy()
    frozen.flags.writeable = False
    strided = np.repeat(x, 2, axis=1)[:, ::2]
    swapped = x.astype(x.dtype.newbyteorder())
    unaligned = np.frombuffer(b"\0" + x.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(x.shape)
    assert not strided.flags.c_contiguous
    assert not unaligned.flags.aligned
    for same in (frozen, np.asfortranarray(x), strided, swapped, unaligned):
        assert bits(call(same)) == expected


@every_call
@pytest.mark.parametrize(
    ("n_threads", "error", "words"),
    [
        (0, ValueError, ["n_threads", "at least 1", "0"]),
        (-3, ValueError, ["n_threads", "at least 1", "-3"]),
        (1.5, TypeError, ["n_threads", "integer", "1.5"]),
    ],
)
def test_threads_are_counted(call, n_threads, error, words):
    with pytest.raises(error) as caught:
        call(np.zeros(300_000), n_threads=n_threads)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_contiguous_floats_are_read_in_place(dtype):
    x = np.zeros((4, 3), dtype=dtype)
    assert np.shares_memory(as_floats("x", x, ndim=2), x)
    assert as_floats("x", x, ndim=2).__array_interface__["data"] == x.__array_interface__["data"]


MEMORY = """
import resource, sys
import numpy as np
import puma_fast as pf
x = np.random.default_rng(0).random(int(sys.argv[1]), dtype=sys.argv[2])
pf.top_k(x[:100_000], 10, n_threads=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pf.top_k(x, 1000, n_threads=2)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / x.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_selection_takes_no_memory_of_the_inputs_size(dtype):
    ran = python(MEMORY, ["30000000", dtype], timeout=100)
    assert float(ran.stdout) < 0.1, ran


@every_call
def test_other_threads_run_during_a_call(call):
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(1e-3)

    x = RNG.standard_normal(300_000)
    thread = threading.Thread(target=tick)
    switch = sys.getswitchinterval()
    # So long that a thread gets the GIL from a call only if the call gives it up.
    sys.setswitchinterval(100)
    try:
        thread.start()
        spans = []
        while sum(end - start for start, end in spans) < 0.5:
            start = time.perf_counter()
            call(x, n_threads=1)
            spans.append((start, time.perf_counter()))
    finally:
        done.set()
        sys.setswitchinterval(switch)
        thread.join()
    assert sum(start < tick < end for start, end in spans for tick in ticks) >= 20


INTERRUPTED = """
import signal
import sys
import numpy as np
import puma_fast as pf
from puma_fast.numeric.order import prune
rng = np.random.default_rng(0)
if sys.argv[1] == "kmeans":
    X = rng.random((200_000, 50), dtype=np.float32)
    run = lambda: pf.kmeans(X, 300, tol=0, max_iter=10**9, n_threads=2)
elif sys.argv[1] == "solve_weights":
    psi = np.tile(rng.random((1000, 256), dtype=np.float32), (1000, 1))
    run = lambda: pf.solve_weights(psi, psi[:100], n_threads=2)
else:
    x = rng.random(30_000_000, dtype=np.float32)
    labels = rng.integers(0, 1000, len(x), dtype=np.int32)
    run = {
        "prune": lambda: prune(x, ratio=0.3, labels=labels, n_threads=1),
        "argsort": lambda: pf.argsort(x, n_threads=1),
    }[sys.argv[1]]
# A shell that runs the tests in the background hands down an ignored SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
try:
    while True:
        run()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize(
    ("call", "wait"),
    [
        ("kmeans", 0.3),
        ("kmeans", 3.0),
        *(("prune", wait) for wait in (0.02, 0.2, 0.4)),
        ("argsort", 0.2),
        ("solve_weights", 0.3),
        ("solve_weights", 3.0),
    ],
)
def test_ctrl_c_is_answered_within_a_second(call, wait):
    """At several stages of the work."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, call], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(wait)
            assert process.poll() is None
            sent = time.perf_counter()
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
            assert time.perf_counter() - sent < 1
        finally:
            process.kill()


FORKED = """
import os, sys
import numpy as np
import puma_fast as pf
from puma_fast.numeric.order import prune
x = np.random.default_rng(0).standard_normal(300_000)
calls = [
    lambda: pf.top_k(x, 5000, n_threads=2),
    lambda: pf.argsort(x, n_threads=2),
    lambda: prune(x, ratio=.3, n_threads=2),
    lambda: pf.kmeans(x.reshape(-1, 10), 6, n_threads=2).labels,
    lambda: pf.solve_weights(x, target=40.0, n_threads=2),
    lambda: pf.solve_weights(x.reshape(-1, 10), target=np.arange(10.0), n_threads=2),
]
expected = [call() for call in calls]
child = os.fork()
if child == 0:
    same = all(np.array_equal(call(), result) for call, result in zip(calls, expected))
    os._exit(0 if same else 3)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
print(all(np.array_equal(call(), result) for call, result in zip(calls, expected)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_of_a_parent_that_used_the_pool_answers():
    assert python(FORKED, [], timeout=60).stdout.split() == ["0", "True"]


def python(script, arguments, timeout):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=True,
    )


def test_every_function_of_the_core_is_wrapped():
    exported = {name for name in dir(_core) if callable(getattr(_core, name)) and not name.startswith("_")}
    (folder,) = numeric.__path__
    used = {
        node.attr
        for file in Path(folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_core"
    }
    assert exported
    assert exported == used
