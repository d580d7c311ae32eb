"""Standard output and standard error: one line per record, no control characters, a clear error if it fails.

Names of files, tags and hosts come from the internet. Everything that is printed passes `one_line` or
`json_line`, so that no name can move a terminal's cursor, reorder its text or begin a line of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from alti2v.errors import StorageError

INTERRUPTED = "alti2v: interrupted; nothing stored is lost, run the same command again to resume"
_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # not made by `os.fsdecode`
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# Control and format characters (bidirectional overrides among them), undecodable bytes, line separators.
_RAW = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_ADVICE = {
    errno.ENOSPC: "make room, then run it again",
    errno.EDQUOT: "make room, then run it again",
    errno.EBADF: "it is closed; give it a file or a pipe",
}
_JOINERS = "\u200c\u200d"  # format characters that Persian, Indic scripts and emoji are written with


class ReaderGoneError(Exception):
    """The program that read standard output has ended, as in `alti2v ... | head`."""


def one_line(text: str) -> str:
    r"""Return text for a terminal: control and format characters and undecodable bytes become escapes.

    `\n`, `\r`, `\t`, `\x1b`, `\u202e` and `\U000e0001` replace characters, `\xe4` and above a byte of a
    file name that is not UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(letter) if _is_raw(letter) else letter for letter in _decoded(text))


def json_line(value: object, *, is_ascii: bool = False) -> str:
    r"""Return a value as one line of JSON, with JSON's escapes, so that the exact value can be read back.

    Only a byte of a file name that is not UTF-8 cannot be written in JSON: it becomes the text `\xe4`.

    Args:
        value: Value of types that `json` writes.
        is_ascii: True to escape every other character as well.
    """
    text = json.dumps(value, ensure_ascii=False)
    if is_ascii or not text.isprintable():
        text = "".join(
            _json_escaped(letter) if _is_raw(letter) or (is_ascii and not letter.isascii()) else letter
            for letter in _decoded(text)
        )
    return text


def plain(value: Any) -> Any:  # noqa: ANN401 - any dataclass tree in, any JSON tree out
    """Convert dataclasses, paths and mappings to types that `json` writes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def print_lines(lines: Iterable[str]) -> None:
    """Print records to standard output, one line each.

    Raises:
        StorageError, ReaderGoneError: See `standard_streams`.
    """
    sys.stdout.write("".join(f"{one_line(line)}\n" for line in lines))
    sys.stdout.flush()


def print_json(value: object) -> None:
    """Print a value as one JSON object to standard output.

    Raises:
        StorageError, ReaderGoneError: See `standard_streams`.
    """
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    sys.stdout.write(f"{json_line(plain(value), is_ascii=encoding != 'utf8')}\n")
    sys.stdout.flush()


def print_result(result: object, *, as_json: bool, table: Mapping[str, str | None]) -> None:
    """Print a stage's result to stdout: the whole dataclass as one JSON object, or a short table.

    Args:
        result: The dataclass.
        as_json: True for JSON.
        table: Value of each row; a row of None is left out.

    Raises:
        StorageError: Standard output is a file that cannot be written.
        ReaderGoneError: The reading process has ended.
    """
    if as_json:
        print_json(result)
        return
    rows = {name: value for name, value in table.items() if value is not None}
    width = max(map(len, rows), default=0)
    print_lines(f"{name:<{width}}  {value}" for name, value in rows.items())


def tell(message: str) -> None:
    """Print a message for the user to standard error, in one line."""
    sys.stderr.write(f"{one_line(message)}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Let the streams of the block fail in one documented way.

    A failure of standard output is a StorageError, or a ReaderGoneError if the reading program has ended. A
    failure of standard error changes nothing: messages are lost. Closed streams count as such failures, and a
    closed standard input is empty. Characters that standard output cannot encode become escapes.
    """
    _open_closed_descriptors()
    before = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - held until exit
    out = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - held until exit
    errors = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if hasattr(out, "reconfigure"):
        out.reconfigure(errors="backslashreplace")
    sys.stdout = cast("TextIO", _GuardedStream(out, is_needed=True))
    sys.stderr = cast("TextIO", _GuardedStream(errors, is_needed=False))
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


class _GuardedStream:
    """A text stream whose failures are those of `standard_streams`.

    Attributes:
        is_needed: True if a failure is an error of the command.
    """

    def __init__(self, stream: TextIO, *, is_needed: bool) -> None:
        self._stream = stream
        self.is_needed = is_needed

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - everything else is the stream's
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text."""
        with self._failing():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._failing():
            self._stream.flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            self._discard_rest()
            if not self.is_needed:
                return
            if isinstance(exc, BrokenPipeError | ConnectionResetError):
                raise ReaderGoneError from exc
            advice = _ADVICE.get(exc.errno or 0, "run it again")
            raise StorageError(f"cannot write the result to standard output: {exc.strerror}: {advice}") from exc

    def _discard_rest(self) -> None:
        """Point the descriptor at nothing: Python would try to write the rest of its buffer again at exit."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def _open_closed_descriptors() -> None:
    """Give closed standard descriptors (`2>&-`) to the null device.

    The next file that is opened would get the number, and whatever prints would write into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Reading only: writing a result to a closed output has to fail.
            os.open(os.devnull, os.O_RDONLY if descriptor < 2 else os.O_WRONLY)  # takes the lowest free number
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - by position only


def _decoded(text: str) -> str:
    """Decode UTF-8 that was read as ASCII, as file names are in the C locale."""
    text = _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _is_raw(letter: str) -> bool:
    return not letter.isprintable() and letter not in _JOINERS and unicodedata.category(letter) in _RAW


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return _SHORT.get(letter, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escaped(letter: str) -> str:
    if 0xDC80 <= ord(letter) <= 0xDCFF:
        return "\\" + _escaped(letter)
    return json.dumps(letter)[1:-1]
