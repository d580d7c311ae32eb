"""The public API: `import alti2v` is light, and every name that it offers exists."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import alti2v

PACKAGE = Path(alti2v.__file__).parent


@pytest.mark.tf
@pytest.mark.parametrize("name", alti2v.__all__)
def test_every_public_name_resolves(name: str) -> None:
    """A public name is the object of that name in the module that defines it."""
    value = getattr(alti2v, name)

    assert getattr(importlib.import_module(alti2v._MODULE_OF[name]), name) is value
    assert getattr(value, "__module__", None) in {alti2v._MODULE_OF[name], "collections.abc"}
    assert getattr(value, "__name__", name) in {name, "Callable"}


def test_type_checkers_see_the_same_names() -> None:
    """What a type checker imports is what a program gets: the same names from the same modules."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.asname: node.module
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert imported == alti2v._MODULE_OF


def test_the_list_of_public_names_is_sorted_and_whole() -> None:
    """`dir(alti2v)` shows every public name, and not one is hidden by a subpackage of the same name."""
    assert alti2v.__all__ == sorted(set(alti2v.__all__))
    assert set(alti2v.__all__) <= set(dir(alti2v))
    assert not set(alti2v.__all__) & {path.stem for path in PACKAGE.iterdir()}


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that the package does not offer is refused as by any other module."""
    with pytest.raises(AttributeError, match="no attribute 'unheard_of'"):
        alti2v.unheard_of  # type: ignore[attr-defined]  # noqa: B018


def test_the_example_uses_public_names() -> None:
    """Every `alti2v.NAME` in the example of the package's docstring is public."""
    used = set(re.findall(r"alti2v\.(\w+)", alti2v.__doc__ or ""))

    assert len(used) > 5
    assert used <= set(alti2v.__all__)


def test_importing_the_package_is_light() -> None:
    """Neither importing the package nor listing its names loads a dependency."""
    heavy = ("tensorflow", "keras", "PIL", "pyarrow", "aiohttp", "numpy", "click", "fsspec")
    code = f"import sys, alti2v; dir(alti2v); print([name for name in {heavy} if name in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert finished.stdout.strip() == "[]"


def test_a_name_loads_only_what_it_needs() -> None:
    """Whoever crawls does not wait for TensorFlow."""
    code = "import sys, alti2v; alti2v.CrawlConfig; alti2v.crawl_board; print('tensorflow' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert finished.stdout.strip() == "False"
