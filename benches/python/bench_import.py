"""The time of `import puma_fast` beside `import numpy`: what a script pays that only might use the package.

And of the first influence of a process beside `import torch`: what a script pays that asks once. Fresh
interpreters, in turn, timed inside (the interpreter's own start-up is nobody's merit).
"""

import importlib.util
import statistics
import subprocess
import sys

ROUNDS = 15
STATEMENTS = {
    "import puma_fast": "import puma_fast",
    "import puma_fast.numeric, which needs NumPy": "import puma_fast.numeric.arrays",
    "import numpy": "import numpy",
}


FIRST = {
    "import torch": ("", "import torch"),
    "first influence of 200 samples on a small network, torch imported": (
        "import torch, puma_fast as pf; X, y = torch.randn(200, 5), torch.arange(200) % 3;"
        "model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))",
        "pf.Puma(model, (X, y), holdout=(X, y)).influence()",
    ),
}


def milliseconds(statement: str, before: str = "") -> float:
    """Time `statement` in an interpreter of its own, what comes `before` it aside."""
    code = (
        f"import time; {before}\nstart = time.perf_counter(); {statement}; "
        "print((time.perf_counter() - start) * 1e3)"
    )
    return float(subprocess.check_output([sys.executable, "-c", code], text=True))


def table(contenders, yardstick: str) -> None:
    """Print the milliseconds of each of (before, statement), and their ratio to the yardstick's."""
    for before, statement in contenders.values():
        milliseconds(statement, before)  # the first run reads the files from the disk
    times = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (before, statement) in contenders.items():
            times[name].append(milliseconds(statement, before))

    rival = statistics.median(times[yardstick])
    print(f"| | median | least | most | median / that of {yardstick} |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"| {name} | {median:.1f} | {min(taken):.1f} | {max(taken):.1f} | {median / rival:.2f} |")


def main() -> None:
    """Print the tables."""
    print(f"Milliseconds, {ROUNDS} fresh interpreters each, in turn.\n")
    table({name: ("", statement) for name, statement in STATEMENTS.items()}, "import numpy")
    print()
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: its table is left out.")
    else:
        table(FIRST, "import torch")


if __name__ == "__main__":
    main()
