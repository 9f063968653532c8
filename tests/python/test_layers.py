"""Who may import whom on the Rust side; import-linter keeps the same rule for Python."""

import re
from pathlib import Path

import pytest

RUST = Path(__file__).parents[2] / "rust"
FILES = sorted(path for path in RUST.rglob("*.rs") if path != RUST / "lib.rs")

FOUNDATIONS = {"error": 0, "float": 0, "shard": 1, "simd": 1, "par": 2, "vecmath": 3, "fixed": 4, "lanes": 5}
CAPABILITIES = {folder.name for folder in RUST.iterdir() if folder.is_dir()} - {"python", *FOUNDATIONS}
LAYER = FOUNDATIONS | dict.fromkeys(CAPABILITIES, 6) | {"python": 7}
REEXPORTED = {"Error": "error", "Result": "error", "Float": "float", "Context": "par", "Shards": "shard"}
OWNERS = {"rayon": {"par"}, "pulp": {"simd", "lanes"}, "pyo3": {"python"}, "numpy": {"python"}}


def module(path: Path) -> str:
    """Name the top-level module that the file belongs to."""
    return path.relative_to(RUST).parts[0].removesuffix(".rs")


def code(path: Path) -> str:
    """Give the file without its comments."""
    return re.sub(r"//.*", "", path.read_text())


def imported(text: str) -> set[str]:
    """Name the top-level modules of this crate that `text` mentions."""
    names = set(re.findall(r"\bcrate::(\w+)", text))
    for group in re.finditer(r"\bcrate::\{", text):
        depth, start = 1, group.end()
        for end in range(start, len(text)):
            if depth == 1 and text[end] in ",}":
                names |= set(re.findall(r"^\s*(\w+)", text[start:end]))
                start = end + 1
            depth += (text[end] == "{") - (text[end] == "}")
            if depth == 0:
                break
    return {REEXPORTED.get(name, name) for name in names}


def test_the_reader_understands_every_form_of_import():
    text = "use crate::par::{CHUNK, Context}; use crate::{Error, order::{a, b}, kmeans}; crate::simd::level()"
    assert imported(text) == {"par", "error", "order", "kmeans", "simd"}


def test_every_module_has_a_layer():
    assert {module(path) for path in FILES} == set(LAYER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(RUST)))
def test_a_module_imports_only_lower_layers(path):
    own = module(path)
    others = imported(code(path)) - {own}
    assert {name for name in others if LAYER[name] >= LAYER[own]} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(RUST)))
def test_a_foreign_crate_has_its_owners(path):
    named = {crate for crate in OWNERS if re.search(rf"\b{crate}::", code(path))}
    assert {crate for crate in named if module(path) not in OWNERS[crate]} == set()
