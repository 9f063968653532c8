"""Whatever the command: version and help are quick, what is missing is said, and an end leaves no mess."""

import re

import pytest
import torch

import puma_fast
from cli.user import refusal, remove, run


def test_version_tells_the_build_without_importing_torch():
    code = """
import sys
from puma_fast.cli import main
try:
    main(["--version"])
finally:
    print("torch" in sys.modules)
"""
    ran = run(code=code)
    version, imported = ran.stdout.splitlines()
    core = puma_fast._core
    torch_version = torch.__version__.partition("+")[0]
    assert version.startswith(
        f"puma-fast {puma_fast.__version__} ({core.build_profile} build, {core.simd_level}"
    )
    assert f"torch {torch_version}" in version
    assert imported == "False"


def test_help_names_the_commands():
    ran = run("--help")
    assert ran.returncode == 0
    assert re.search(r"^\s+demo\s", ran.stdout, re.MULTILINE)
    assert re.search(r"^\s+remove\s", ran.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("absent", "extra"), [("torch", "torch"), ("safetensors", "torch"), ("sklearn", "study")]
)
def test_a_missing_extra_is_said_before_anything_else(tmp_path, absent, extra):
    code = f"""
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {absent!r} else real(name, *rest)
from puma_fast.cli import main
sys.exit(main())
"""
    said = refusal(run("demo", "--out", "out", code=code, cwd=tmp_path))
    assert said == f'{absent} not installed; pip install "puma-fast[{extra}]"'
    assert list(tmp_path.iterdir()) == []


def test_traceback_is_shown_on_request(here, tmp_path):
    code = "import sys; from puma_fast.cli import main; sys.exit(main())"
    ran = remove(here, tmp_path, "--traceback", holdout="problem:broken", code=code)
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    assert "in broken" in ran.stderr


def test_an_interruption_is_no_traceback_and_leaves_no_half_file(here, tmp_path):
    code = """
import sys
import puma_fast.plot
from puma_fast.cli import main
def interrupted(report):
    raise KeyboardInterrupt
puma_fast.plot.plot_removal = interrupted
sys.exit(main())
"""
    ran = remove(here, tmp_path, code=code)
    assert ran.returncode == 130
    assert ran.stderr == "puma-fast: interrupted\n"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".") or path.suffix == ".html"]
