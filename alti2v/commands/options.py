"""Options that several commands share."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from alti2v.crawl.boards.protocol import Dialect
from alti2v.dataset.shard_cache import CacheConfig
from alti2v.errors import DataError, UsageError
from alti2v.model.options.choices import PRECISION_CHOICES, Implications
from alti2v.model.options.tagging import RelationOptions
from alti2v.model.options.training import TrainConfig
from alti2v.output import INTERRUPTED, tell
from alti2v.signals import ended_by_force
from alti2v.storage.remote import is_url

if TYPE_CHECKING:
    from alti2v.model.loading.hub import HubModel

_P = ParamSpec("_P")
_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def check_local(value: str, name: str) -> None:
    """Check that the value of an argument or option is a local path.

    Raises:
        UsageError: It is a URL.
    """
    if is_url(value):
        raise UsageError(f"{value} is a URL, and {name} has to be on this machine: copy it here first")


def check_readable(address: str) -> str:
    """Check that Parquet, JSON and TensorFlow can hold a path, and return it.

    Raises:
        UsageError: It is not UTF-8, or it is relative to a folder that is not.
    """
    try:
        os.fsencode(address if is_url(address) else os.path.abspath(address)).decode()  # noqa: PTH100 - links stay
    except UnicodeDecodeError:
        raise UsageError(f"{address}: this path is not UTF-8: rename the folder or file") from None
    return address


class _LocalPath(click.Path):
    """Local path; refuses a URL, which `click.Path` would take for one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        assert param is not None
        check_local(str(value), param.opts[0] if isinstance(param, click.Option) else param.human_readable_name)
        return super().convert(value, param, ctx)


class _LocalUtf8Path(_LocalPath):
    """Local path that everything can open."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        return super().convert(check_readable(os.fspath(value)), param, ctx)


PICTURE_PATH = _LocalPath(path_type=Path)
LOCAL_PATH = _LocalUtf8Path(path_type=Path)


def fetched_model(model: Path) -> Path:
    """Return the path of a MODEL; fetch one that is given by its name on the hub, and print its commit.

    Raises:
        UsageError: There is no such model.
        RemoteError: The hub does not answer.
    """
    from alti2v.model.loading.hub import is_hub_name

    return _fetched(model).path if is_hub_name(model) else model


def model_to_compute(model: Path, precision: str) -> Path:
    """Return what `fetched_model` returns; tell the user if `--precision` does not concern that model.

    Raises:
        UsageError, RemoteError: See `fetched_model`.
        DamagedError: Its model.json is damaged.
    """
    from alti2v.model.loading.folder import recognised

    found = fetched_model(model)
    if precision != "auto" and recognised(found) is not None:
        tell(f"--precision {precision} concerns runs only: {model} is computed as its file says")
    return found


def pinned_model(model: Path) -> str:
    """Return the path of a MODEL, or its name on the hub with the commit, which is fetched and printed.

    Raises:
        UsageError, RemoteError: See `fetched_model`.
    """
    from alti2v.model.loading.hub import is_hub_name

    return _fetched(model).pinned if is_hub_name(model) else str(model)


def _fetched(model: Path) -> HubModel:
    from alti2v.model.loading.hub import fetch_model

    found = fetch_model(str(model))
    tell(
        f"{found.name} is commit {found.commit} in {found.path}"
        + ("" if found.is_current else ", from the cache, because the hub could not be asked")
    )
    return found


def address(text: str) -> Path | str:
    """Convert a local folder to a path; leave a URL as text."""
    return check_readable(text) if is_url(text) else Path(check_readable(text))


def default_of(config: Any, name: str) -> Any:  # noqa: ANN401 - any dataclass, and the default of any field
    """Return the default of a field, the one place where it is written."""
    found = config.__dataclass_fields__[name].default
    assert found is not dataclasses.MISSING, f"{name} of {config.__name__} has no default"
    return found


_TYPES: dict[str, Any] = {"int": int, "float": float, "str": str, "Path": LOCAL_PATH}


def option_of(config: Any) -> Callable[..., _Decorator]:  # noqa: ANN401 - as `default_of`
    """Return `click.option` for the fields of a dataclass, with their defaults and types.

    Where an option and its field have different names, give both. A field that is False becomes a flag, a tuple
    an option that can be repeated, and an enum a choice. A default is shown in the help unless it is empty.
    """

    def option(*names: str, **settings: Any) -> _Decorator:  # noqa: ANN401 - as `click.option`
        field = names[-1].removeprefix("--").replace("-", "_")
        default = default_of(config, field)
        if isinstance(default, Enum):
            settings.setdefault("type", click.Choice(list(map(str, type(default)))))
            default = default.value
        elif default is False:
            settings["is_flag"] = True
        elif default == ():
            settings["multiple"] = True
        else:
            kind = config.__dataclass_fields__[field].type.removesuffix(" | None")
            settings.setdefault("type", _TYPES.get(kind))
        is_empty = default is False or default in (None, (), "")
        return click.option(*names, default=default, show_default=not is_empty, **settings)

    return option


def together(*options: _Decorator) -> _Decorator:
    """Make one decorator of several options, which the help shows in their order."""
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


def ends_promptly(command: Callable[_P, None]) -> Callable[_P, None]:
    """Let Ctrl-C end a command that computes with a network within two seconds, also inside a step."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
        with ended_by_force(last_words=f"{show_cursor}{INTERRUPTED}\n".encode()):
            command(*args, **kwargs)

    return run


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")

precision_option = option_of(TrainConfig)(
    "--precision",
    type=click.Choice(PRECISION_CHOICES),
    help="Number format of the layers of a RUN; auto is bfloat16 if this machine computes faster with it, "
    "else float32. ONNX models use the formats in their files.",
)

cache_options = together(
    option_of(CacheConfig)(
        "--cache",
        help="Folder for shards of a DATASET that is a URL. Default: the user's cache folder.",
    ),
    option_of(CacheConfig)(
        "--cache-gb",
        help="Maximum size of the cache in GB; the least recently used shards are deleted first.",
    ),
)


def work_option(text: str) -> _Decorator:
    """Make the option for the local folder that belongs to a URL."""
    return click.option("--work", type=LOCAL_PATH, help=text)


def local_folder(address: str, work: Path | None, *, purpose: str) -> Path:
    """Return the folder to work in: the address itself, or `--work` if it is a URL.

    Raises:
        UsageError: A URL has no `--work`, or a folder has one.
    """
    if is_url(address) and work is None:
        raise UsageError(f"{address} is a URL: give --work FOLDER for {purpose}")
    if not is_url(address) and work is not None:
        raise UsageError(f"{address} is a local folder, which needs no --work")
    return work or Path(check_readable(address))


def dialect_option(default: str | None) -> _Decorator:
    """Make the option that names a board's software."""
    return click.option(
        "--dialect",
        type=click.Choice(list(map(str, Dialect))),
        default=default,
        show_default=default is not None,
        help="Software of the board." if default else "Software of the board. Default: detected.",
    )


def listed_paths(paths: Iterable[str]) -> Iterable[str]:
    """Return the names on standard input if a path is "-"."""
    if "-" not in paths:
        return ()
    from alti2v.model.tagging.inputs import listed_names

    return listed_names(sys.stdin.buffer)


_MOST_NAMED = 20  # items; --json names all where it lists them


def require_all(problems: Sequence[str], what: str, others: str) -> None:
    """Report the items of a list that could not be used, after the others are done.

    Args:
        problems: A line for each such item.
        what: End of the sentence about them, as in "rows cannot be used".
        others: What happened to the others.

    Raises:
        DataError: There is such an item.
    """
    for problem in problems[:_MOST_NAMED]:
        tell(problem)
    if problems:
        raise DataError(f"{len(problems):,} {what}: the first are named above; {others}")


relation_options = together(
    option_of(RelationOptions)(
        "--relations",
        metavar="STORE|FILE",
        help="Resolve tag aliases with the tables of a STORE, or with a CSV or JSON file (docs/MODELS.md).",
    ),
    option_of(RelationOptions)(
        "--implications",
        help="With --relations: add the tags that other tags imply, or drop them.",
    ),
    option_of(RelationOptions)(
        "--copyright-of",
        metavar="model|DATASET",
        help="Add the copyright of each character: from the model, or learnt from the tables of a DATASET.",
    ),
)


def relations_of(options: dict[str, Any]) -> RelationOptions:
    """Move the options of relations out of all options."""
    return RelationOptions(
        relations=options.pop("relations"),
        implications=Implications(options.pop("implications")),
        copyright_of=options.pop("copyright_of"),
    )
