"""Choices on the command line are the library's."""

from __future__ import annotations

import click
import pytest

from alti2v.cli import cli


def choices(command: str, option: str) -> list[str]:
    """Return the choices that a command offers for an option."""
    (found,) = [one for one in cli.commands[command].params if one.name == option]
    assert isinstance(found.type, click.Choice)
    return [str(choice) for choice in found.type.choices]


def test_choices_are_the_librarys() -> None:
    """Lists that are repeated for a fast `--help` equal the enums and constants of the library."""
    from alti2v.crawl.boards.protocol import Dialect
    from alti2v.dataset.config import CHROMAS, ENGINES, FITS, FORMATS, SPLIT_RULES
    from alti2v.model.evaluation.thresholds import Rule
    from alti2v.model.recipes import Loss
    from alti2v.model.tagging.selection import Sort
    from alti2v.model.tagging.sidecars import Existing
    from alti2v.model.vocabulary import CATEGORIES
    from alti2v.vectors.vector_file import Form

    for command, option, library in (
        ("board", "dialect", Dialect),
        ("crawl", "dialect", Dialect),
        ("build-shards", "chroma", CHROMAS),
        ("build-shards", "engine", ENGINES),
        ("build-shards", "fit", FITS),
        ("build-shards", "format", FORMATS),
        ("build-shards", "split", SPLIT_RULES),
        ("train", "loss", Loss),
        ("tag", "rule", Rule),
        ("tag", "existing", Existing),
        ("tag", "sort", Sort),
        ("tag", "categories", CATEGORIES),
        ("embed", "dtype", [form for form in Form if form is not Form.BINARY]),
    ):
        assert choices(command, option) == [str(one) for one in library], (command, option)


@pytest.mark.parametrize("command", ["eval"])
def test_splits_are_the_datasets(command: str) -> None:
    """`--split` offers each split of a dataset."""
    from alti2v.storage.layout import SPLITS

    assert set(choices(command, "split")) == set(SPLITS)
