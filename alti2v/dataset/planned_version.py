"""A planned version of a dataset: its shards are written, then it is published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from alti2v.dataset.images.appearance import Preparation
from alti2v.dataset.manifest import Manifest, Shard
from alti2v.dataset.plan.outcomes import count_outcomes
from alti2v.dataset.versions.publish import incomplete, remove_unplanned
from alti2v.dataset.versions.transaction import DatasetWriter
from alti2v.dataset.write.shard import ShardSpec, build_shard, read_receipt
from alti2v.records import Progress, Tag
from alti2v.storage.columns import OUTCOMES
from alti2v.storage.layout import OUTCOMES_FILE, PLAN_DIR, SURVEY_FILE
from alti2v.storage.location import open_location, remove
from alti2v.storage.remote import Remote
from alti2v.storage.table import read_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVersion:
    """A version to write, without any column of the posts: their memory is free while shards are written.

    Attributes:
        writer: Dataset.
        preparation: Where and with which recipe its pictures were prepared.
        manifest: Manifest, with estimates for the new shards.
        tags: Vocabulary.
        specs: Shards to write.
        survey: New content of survey.parquet, read from disk once.
        is_first: True if there is no earlier version.
    """

    writer: DatasetWriter
    preparation: Preparation
    manifest: Manifest
    tags: tuple[Tag, ...]
    specs: Sequence[ShardSpec]
    survey: Iterable[pa.Table]
    is_first: bool


def write_and_publish(plan: PlannedVersion) -> Manifest:
    """Write the shards that are not built yet, publish the version, and delete the working files.

    Raises:
        DamagedError: A working file is damaged.
        StorageError: The dataset cannot be written.
    """
    writer, manifest = plan.writer, plan.manifest
    _clear_unbuilt(writer.location, plan.specs)
    names = {spec.name for spec in plan.specs}
    total = sum(shard.samples for shard in manifest.shards if shard.name in names)
    written = {shard.name: shard for shard in _write_shards(plan.specs, total, plan.preparation)}
    manifest = replace(manifest, shards=tuple(written.get(shard.name, shard) for shard in manifest.shards))
    if plan.is_first:
        remove_unplanned(writer.location, manifest.shards)
    outcomes = writer.work / PLAN_DIR / OUTCOMES_FILE
    manifest = replace(manifest, outcomes=count_outcomes(read_parts(outcomes, OUTCOMES)))
    tables = {OUTCOMES_FILE: read_parts(outcomes, OUTCOMES), SURVEY_FILE: plan.survey}
    writer.publish(manifest, plan.tags, tables)
    writer.finish()
    return manifest


def _clear_unbuilt(location: Path | Remote, specs: Sequence[ShardSpec]) -> None:
    """Remove the files of shards that are still to be built; killed builds or other plans left them."""
    receipts = [receipt for spec in specs if (receipt := read_receipt(spec)) is not None]
    lacking = incomplete(location, receipts)
    built = {receipt.name for receipt in receipts if receipt not in lacking}
    unbuilt = [spec for spec in specs if spec.name not in built]
    for spec in unbuilt:
        remove(open_location(spec.work), [spec.receipt_file])
    remove(location, [file for spec in unbuilt for file in spec.name.files])


def _write_shards(specs: Sequence[ShardSpec], total: int, preparation: Preparation) -> Iterator[Shard]:
    done = 0
    for _, shard in preparation.engine(build_shard, specs):
        done += shard.samples
        preparation.progress(Progress(stage="writing", done=done, total=total, unit="pictures"))
        yield shard
