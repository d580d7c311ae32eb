"""Documents match the program: generated ones are current, and written ones name what exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

import alti2v
from alti2v.cli import cli

ROOT = Path(__file__).parent.parent
ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"
DOCUMENTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE_BLOCK = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def generate() -> ModuleType:
    """The module docs/generate.py."""
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_documents_are_current(generate: ModuleType) -> None:
    """The generated documents, and the generated blocks of others, are those that `make docs` would write."""
    assert _text(ROOT / "docs" / "CLI.md") == generate.command_line()
    assert _text(ROOT / "docs" / "FORMAT.md") == generate.on_disk_format()
    assert _text(ARCHITECTURE) == generate.architecture()
    assert _text(ROOT / "docs" / "DECISIONS.md") == generate.decisions()


def test_changelog_has_this_version() -> None:
    """The version of the package has an entry in the changelog."""
    assert f"## [{alti2v.__version__}]" in _text(ROOT / "CHANGELOG.md")


def test_readme_is_short() -> None:
    """The README has at most 200 lines."""
    assert len(_text(ROOT / "README.md").splitlines()) <= 200


def test_contributing_is_short() -> None:
    """CONTRIBUTING.md has at most 60 lines."""
    assert len(_text(ROOT / "CONTRIBUTING.md").splitlines()) <= 60


def test_every_document_is_linked() -> None:
    """The README or docs/ARCHITECTURE.md links to every document."""
    linked = {
        (start.parent / target).resolve()
        for start in (ROOT / "README.md", ARCHITECTURE)
        for target in _LINK.findall(_text(start))
    }

    assert [path.name for path in DOCUMENTS if path not in linked and path.name != "README.md"] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file and, if it has a fragment, a heading of it."""
    broken = [
        target
        for target in _LINK.findall(_CODE_BLOCK.sub("", _text(document)))
        if not re.match(r"[a-z]+:", target) and not _resolves(document, target)
    ]

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_path_of_one_machine(document: Path) -> None:
    """No document names a folder that only its author's machine has."""
    assert re.findall(r"(?<![\w.])/(?:tmp|home|work|root|Users)/\S*", _text(document)) == []


def test_architecture_names_every_package(generate: ModuleType) -> None:
    """docs/ARCHITECTURE.md lists every package of alti2v."""
    text = _text(ARCHITECTURE)

    assert [path for path in generate.packages() if f"`{path.relative_to(ROOT)}/`" not in text] == []


def test_architecture_names_modules_that_exist() -> None:
    """Every module in docs/ARCHITECTURE.md exists, relative to alti2v/ or beside the one named before it."""
    missing = []
    for paragraph in re.split(r"\n(?:\n|\d+\. )", _text(ARCHITECTURE)):
        folder = ROOT / "alti2v"
        for name in re.findall(r"`([\w/]+\.py)`", paragraph):
            found = next(
                (path for path in (ROOT / "alti2v" / name, folder / name, ROOT / name) if path.exists()), None
            )
            if found is None:
                missing.append(name)
            else:
                folder = found.parent
    assert missing == []


def test_readme_commands_exist() -> None:
    """Every `alti2v COMMAND ...` that the README and docs/SCALING.md show is one that the program accepts."""
    text = _text(ROOT / "README.md") + _text(ROOT / "docs" / "SCALING.md")
    blocks = "\n".join(_CODE_BLOCK.findall(text))
    lines = re.findall(r"^(?:[A-Z_]+=\S+ )*alti2v ([a-z-]+)(.*)$", blocks, flags=re.MULTILINE)

    assert lines
    for command, rest in lines:
        arguments = shlex.split(re.split(r" {2,}", rest)[0])  # an explanation follows
        options = {option for parameter in cli.commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", " ".join(arguments))) <= options, command
        with cli.make_context("alti2v", [command]) as parent:
            cli.commands[command].make_context(command, arguments, parent)


def test_readme_python_uses_the_public_api() -> None:
    """The README's Python compiles, and every `alti2v.NAME` in it is public."""
    blocks = re.findall(r"^```python\n(.*?)^```", _text(ROOT / "README.md"), flags=re.MULTILINE | re.DOTALL)

    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")
        assert set(re.findall(r"\balti2v\.(\w+)", block)) <= set(alti2v.__all__)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _resolves(document: Path, target: str) -> bool:
    name, _, fragment = target.partition("#")
    path = document.parent / name if name else document
    return path.exists() and (not fragment or fragment in _anchors(path))


def _anchors(path: Path) -> set[str]:
    """Return the fragments of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _CODE_BLOCK.sub("", _text(path)), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
