"""JSON and CSV files, read within bounds; JSON objects become dataclasses, every value is checked.

A description may come from somebody else, so a value of another type is reported as a fault of the file, rather
than raised as an exception somewhere in the middle of a command.
"""

from __future__ import annotations

import csv
import errno
import io
import itertools
import os
import stat
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from alti2v.errors import DamagedError, VersionError
from alti2v.storage.layout import FORMAT_VERSION

_T = TypeVar("_T")
# The largest description is below 10 MB. Parsed, a text may take 25 times as much memory as on disk.
MOST_TEXT_BYTES = 1 << 26
MOST_ROWS = 1_000_000
_MOST_NAMED_BYTES = 1 << 32  # a list of 300 million ids
_DESCRIPTORS, _STANDARD_INPUT = Path("/dev/fd"), Path("/dev/stdin")


def read_text_file(path: Path, *, most: int = MOST_TEXT_BYTES) -> bytes:
    """Read a JSON or CSV file of at most `most` bytes whole.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It is not a plain file (a pipe would be waited for), or larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError(f"{path} is not a plain file: restore it from a copy")
        if status.st_size > most:
            raise DamagedError(
                f"{path} has {status.st_size:,} bytes, {most:,} are allowed: restore it from a copy"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def open_named(path: Path) -> BinaryIO:
    """Open a file that the user has named; a pipe only if a shell has opened it, as for `<(command)`.

    Raises:
        OSError: It is a folder, a pipe (which would be waited for) or a device, or has more than 4 GiB; or the
            system refuses.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    refusal = _refusal(os.fstat(descriptor), is_of_shell=path.parent == _DESCRIPTORS or path == _STANDARD_INPUT)
    if refusal is not None:
        os.close(descriptor)
        raise refusal
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "rb")


def _refusal(status: os.stat_result, *, is_of_shell: bool) -> OSError | None:
    if stat.S_ISREG(status.st_mode):
        is_large = status.st_size > _MOST_NAMED_BYTES
        return OSError(errno.EFBIG, os.strerror(errno.EFBIG)) if is_large else None
    if stat.S_ISDIR(status.st_mode):
        return OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    is_open_pipe = is_of_shell and stat.S_ISFIFO(status.st_mode)
    return None if is_open_pipe else OSError(errno.EINVAL, "a pipe, a socket or a device, not a file")


def require_version(file: Path, version: object) -> None:
    """Check the format version that a file states.

    Raises:
        VersionError: It is not the version of this program.
    """
    if version != FORMAT_VERSION:
        raise VersionError(
            f"{file} has format version {version}; this program reads {FORMAT_VERSION}: "
            "use another version of alti2v"
        )


def csv_rows(content: bytes) -> list[dict[str, Any]]:
    """Parse CSV with a header, UTF-8 with or without a byte order mark; cells that a row lacks are None.

    Raises:
        ValueError: It is not such a file, or has more than `MOST_ROWS` rows.
    """
    lines = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    try:
        rows = list(itertools.islice(lines, MOST_ROWS + 1))
    except csv.Error as exc:
        raise ValueError(str(exc)) from exc
    if len(rows) > MOST_ROWS:
        raise ValueError(f"it has more than {MOST_ROWS:,} rows")
    return rows


def from_json(kind: type[_T], document: object, **known: Any) -> _T:  # noqa: ANN401 - values of any field
    """Make a dataclass from a JSON object.

    Args:
        kind: The dataclass; its fields are numbers, texts, lists and mappings of these, or None.
        document: The parsed JSON.
        known: Values of fields that are more than JSON; they are taken as they are.

    Raises:
        ValueError: A field is missing, unknown or of another type, or the dataclass refuses a value.
    """
    if not isinstance(document, dict):
        raise ValueError(f"{document!r:.60} is not an object")  # noqa: TRY004 - a fault of the file
    hints = get_type_hints(kind)
    names = {field.name for field in fields(cast("Any", kind))}
    for name, value in document.items():
        if name in known:
            continue
        if name not in names:
            raise ValueError(f"{name!r:.60} is unknown")
        if not is_of(value, hints[name]):
            raise ValueError(f"{name} has the value {value!r:.60}")
    for field in fields(cast("Any", kind)):
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if not has_default and field.name not in document and field.name not in known:
            raise ValueError(f"{field.name} is missing")
    return kind(**{**document, **known})


def fault_in_words(exc: Exception) -> str:
    """Describe what is wrong with a parsed JSON document, from the exception that its reading ended with."""
    if isinstance(exc, ValueError):
        return str(exc)
    return f"no {exc}" if isinstance(exc, KeyError) else "a value of another type"


def is_of(value: object, hint: Any) -> bool:  # noqa: ANN401, PLR0911 - a type; one line for each kind of it
    """Return whether a parsed JSON value has a type: also `X | None`, and containers of checked values."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(is_of(value, one) for one in inner)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(is_of(one, inner[1]) for one in value.values())
    if origin is not None and issubclass(origin, Sequence):
        return isinstance(value, list) and all(is_of(one, inner[0]) for one in value)
    if hint is Any:
        return True
    if hint is type(None):
        return value is None
    if hint is float:
        # not `math.isfinite`, which cannot convert an integer of 400 digits
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        )
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63
    return isinstance(value, hint)
