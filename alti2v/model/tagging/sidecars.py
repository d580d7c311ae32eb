"""Captions in text files beside pictures: which picture gets which file, and what is written into it."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from alti2v.errors import StorageError
from alti2v.model.options.choices import Existing
from alti2v.model.options.tagging import SidecarConfig
from alti2v.model.tagging.captions import caption
from alti2v.model.tagging.inputs import Found
from alti2v.model.tagging.preprocess import Problem
from alti2v.model.tagging.selection import ScoredTag
from alti2v.model.tagging.tally import Tally
from alti2v.storage.publish import publish_bytes

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})  # the next picture's caption would have no room either


def sidecar_of(picture: Path, config: SidecarConfig) -> Path:
    """Return the path of a picture's sidecar."""
    return picture.with_suffix(config.suffix)


def pictures_to_caption(pictures: Iterable[Found], config: SidecarConfig, tally: Tally) -> Iterator[Found]:
    """Select the pictures that get a sidecar, however they were given.

    Of pictures that would share a sidecar, such as `a.jpg` and `a.png`, the first gets it, and the others are
    problems. A picture that was given before, or that already has a sidecar, is skipped if `config` says so.
    """
    # 8 bytes of a hash and the picture's suffix: a million pictures take about 100 MB.
    owners: dict[int, str] = {}
    folder_of = functools.lru_cache(maxsize=1024)(os.path.realpath)
    for path, source in pictures:
        if isinstance(source, Problem) or not path.name or path.name == "..":
            yield path, source
            continue
        sidecar = sidecar_of(path, config)
        key = _digest(folder_of(path.parent), sidecar.name)
        is_given_again = key in owners
        owner = owners.setdefault(key, sys.intern(path.suffix))
        if sidecar == path:
            yield path, Problem("same_sidecar", "its caption would replace the picture itself: rename it")
        elif owner != path.suffix:
            other = f"{path.stem}{owner}"
            yield path, Problem("same_sidecar", f"shares {sidecar.name} with {other}: rename one of them")
        elif is_given_again or (config.existing is Existing.SKIP and os.path.isfile(sidecar)):  # noqa: PTH113
            tally.skip()
        else:
            yield path, source


def write_sidecar(picture: Path, tags: Iterable[ScoredTag], config: SidecarConfig) -> Problem | None:
    """Write the caption of a picture; return the problem if that is impossible, else None.

    Raises:
        StorageError: The disk is full.
    """
    sidecar = sidecar_of(picture, config)
    if os.path.exists(sidecar) and not os.path.isfile(sidecar):  # noqa: PTH110, PTH113 - answer for all names
        return Problem("sidecar", f"its {sidecar.name} is not a file: rename or remove it")
    try:
        is_kept = config.existing is Existing.APPEND and sidecar.exists()
        existing = sidecar.read_text(encoding="utf-8-sig") if is_kept else ""
    except (OSError, UnicodeDecodeError) as exc:
        return Problem("sidecar", f"its {sidecar.name} cannot be read as UTF-8 text ({exc})")
    text = caption([tag.name for tag in tags], config.style, existing=existing)
    try:
        publish_bytes(sidecar, f"{text}\n".encode(errors="replace"))
    except StorageError as exc:
        cause = exc.__cause__
        if not isinstance(cause, OSError) or cause.errno in _NO_ROOM:
            raise
        return Problem("sidecar", f"its {sidecar.name} cannot be written: {cause.strerror}")
    return None


def _digest(*parts: str) -> int:
    content = "\0".join(parts).encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())
