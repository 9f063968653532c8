"""Run the benches and record their tables in benches/RESULTS.md: ``python record.py [bench_name ...]``.

A bench is a script ``bench_*.py`` beside this file that prints Markdown. Without names every one runs but
the `STUDIES`; a bench that does not run, or fails, keeps the section it has.
"""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from puma_fast import _core

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "RESULTS.md"
STUDIES = {"bench_influence", "bench_lds"}
"""Benches of a quarter of an hour and more, which make environments for the rivals; run by name."""

PREAMBLE = """# Results

Each section is the output of one script in `benches/python`, written by `make bench`.
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
        return subprocess.check_output(["git", *arguments], cwd=HERE.parents[1], text=True).strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benches/RESULTS.md")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


def main(names: list[str]) -> int:
    """Run the benches called `names`, or all, and rewrite their sections."""
    if _core.build_profile != "release":
        sys.exit("the compiled module is a debug build; its times would mean nothing: run make bench")
    scripts = {path.stem: path for path in sorted(HERE.glob("bench_*.py"))}
    unknown = set(names) - set(scripts)
    if unknown:
        sys.exit(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(scripts)}")

    text = RESULTS.read_text() if RESULTS.exists() else ""
    parts = re.split(r"^## (bench_\w+)\n", text, flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    failed = []
    for name in names or sorted(set(scripts) - STUDIES):
        print(f"== {name}", flush=True)
        run = subprocess.run([sys.executable, scripts[name]], stdout=subprocess.PIPE, text=True, check=False)
        print(run.stdout)
        if run.returncode:
            failed.append(name)
            continue
        sections[name] = (
            f"\n`python benches/python/{name}.py` at commit {commit()} on {machine()}, "
            f"Python {platform.python_version()}.\n\n{run.stdout.strip()}\n\n"
        )
    kept = "\n".join(
        f"## {name}\n{sections[name]}".rstrip() + "\n" for name in sorted(sections) if name in scripts
    )
    RESULTS.write_text(f"{PREAMBLE}\n{kept}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
