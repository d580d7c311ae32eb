"""Every spelling in which a secret could leak, and where it does."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus

ACCOUNT = "4711"
SECRET = 's3cr3t+Key/"ab&%c~0123456789'


def spellings(secret: str = SECRET, account: str = ACCOUNT) -> frozenset[bytes]:
    """Plain, percent-encoded, HTML, JSON, and base64 at each of the three alignments."""
    plain = secret.encode()
    texts = {
        *(secret, quote(secret), quote(secret, safe=""), quote_plus(secret), quote(secret, safe="").lower()),
        *(escape(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]),
    }
    whole = {base64.b64encode(f"{account}:{secret}".encode()), base64.urlsafe_b64encode(plain)}
    # Without the first and the last characters, which depend on what stands around it.
    parts = {base64.b64encode(b"x" * shift + plain)[4:-8] for shift in range(3)}
    return frozenset({text.encode() for text in texts} | whole | parts)


def leaks_in(content: bytes) -> list[bytes]:
    """The spellings that occur."""
    return [spelling for spelling in spellings() if spelling in content]


def leaking_files(folder: Path) -> list[Path]:
    """The files below a folder whose bytes or names have the secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if leaks_in(path.read_bytes()) or leaks_in(os.fsencode(path))]


def command_lines() -> Iterator[bytes]:
    """The command line and the environment of every process of this user, as `ps` would show them."""
    for path in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                yield (path / name).read_bytes()
            except OSError:  # it has ended, or is not ours
                continue


def netrc(folder: Path, *, host: str = "127.0.0.1", account: str = ACCOUNT, secret: str = SECRET) -> Path:
    """A netrc file with one entry, which only its owner can read."""
    path = folder / "netrc"
    quoted = secret.replace("\\", "\\\\").replace('"', '\\"')
    path.write_text(f'machine {host} login {account} password "{quoted}"\n')
    path.chmod(0o600)
    return path
