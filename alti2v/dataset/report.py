"""Report of a build: what was built or planned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alti2v.dataset.manifest import Manifest
from alti2v.records import Tag
from alti2v.storage.layout import SPLITS
from alti2v.storage.location import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """Figures of a built or planned version.

    Attributes:
        dataset: Folder or URL of the dataset.
        edition: Version of the dataset, from 1; one more each time that it grows.
        train, validation, test: Number of pictures in each split.
        asked: Requested number of pictures by split; empty if ids decide the split.
        tags: Size of the vocabulary.
        categories: Number of its tags by category, largest first.
        rarest: Number of training pictures of its rarest tag.
        rare: Tags of `--keep` that frequency alone would not have chosen, with their training pictures; a tag
            with 0 could not be kept.
        left_out: Number of tags of the store that are not in the vocabulary, by reason.
        unmet: Tags of `--drop` that no post has.
        shards: Number of tar files.
        shards_of: Number of tar files by split.
        bytes: Size of all tar files; an estimate if they are only planned.
        outcomes: Number of posts by outcome; their sum is the number of posts in the store.
        groups: Number of near-duplicate groups of two or more pictures.
        alike: Number of pictures in these groups; all pictures of a group are in one split.
        astray: Number of pictures in another split than the rest of their group (`--split id-modulo`).
        plan_hash: SHA-256 over the plan.
        saved: Folder of the plan if nothing was published, else None.
        seconds: Duration of the build.
    """

    dataset: Address
    edition: int
    train: int
    validation: int
    test: int
    asked: Mapping[str, int]
    tags: int
    categories: Mapping[str, int]
    rarest: int
    rare: Mapping[str, int]
    left_out: Mapping[str, int]
    unmet: Sequence[str]
    shards: int
    shards_of: Mapping[str, int]
    bytes: int
    outcomes: Mapping[str, int]
    groups: int
    alike: int
    astray: int
    plan_hash: str
    saved: Path | None
    seconds: float


def build_report(
    dataset: Address, manifest: Manifest, tags: Sequence[Tag], *, saved: Path | None = None, seconds: float
) -> BuildReport:
    """Compute the figures of a published or planned version."""
    options = manifest.options
    return BuildReport(
        dataset=dataset,
        edition=manifest.edition,
        train=manifest.samples("train"),
        validation=manifest.samples("validation"),
        test=manifest.samples("test"),
        asked={
            split: options[split] for split in SPLITS if split in options and options["split"] != "id-modulo"
        },
        tags=len(tags),
        categories=dict(Counter(tag.category.value for tag in tags).most_common()),
        rarest=min((tag.count for tag in tags), default=0),
        rare=manifest.rare,
        left_out=dict(sorted(manifest.left_out.items(), key=lambda item: (-item[1], item[0]))),
        unmet=manifest.unmet,
        shards=len(manifest.shards),
        shards_of={split: len(manifest.split(split)) for split in SPLITS if manifest.split(split)},
        bytes=sum(shard.bytes for shard in manifest.shards),
        outcomes=manifest.outcomes,
        groups=manifest.groups,
        alike=manifest.alike,
        astray=manifest.astray,
        plan_hash=manifest.plan_hash,
        saved=saved,
        seconds=round(seconds, 3),
    )
