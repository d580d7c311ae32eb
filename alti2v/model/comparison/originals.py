"""Original pictures of a dataset's posts in the store that it was built from, matched by post and MD5."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alti2v.arrays import Int64Array
from alti2v.dataset.plan.tag_aliases import resolved
from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.records import Span
from alti2v.storage.columns import TAG_ALIASES
from alti2v.storage.layout import images_tar
from alti2v.storage.store import open_store, read_pictures, read_posts, read_relations

_PLACES = ("id", "tar", "offset", "size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Originals:
    """Positions of pictures in a store.

    Attributes:
        store: Folder of the store.
        ids: (N,) post numbers, ascending.
        tars, offsets, sizes: (N,) place of each picture.
        md5s: (N,) MD5 of each picture, as the store recorded it.
        aliases: Other names of tags, if the store has any.
        missing: Reason for each picture that could not be used; grows while pictures are read.
        used: Posts whose picture was used; grows while pictures are read.
    """

    store: Path
    ids: Int64Array
    tars: Int64Array
    offsets: Int64Array
    sizes: Int64Array
    md5s: npt.NDArray[np.bytes_]
    aliases: Mapping[str, str]
    missing: list[str] = field(default_factory=list)
    used: list[int] = field(default_factory=list)

    def read(self, post_id: int, md5: str) -> memoryview | None:
        """Read the picture with an MD5 that a sample was made from; without it, note why and return None."""
        row = int(np.searchsorted(self.ids, post_id))
        if row == len(self.ids) or self.ids[row] != post_id:
            self.missing.append("not in the store")
            return None
        if self.md5s[row] != md5.encode():
            self.missing.append("another picture in the store")
            return None
        span = Span(offset=int(self.offsets[row]), size=int(self.sizes[row]))
        try:
            _, content = next(read_pictures(self.store, int(self.tars[row]), [(post_id, span)]))
        except DamagedError:
            self.missing.append("damaged in the store")
            return None
        if content is None or hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            self.missing.append("damaged in the store")
            return None
        self.used.append(post_id)
        return content


def open_originals(store: Path, wanted: Int64Array) -> Originals:
    """Find the pictures of some posts, whose numbers ascend, in a store.

    Raises:
        UsageError: It is not a store, or has none of these posts.
        DamagedError: A table of it cannot be read, or a tar file is missing.
        DataError: Its tables do not exist yet.
    """
    columns: list[list[Int64Array]] = [[] for _ in _PLACES]
    md5s: list[npt.NDArray[np.bytes_]] = []
    with open_store(store) as opened:
        aliases = resolved(read_relations(opened, TAG_ALIASES))
        for part in read_posts(opened, (*_PLACES, "stored_md5")):
            ids = part["id"].to_numpy()
            places = np.searchsorted(wanted, ids)
            is_wanted = (places < len(wanted)) & (wanted[np.minimum(places, len(wanted) - 1)] == ids)
            chosen = part.filter(is_wanted & part["tar"].is_valid().to_numpy())
            for column, name in zip(columns, _PLACES, strict=True):
                column.append(chosen[name].to_numpy())
            md5s.append(np.array(chosen["stored_md5"].fill_null("").to_pylist(), "S32"))
    ids, tars, offsets, sizes = (np.concatenate(column).astype(np.int64) for column in columns)
    if len(wanted) and not len(ids):
        raise UsageError(f"{store} has no picture of the dataset: give the store that it was built from")
    _require_tars(store, tars)
    order = np.argsort(ids, kind="stable")
    return Originals(
        store=store,
        ids=ids[order],
        tars=tars[order],
        offsets=offsets[order],
        sizes=sizes[order],
        md5s=np.concatenate(md5s)[order],
        aliases=aliases,
    )


def require_used(originals: Originals | None) -> None:
    """Require that at least one of the requested pictures could be used, if there were any.

    Raises:
        DataError: All of them are missing, differ or are damaged.
    """
    if originals is not None and originals.missing and not originals.used:
        reasons = ", ".join(
            f"{count:,} {reason}" for reason, count in sorted(Counter(originals.missing).items())
        )
        raise DataError(
            f"{originals.store}: no picture could be used ({reasons}): give the store that the dataset was "
            "built from, or check it with `alti2v verify`"
        )


def _require_tars(store: Path, numbers: Int64Array) -> None:
    missing = [
        name for number in np.unique(numbers) if not (store / (name := images_tar(int(number)))).is_file()
    ]
    if missing:
        more = f", and {len(missing) - 1:,} more" if missing[1:] else ""
        raise DamagedError(f"{store / missing[0]} is missing{more}: restore it, or leave out --store")
