"""The metadata of the distribution, and the layout of the tests."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
# Modules whose name is not that of the distribution.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "faiss": "faiss-cpu",
    "huggingface_hub": "huggingface-hub",
    "sklearn": "scikit-learn",
    "zlib_ng": "zlib-ng",
}
# Loaded by name: onnx and onnxruntime in alti2v.model.onnx.runtime, s3fs by fsspec for s3:// URLs.
LOADED_BY_NAME = {"onnx", "onnxruntime", "s3fs"}


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> list[Requirement]:
    return [Requirement(line) for line in text.split("\n") if line]


def imported_modules(path: Path) -> Iterator[str]:
    """Every module that a file imports, with its full name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0, names=names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)


@pytest.fixture(scope="module")
def third_party() -> set[str]:
    """The distributions that the package imports."""
    tops = {
        module.partition(".")[0]
        for path in (ROOT / "alti2v").rglob("*.py")
        for module in imported_modules(path)
    }
    found = tops - sys.stdlib_module_names - {"alti2v"}
    return {DISTRIBUTIONS.get(name, name) for name in found} | LOADED_BY_NAME


def test_requirements_are_imports(third_party: set[str]) -> None:
    """Every requirement is imported, and every import is required, by the package or by one of its extras."""
    config = setup_cfg()
    extras = [text for name, text in config["options.extras_require"].items() if not name.startswith("test")]
    declared = [*requirements(config["options"]["install_requires"]), *requirements("\n".join(extras))]

    assert {canonicalize_name(one.name) for one in declared} == third_party


def test_requirements_have_lower_bounds() -> None:
    """`make lowest` can only try bounds that are written down."""
    config = setup_cfg()
    extras = [text for name, text in config["options.extras_require"].items() if not name.startswith("test")]
    declared = [*requirements(config["options"]["install_requires"]), *requirements("\n".join(extras))]

    assert [one.name for one in declared if ">=" not in str(one.specifier)] == []


def test_a_requirement_has_one_bound() -> None:
    """A library that several extras need has the same bound in each."""
    bounds: dict[str, set[str]] = {}
    for name, text in setup_cfg()["options.extras_require"].items():
        if not name.startswith("test"):
            for one in requirements(text):
                bounds.setdefault(one.name, set()).add(str(one.specifier))

    assert {name: found for name, found in bounds.items() if len(found) > 1} == {}


def test_constraints_satisfy_the_requirements() -> None:
    """The tested versions are among those that setup.cfg allows."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    config = setup_cfg()
    extras = [
        text for name, text in config["options.extras_require"].items() if name not in {"serve", "test-torch"}
    ]
    declared = [*requirements(config["options"]["install_requires"]), *requirements("\n".join(extras))]

    assert [
        str(one)
        for one in declared
        if not one.specifier.contains(pinned.get(canonicalize_name(one.name), "0"), prereleases=True)
    ] == []


def test_every_supported_python_is_tested() -> None:
    """The classifiers begin with the oldest Python that pip accepts, and `.ci/release` tries each of them."""
    config = setup_cfg()
    versions = re.findall(r"Python :: (3\.\d+)", config["metadata"]["classifiers"])

    assert config["options"]["python_requires"] == f">={versions[0]}"
    ci = (ROOT / ".ci" / "release").read_text(encoding="utf-8")
    assert f"for version in {' '.join(versions)};" in ci


def test_no_file_imports_a_test_module() -> None:
    """What tests share is in a `helpers` folder or a conftest, so that a test module can be changed alone."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for folder in ("alti2v", "benchmarks", "docs", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for module in imported_modules(path)
        if module.startswith("tests.") and any(part.startswith("test_") for part in module.split("."))
    ]

    assert wrong == []


def test_helper_modules_are_in_helper_folders() -> None:
    """A file among the tests is a test module, a conftest, a typing test, or is in a folder `helpers`."""
    wrong = [
        str(path.relative_to(ROOT))
        for path in TESTS.rglob("*.py")
        if not (
            path.name.startswith("test_")
            or path.name == "conftest.py"
            or path.parent.name == "helpers"
            or path.parent == TESTS / "typing"
        )
    ]

    assert wrong == []
