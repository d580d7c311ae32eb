"""Relation of two versions of a dataset: what was removed or added since, shown by hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from alti2v.dataset.manifest import Manifest
from alti2v.dataset.versions.previous import read_removed
from alti2v.errors import Alti2vError


def plan_hash_without(plan_hash: str, ids: Sequence[int]) -> str:
    """Return the hash of a plan from which pictures are removed; `ids` are ascending and distinct."""
    return hashlib.sha256(f"{plan_hash} without {list(ids)}".encode()).hexdigest()


def removed_since(dataset: Path, manifest: Manifest, plan_hash: str) -> int | None:
    """Count the posts removed from a dataset since it had another plan.

    Returns:
        Their number; None if something else changed too, or the dataset never had that plan. A number says that
        every picture that is left is in the split in which it was then.
    """
    try:
        rows = read_removed(dataset)
    except Alti2vError:  # damaged: `alti2v verify` says so
        return None
    of_edition: dict[int, list[int]] = {}
    for post_id, edition in zip(rows.column("id").to_pylist(), rows.column("edition").to_pylist(), strict=True):
        of_edition.setdefault(edition, []).append(post_id)
    for first in of_edition:
        found, count = plan_hash, 0
        for edition in range(first, manifest.edition + 1):
            ids = sorted(of_edition.get(edition, ()))
            found, count = plan_hash_without(found, ids), count + len(ids)
        if found == manifest.plan_hash:
            return count
    return None


def grown_since(manifest: Manifest, shards: Mapping[str, str]) -> int | None:
    """Count the training and validation pictures that a dataset got since it had shards (name -> SHA-256).

    Returns:
        Their number; None if one of the shards is not the same now, or if no version was added since.
    """
    present = {str(shard.name): shard for shard in (*manifest.split("train"), *manifest.split("validation"))}
    of_then = [
        present[name] for name, sha256 in shards.items() if name in present and present[name].sha256 == sha256
    ]
    added = [shard for name, shard in present.items() if name not in shards]
    latest = max((shard.name.edition for shard in of_then), default=0)
    if not of_then or len(of_then) < len(shards) or manifest.edition <= latest:
        return None
    return None if any(one.name.edition <= latest for one in added) else sum(one.samples for one in added)
