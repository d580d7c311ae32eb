"""Commands that only read, run in this process on folders that somebody else might have made."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from alti2v.cli import main

READING = {
    "store": (("status",), ("verify",)),
    "dataset": (("verify",), ("stats",)),
}


def exit_status(*arguments: object) -> int:
    """Run a command; any exception but its own exit comes out, as a traceback would."""
    output = io.StringIO()
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        pytest.raises(SystemExit) as end,
    ):
        main([*map(str, arguments)])
    assert "Traceback" not in output.getvalue()
    return end.value.code if isinstance(end.value.code, int) else 1


@contextlib.contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Hold that no file below a folder appears, goes or changes within the block."""
    before = _state(folder)
    yield
    assert _state(folder) == before


def _state(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
