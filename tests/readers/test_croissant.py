"""Croissant metadata: MLCommons' own library accepts it and reads the tables with it."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from alti2v.storage.columns import DATASET_TAGS, METADATA, OUTCOMES


@pytest.fixture(scope="module")
def document(dataset: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((dataset / "croissant.json").read_text(encoding="utf-8"))
    return content


# mlcroissant 1.1.1 and rdflib 7.6 warn about their own code.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_mlcroissant_reads_every_table(dataset: Path) -> None:
    """No error; the rows are those that pandas reads."""
    import mlcroissant

    found = mlcroissant.Dataset(dataset / "croissant.json")
    assert not found.metadata.ctx.issues.errors
    for name, file in (("tags", "tags.parquet"), ("outcomes", "outcomes.parquet"), ("pictures", "metadata")):
        rows = pd.read_parquet(dataset / file)
        key = rows.columns[0]
        read = [row[f"{name}/{key}"] for row in found.records(name)]
        assert sorted(read) == sorted(rows[key])
    first = next(iter(found.records("tags")))
    assert first["tags/name"] == b"1girl"


def test_every_column_is_described_and_every_shard_named(dataset: Path, document: dict[str, Any]) -> None:
    """The metadata describe the columns of docs/FORMAT.md, and name the shards with hash and size."""
    tables = {"tags": DATASET_TAGS, "pictures": METADATA, "outcomes": OUTCOMES}
    for records in document["recordSet"]:
        columns = [field["source"]["extract"]["column"] for field in records["field"]]
        assert columns == [column.name for column in tables[records["name"]].columns]
    shards = {
        entry["contentUrl"]: (entry["sha256"], entry["contentSize"])
        for entry in document["distribution"]
        if entry["@type"] == "cr:FileObject"
    }
    assert shards == {
        f"data/{path.name}": (hashlib.sha256(path.read_bytes()).hexdigest(), f"{path.stat().st_size} B")
        for path in (dataset / "data").iterdir()
    }


def test_the_patterns_name_every_table_once(dataset: Path, document: dict[str, Any]) -> None:
    """The patterns match each table of the dataset, and nothing else."""
    patterns = [entry["includes"] for entry in document["distribution"] if entry["@type"] == "cr:FileSet"]
    found = [path for pattern in itertools.chain(*patterns) for path in dataset.glob(pattern)]

    assert sorted(found) == sorted(
        [*dataset.glob("metadata/*"), dataset / "tags.parquet", dataset / "outcomes.parquet"]
    )
