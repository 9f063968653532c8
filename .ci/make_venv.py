"""Make the project's environment: ``python make_venv.py UV VENV NAME``, run by the interpreter called NAME.

A torch that this interpreter already has is often the one that fits the machine (a CPU build, a vendor's
build, 2.5 GB not to be fetched again), so the new environment borrows it: it sees the interpreter's
packages behind its own, and the installer is told to leave torch alone. Nothing is written outside VENV,
and an environment that someone made there by hand is used, never replaced.
"""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

OLDEST_PYTHON = (3, 11)
OLDEST_TORCH = (2, 4)
BY_HAND = "made by hand"


def torch_version() -> "str | None":
    """Give the version of this interpreter's torch, None where it has none."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def main(uv: str, place: str, name: str) -> None:
    """Make the environment in the folder `place` with the program `uv`, and note `name` in it."""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(
            f"puma-fast needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}; "
            "name another one: make ... PYTHON=/path/to/python3.11"
        )
    venv = Path(place)
    note = venv / ".made"
    if venv.exists() and not note.exists():
        note.write_text(BY_HAND)
    if note.exists() and (note.read_text() == BY_HAND or venv.samefile(sys.prefix)):
        print(f"using {venv} as it stands; remove it to have it made from another interpreter")
        note.touch()
        return
    subprocess.run([uv, "venv", "--clear", "--python", sys.executable, venv], check=True)

    version = torch_version()
    if version is None:
        print(f"{sys.executable} has no torch; the registry's goes into {venv}")
    elif tuple(int(part) for part in version.split(".")[:2]) < OLDEST_TORCH:
        print(f"the torch {version} of {sys.executable} is older than 2.4; the registry's goes into {venv}")
    else:
        print(f"using the torch {version} of {sys.executable}")
        (venv / "borrowed.txt").write_text('torch; python_version < "0"\n')  # an override: install it nowhere
        packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        # Path files are read in the order of their names; the project's own, puma_fast.pth, must come first.
        (site,) = venv.glob("lib/python*/site-packages")
        (site / "torch_borrowed.pth").write_text("".join(f"{path}\n" for path in packages))
    note.write_text(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
