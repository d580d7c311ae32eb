"""What a build has made, or would make: the figures that `build-shards` reports, from a manifest."""

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
    """What was built, or what would be.

    Attributes:
        edition: of the dataset; one more each time that it grows.
        train, validation, test: pictures in each split.
        asked: pictures that were asked for, by split; empty where ids decide.
        tags: size of the vocabulary; `categories` has its tags by category, most first.
        rarest: training pictures of its rarest tag.
        rare: tags of `--keep` that frequency alone would not have chosen, with their training pictures; one
            with 0 could not be kept.
        left_out: tags of the store that are not in the vocabulary, by reason.
        unmet: tags of `--drop` that no post carries.
        shards: number of tar files, and `shards_of` by split.
        bytes: of all tar files; of those that are only planned, about as many as they will have.
        outcomes: posts by outcome; their sum is the number of posts in the store.
        groups: groups of pictures that belong together.
        alike: pictures in them; each is kept on the side of the others.
        astray: pictures in them that stand apart nevertheless, as `--split id-modulo` has it.
        saved: where the plan lies, if it is only a plan.
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
    """The figures of an edition that stands, or of one that is planned."""
    options = manifest.options
    return BuildReport(
        dataset=dataset,
        edition=manifest.edition,
        train=manifest.samples("train"),
        validation=manifest.samples("validation"),
        test=manifest.samples("test"),
        asked={split: options[split] for split in SPLITS if split in options and options["split"] == "hash"},
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
