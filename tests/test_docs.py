"""The documentation cannot rot: what is generated is current, what is written names what exists."""

import importlib.util
import re
from pathlib import Path

import pytest

from alti2v import __version__
from alti2v.cli import cli

ROOT = Path(__file__).parent.parent


@pytest.fixture
def generate():
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_documents_are_current(generate):
    """docs/CLI.md and docs/FORMAT.md are what `make docs` would write."""
    assert (ROOT / "docs" / "CLI.md").read_text(encoding="utf-8") == generate.command_line()
    assert (ROOT / "docs" / "FORMAT.md").read_text(encoding="utf-8") == generate.on_disk_format()


def test_changelog_has_this_version():
    """The version of the package has an entry in the changelog."""
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_readme_names_existing_files():
    """Every path in the README's file tree exists, and every module of the package stands in it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = readme.split("<!-- tree -->")[1]
    named = {match[1] for match in re.finditer(r"^([\w./-]+)  ", tree, flags=re.MULTILINE)}
    modules = {
        str(path.relative_to(ROOT)) for path in (ROOT / "alti2v").rglob("*.py") if path.name != "__init__.py"
    }

    assert {name for name in named if not (ROOT / name).exists()} == set()
    assert modules - named == set()


def test_readme_commands_exist():
    """Every `alti2v COMMAND --option` that the README shows is one that the program takes."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^alti2v ([a-z-]+)(.*)$", readme, flags=re.MULTILINE)

    assert lines
    for command, rest in lines:
        options = {option for parameter in cli.commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, command
