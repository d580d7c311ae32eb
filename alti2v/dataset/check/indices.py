"""Check of the indices of a shard against its tar file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from alti2v.dataset.manifest import Shard
from alti2v.errors import DamagedError
from alti2v.records import Finding, Span
from alti2v.storage.documents import read_text_file
from alti2v.storage.layout import POST_JSON_SUFFIX
from alti2v.storage.publish import json_bytes, publish_bytes, publish_json
from alti2v.storage.tar import Member, dali_index, json_index, members


def check_indices(folder: Path, shard: Shard, sided: pa.Table | None, *, repair: bool) -> list[Finding]:
    """Compare the indices with the tar file; `sided` has the sides of pictures that keep their shape."""
    tar = folder / shard.name.data
    try:
        if tar.stat().st_size != shard.bytes:
            return []  # reported by the check of the tar file, and not worth reading to its end
        tar_members = list(members(tar))
    except (DamagedError, OSError):
        return []  # reported by the check of the tar file
    names = [member.name for member in tar_members if _is_picture(member)]
    sides = None
    if sided is not None:
        if sided.num_rows != len(names):
            return []  # the table is damaged, which is reported as well
        columns = (sided.column(side).to_pylist() for side in ("width", "height"))
        sides = dict(zip(names, zip(*columns, strict=True), strict=True))
    index = json_index(tar, tar_members, sides=sides)
    if index["hash_lfs"] != shard.sha256:
        return []  # reported as well; the indices may be right, and must not be adapted to a damaged file
    findings = []
    # Other programs may have written it with other spaces.
    most = 4 * len(json_bytes(index, indent=None))
    if _json_or_none(folder / shard.name.index, most=most) != index:
        if repair:
            publish_json(folder / shard.name.index, index, indent=None)
        findings.append(Finding(where=shard.name.index, what="does not match its shard", repaired=repair))
    lines = dali_index(tar_members).encode()
    if _bytes_or_none(folder / shard.name.dali_index, most=len(lines)) != lines:
        if repair:
            publish_bytes(folder / shard.name.dali_index, lines)
        findings.append(Finding(where=shard.name.dali_index, what="does not match its shard", repaired=repair))
    return findings


def picture_spans(tar: Path) -> Mapping[str, Span] | None:
    """Return the span of each picture in a tar file, by key; None if the file is damaged."""
    try:
        return {member.name.partition(".")[0]: member.span for member in members(tar) if _is_picture(member)}
    except (DamagedError, OSError):
        return None


def _is_picture(member: Member) -> bool:
    return not member.name.endswith(f".{POST_JSON_SUFFIX}")


def _json_or_none(path: Path, *, most: int) -> Any:  # noqa: ANN401 - compared, never used
    content = _bytes_or_none(path, most=most)
    try:
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None


def _bytes_or_none(path: Path, *, most: int) -> bytes | None:
    try:
        return read_text_file(path, most=most)
    except (DamagedError, FileNotFoundError):
        return None
