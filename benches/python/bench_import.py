"""The time of `import puma_fast` beside `import numpy`: what a script pays that only might use the package.

Fresh interpreters, in turn, timed inside (the interpreter's own start-up is nobody's merit).
"""

import statistics
import subprocess
import sys

ROUNDS = 15
STATEMENTS = {
    "puma_fast": "import puma_fast",
    "puma_fast.numeric, which needs NumPy": "import puma_fast.numeric.arrays",
    "numpy": "import numpy",
}


def milliseconds(statement: str) -> float:
    """Time `statement` in an interpreter of its own."""
    code = (
        f"import time; start = time.perf_counter(); {statement}; print((time.perf_counter() - start) * 1e3)"
    )
    return float(subprocess.check_output([sys.executable, "-c", code], text=True))


def main() -> None:
    """Print the medians and their ratio."""
    for statement in STATEMENTS.values():
        milliseconds(statement)  # the first import reads the files from the disk
    times = {name: [] for name in STATEMENTS}
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            times[name].append(milliseconds(statement))

    rival = statistics.median(times["numpy"])
    print(f"Milliseconds to import, {ROUNDS} fresh interpreters each, in turn.\n")
    print("| import | median | least | most | median / numpy's |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"| {name} | {median:.1f} | {min(taken):.1f} | {max(taken):.1f} | {median / rival:.2f} |")


if __name__ == "__main__":
    main()
