"""Options that several commands share, so that their help exists once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from alti2v.errors import UsageError
from alti2v.storage.remote import is_url


def check_local(value: str, name: str) -> None:
    """See that an argument or option with this name is a path of this machine.

    Raises:
        UsageError: it is a URL.
    """
    if is_url(value):
        raise UsageError(f"{value} is a URL, and {name} has to lie on this machine: copy it here first")


class _LocalPath(click.Path):
    """A path of this machine; a URL is refused instead of taken for one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        assert param is not None
        check_local(str(value), param.opts[0] if isinstance(param, click.Option) else param.human_readable_name)
        return super().convert(value, param, ctx)


LOCAL_PATH = _LocalPath(path_type=Path)


def address(text: str) -> Path | str:
    """A folder of this machine as a path, or what is behind a URL as text."""
    return text if is_url(text) else Path(text)


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


_CACHE_OPTIONS = (
    click.option(
        "--cache",
        type=LOCAL_PATH,
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


def work_option(text: str) -> Callable[[Any], Any]:
    """Make the option that names a local folder beside a URL."""
    return click.option("--work", type=LOCAL_PATH, default=None, help=text)


def local_folder(address: str, work: Path | None, *, purpose: str) -> Path:
    """The folder to work in: the one that is meant, or `--work` where it is a URL.

    Raises:
        UsageError: one of the two is missing, or both are given.
    """
    if is_url(address) and work is None:
        raise UsageError(f"{address} is a URL: give --work FOLDER for {purpose}")
    if not is_url(address) and work is not None:
        raise UsageError(f"{address} is a local folder, which needs no --work")
    return work or Path(address)


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
