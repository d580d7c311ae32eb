"""The documentation cannot rot: what is generated is current, what is written names what exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from alti2v import __version__
from alti2v.cli import cli

ROOT = Path(__file__).parent.parent


@pytest.fixture
def generate() -> Any:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_documents_are_current(generate: Any) -> None:
    """docs/CLI.md and docs/FORMAT.md are what `make docs` would write."""
    assert (ROOT / "docs" / "CLI.md").read_text(encoding="utf-8") == generate.command_line()
    assert (ROOT / "docs" / "FORMAT.md").read_text(encoding="utf-8") == generate.on_disk_format()


def test_changelog_has_this_version() -> None:
    """The version of the package has an entry in the changelog."""
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_readmes_tree_is_current(generate: Any) -> None:
    """The README's file tree is what `make docs` would write, so it names every module."""
    assert (ROOT / "README.md").read_text(encoding="utf-8") == generate.readme()


def test_every_module_says_what_it_is(generate: Any) -> None:
    """No module is without a docstring, so none is without a comment in the file tree."""
    assert [line for line in generate.file_tree().splitlines() if len(line.split()) < 3] == []


def test_readme_commands_exist() -> None:
    """Every `alti2v COMMAND ...` that the README shows is one that the program takes as it stands."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(readme.split("```")[1::2])
    lines = re.findall(r"^alti2v ([a-z-]+)(.*)$", blocks, flags=re.MULTILINE)

    assert lines
    for command, rest in lines:
        arguments = shlex.split(re.split(r" {2,}", rest)[0])  # what follows explains
        options = {option for parameter in cli.commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", " ".join(arguments))) <= options, command
        with cli.make_context("alti2v", [command]) as parent:
            cli.commands[command].make_context(command, arguments, parent)
