"""The package's front: light to import, honest about what is missing, the same for type checkers."""

import ast
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import puma_fast
from puma_fast import _core
from puma_fast.extras import EXTRAS

PUBLIC = sorted(puma_fast._HOME)
STUB = ast.parse(Path(puma_fast.__file__).with_suffix(".pyi").read_text())

# None in sys.modules makes an import fail as if the package were not installed.
BLOCK = (
    "import sys; sys.modules.update(dict.fromkeys(('torch', 'scipy', 'sklearn', 'matplotlib', 'jinja2')))\n"
)


def python(code: str, **environment: str) -> str:
    """Run `code` in a fresh interpreter and give what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_suite_runs_on_the_release_build():
    assert _core.build_profile == "release"


def test_import_loads_none_of_the_extras():
    loaded = python("import sys, puma_fast; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert not set(loaded) & {module for modules in EXTRAS.values() for module in modules}


def test_pip_brings_what_an_extra_needs():
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    declared = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]
    for extra, modules in EXTRAS.items():
        packages = {
            re.match(r"[\w-]+", each)[0].replace("scikit-learn", "sklearn") for each in declared[extra]
        }
        assert packages == set(modules)


@pytest.mark.parametrize("name", PUBLIC)
def test_without_torch_a_name_loads_or_says_what_to_install(name):
    outcome = python(
        f"{BLOCK}"
        "try:\n"
        f"    from puma_fast import {name}\n"
        "    print('loaded')\n"
        "except ImportError as refusal:\n"
        "    print(refusal)\n"
    )
    if puma_fast._HOME[name].startswith(("puma_fast.numeric.", "puma_fast.select.")):
        assert outcome == "loaded\n"
    else:
        assert outcome == "loaded\n" or 'pip install "puma-fast[' in outcome


@pytest.mark.parametrize(("package", "extra"), [("torch", "torch"), ("matplotlib", "plot")])
def test_a_missing_extra_is_named(tmp_path, package, extra):
    (tmp_path / "needs_an_extra.py").write_text(f"import {package}.nn\nfeature = 1\n")
    outcome = python(
        f"{BLOCK}"
        "import puma_fast\n"
        "puma_fast._HOME['feature'] = 'needs_an_extra'\n"
        "try:\n"
        "    puma_fast.feature\n"
        "except ImportError as refusal:\n"
        "    print(refusal, refusal.name)\n",
        PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]),
    )
    assert "puma_fast.feature needs" in outcome
    assert f'pip install "puma-fast[{extra}]" {package}\n' in outcome


def test_a_missing_module_of_no_extra_is_reported_as_it_is(monkeypatch):
    monkeypatch.setitem(puma_fast._HOME, "feature", "puma_fast.no_such_home")
    with pytest.raises(ModuleNotFoundError, match=r"puma_fast\.no_such_home"):
        _ = puma_fast.feature


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'nonsense'"):
        _ = puma_fast.nonsense


def test_a_name_is_looked_up_once():
    for name in PUBLIC:
        value = getattr(puma_fast, name)
        assert vars(puma_fast)[name] is value


def test_dir_lists_the_public_names():
    assert set(dir(puma_fast)) == {"__version__", *PUBLIC}


def test_the_stub_names_the_same_homes():
    homes = {
        alias.asname: node.module
        for node in ast.walk(STUB)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    }
    assert homes == puma_fast._HOME | {"__version__": "puma_fast._core"}


def test_the_stub_lists_the_same_names():
    (listed,) = [
        ast.literal_eval(node.value)
        for node in STUB.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert set(listed) == set(puma_fast.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example_and_explains_its_arguments(name):
    value = getattr(puma_fast, name)
    documentation = inspect.getdoc(value) or ""
    assert re.search(r"^Examples\n-{8}\n(.*\n)*?>>> ", documentation, re.MULTILINE)
    arguments = [argument for argument in inspect.signature(value).parameters if argument != "self"]
    described = re.search(
        r"^(?:Parameters|Attributes)\n-{10}\n((?:.*\n)*?)(?:\S+\n-{3,}\n|\Z)", documentation, re.MULTILINE
    )
    explained = described.group(1) if described else ""
    headings = re.findall(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: :.*)?$", explained, re.MULTILINE)
    names = {argument.strip("* ") for heading in headings for argument in heading.split(",")}
    assert names >= set(arguments)
