"""Run the benches and record their tables in benches/RESULTS.md: ``python record.py [name ...]``.

A bench prints Markdown: a script ``bench_*.py`` beside this file, or ``benches/rust/floors_*.rs``, what any
method must do at the least, which cargo runs. Without names every one runs but the `STUDIES`; a bench that
does not run, or fails, keeps the section it has.
"""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from puma_fast import _core

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE.parent / "RESULTS.md"
STUDIES = {"bench_influence", "bench_lds"}
"""Benches of a quarter of an hour and more, which make environments for the rivals; run by name."""

PREAMBLE = """# Results

Each section is the output of one bench in `benches/python` or `benches/rust`, written by `make bench`.
"""


def machine() -> str:
    """Name the processor, the cores this process may use and the instruction set dispatched to."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        model = re.search(r"model name\s*: (.*)", text)[1]
    except (OSError, TypeError):
        model = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, {_core.simd_level}"


def commit() -> str:
    """Name the commit measured, marked where a file other than the results differs from it."""

    def git(*arguments: str) -> str:
        return subprocess.check_output(["git", *arguments], cwd=ROOT, text=True).strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benches/RESULTS.md")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


def benches() -> dict[str, list[str]]:
    """Find every bench and the command that runs it in `ROOT`."""
    scripts = {path.stem: path.relative_to(ROOT) for path in HERE.glob("bench_*.py")}
    floors = [path.stem for path in ROOT.glob("benches/rust/floors_*.rs")]
    commands = {name: [sys.executable, str(path)] for name, path in scripts.items()}
    commands |= {name: ["cargo", "bench", "--locked", "--bench", name] for name in floors}
    return dict(sorted(commands.items()))


def version(command: list[str]) -> str:
    """Name what a bench is run by: this Python, or the Rust that cargo compiles with."""
    if command[0] == sys.executable:
        return f"Python {platform.python_version()}"
    return subprocess.check_output(["rustc", "--version"], cwd=ROOT, text=True).split(" (")[0]


def main(names: list[str]) -> int:
    """Run the benches called `names`, or all, and rewrite their sections."""
    if _core.build_profile != "release":
        sys.exit("the compiled module is a debug build; its times would mean nothing: run make bench")
    known = benches()
    unknown = set(names) - set(known)
    if unknown:
        sys.exit(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(known)}")

    text = RESULTS.read_text() if RESULTS.exists() else ""
    parts = re.split(r"^## (\w+)\n", text, flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    failed = []
    for name in names or [name for name in known if name not in STUDIES]:
        print(f"== {name}", flush=True)
        command = known[name]
        try:
            run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(error)
            failed.append(name)
            continue
        print(run.stdout)
        typed = " ".join(command).replace(sys.executable, "python")
        where = f"at commit {commit()} on {machine()}, {version(command)}"
        sections[name] = f"\n`{typed}` {where}.\n\n{run.stdout.strip()}\n\n"
    kept = "\n".join(
        f"## {name}\n{sections[name]}".rstrip() + "\n" for name in sorted(sections) if name in known
    )
    RESULTS.write_text(f"{PREAMBLE}\n{kept}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
