"""API keys from a netrc file, as for curl and gallery-dl: `machine HOST login ACCOUNT password API_KEY`."""

from __future__ import annotations

import ipaddress
import netrc
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from alti2v.crawl.http.api_key import ApiKey, Secret
from alti2v.crawl.http.ssrf_guard import origin_of
from alti2v.errors import UsageError

_MAX_BYTES = 1_000_000


def read_api_key(path: Path, *, base: str, machines: Sequence[str]) -> ApiKey:
    """Read the key for a board.

    Args:
        path: File, which only its owner may be able to read.
        base: Address of the board's API.
        machines: Names under which the file may list the board, the first one preferred. The entry `default` is
            not used, because its password belongs to something else.

    Raises:
        UsageError: The file cannot be used, or has no key for the board, or the board's address is not
            encrypted.
    """
    origin = origin_of(base)
    assert origin is not None, "the board's address has been checked"
    if not (origin.startswith("https://") or _is_loopback(origin)):
        raise UsageError(f"an API key is not sent to {origin} unencrypted: give the board's https:// address")
    _check_file(path)
    hosts = _hosts_of(path)
    machine = next((name for name in machines if name in hosts), None)
    if machine is None:
        raise UsageError(
            f"{path} has no key for {machines[0]}: add the line `machine {machines[0]} login ACCOUNT "
            "password API_KEY`"
        )
    account, _, key = hosts[machine]
    if not account or not key:
        raise UsageError(f"the entry for {machine} in {path} needs a login (account) and a password (API key)")
    if not (account.isprintable() and key.isprintable()) or ":" in account:
        raise UsageError(f"the entry for {machine} in {path} has characters that no account or API key has")
    return ApiKey(origin=origin, account=account, secret=Secret(key), source=str(path))


def _check_file(path: Path) -> None:
    try:
        state = path.stat()
    except OSError as exc:
        raise UsageError(f"cannot read the API keys in {path}: {exc.strerror}: give an existing file") from exc
    if not stat.S_ISREG(state.st_mode) or state.st_size > _MAX_BYTES:
        raise UsageError(f"{path} is not a netrc file: give a small text file")
    if state.st_uid not in (os.getuid(), 0):
        raise UsageError(f"{path} belongs to another user: give a file of your own")
    if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"users other than its owner can read {path}, which has keys: run chmod 600 {path}")


def _hosts_of(path: Path) -> dict[str, tuple[str, str | None, str | None]]:
    try:
        hosts = netrc.netrc(str(path)).hosts
        return {name: entry for name, entry in hosts.items() if name != "default"}
    except netrc.NetrcParseError as exc:
        # Without the parser's message and cause, which repeat words of the file, such as a key.
        where = f", line {exc.lineno}," if exc.lineno else ""
        raise UsageError(
            f"{path}{where} is not in the form `machine HOST login ACCOUNT password API_KEY`: correct it"
        ) from None
    except OSError as exc:
        raise UsageError(f"cannot read the API keys in {path}: {exc.strerror}") from exc
    except ValueError:
        raise UsageError(f"{path} is not a netrc file: give a text file") from None


def _is_loopback(origin: str) -> bool:
    name = urlsplit(origin).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
