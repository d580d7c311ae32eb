"""Options that several commands share, so that their help exists once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

DIRECTORY = click.Path(path_type=Path)

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


_CACHE_OPTIONS = (
    click.option(
        "--cache",
        type=DIRECTORY,
        default=None,
        help="Where DATASET is a URL: folder for its shards; the user's cache folder where not given.",
    ),
    click.option(
        "--cache-gb",
        type=float,
        default=50.0,
        show_default=True,
        help="How much of them lies there at most; what was used longest ago goes first.",
    ),
)


def cache_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Make the options of a dataset behind a URL."""
    for option in reversed(_CACHE_OPTIONS):
        command = option(command)
    return command


def dialect_option(default: str | None) -> Callable[[Any], Any]:
    """Make the option that names a board's software."""
    return click.option(
        "--dialect",
        type=click.Choice(["gelbooru", "danbooru"]),
        default=default,
        show_default=default is not None,
        help="The board's software." if default else "The board's software; where not given, it is found out.",
    )


def listed_paths(paths: Iterable[str]) -> Iterable[str]:
    """The lines of standard input, where "-" asks for them."""
    if "-" not in paths:
        return ()
    return (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)


def printable(path: Path | str) -> str:
    """A path as text that can be written: bytes that are no UTF-8 are shown as such."""
    return os.fsencode(path).decode(errors="backslashreplace")
