"""Choices on the command line are the library's."""

from __future__ import annotations

import click

from alti2v.cli import cli


def choices(command: str, option: str) -> list[str]:
    """Return the choices that a command offers for an option."""
    (found,) = [one for one in cli.commands[command].params if one.name == option]
    assert isinstance(found.type, click.Choice)
    return [str(choice) for choice in found.type.choices]


def test_choices_are_the_librarys() -> None:
    """Lists that are repeated for a fast `--help` equal the enums and constants of the library.

    Those of modules that load fast are not repeated at all.
    """
    from alti2v.dataset.config import CHROMAS, ENGINES, FITS, FORMATS, SPLIT_KEYS, SPLIT_RULES
    from alti2v.model.evaluation.thresholds import Rule
    from alti2v.model.export import COPYRIGHTS_AS, RATINGS_FROM
    from alti2v.model.network.precision import CHOICES
    from alti2v.model.tagging.selection import Sort
    from alti2v.model.tagging.sidecars import Existing
    from alti2v.model.vocabulary import CATEGORIES
    from alti2v.vectors.vector_file import Form

    for command, option, library in (
        ("build-shards", "chroma", CHROMAS),
        ("build-shards", "engine", ENGINES),
        ("build-shards", "fit", FITS),
        ("build-shards", "format", FORMATS),
        ("build-shards", "split", SPLIT_RULES),
        ("build-shards", "split_by", SPLIT_KEYS),
        ("train", "precision", CHOICES),
        ("export", "ratings", RATINGS_FROM),
        ("export", "copyrights", COPYRIGHTS_AS),
        ("tag", "rule", Rule),
        ("tag", "existing", Existing),
        ("tag", "sort", Sort),
        ("tag", "categories", CATEGORIES),
        ("embed", "dtype", [form for form in Form if form is not Form.BINARY]),
    ):
        assert choices(command, option) == [str(one) for one in library], (command, option)
