"""Croissant metadata of a dataset, which search engines and MLCommons' tools read. Pure.

Croissant 1.0 (docs.mlcommons.org/croissant/docs/croissant-spec.html): JSON-LD with schema.org's vocabulary;
record sets map columns to files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alti2v.dataset.manifest import Manifest
from alti2v.numerals import counted
from alti2v.records import Tag
from alti2v.storage.columns import DATASET_TAGS, METADATA, OUTCOMES, Column, Table
from alti2v.storage.layout import IMPORTED, METADATA_DIR, OUTCOMES_FILE, SPLITS, TAGS_FILE

_PARQUET = "application/x-parquet"  # mlcroissant does not know the registered name
_TYPES = {"int32": "sc:Integer", "int64": "sc:Integer", "string": "sc:Text", "timestamp": "sc:DateTime"}
# Croissant's terms, from the specification's "Appendix: JSON-LD context".
_IN_CROISSANT = (
    *("citeAs", "column", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes"),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{word: f"cr:{word}" for word in _IN_CROISSANT},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}


def croissant(manifest: Manifest, tags: Sequence[Tag]) -> dict[str, Any]:
    """Describe a dataset: its shards with their hashes, and the columns of its tables.

    There is no date and no address, so equal datasets have equal bytes, wherever and whenever they are made.
    """
    splits = [split for split in SPLITS if manifest.samples(split)]
    pictures = sum(map(manifest.samples, splits))
    tables = {
        "tags": ([TAGS_FILE], DATASET_TAGS),
        "pictures": ([f"{METADATA_DIR}/{split}-*.parquet" for split in splits], METADATA),
        "outcomes": ([OUTCOMES_FILE], OUTCOMES),
    }
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "tagged-illustrations",
        "description": f"{counted(pictures, 'illustration')} with the tags that people gave them"
        f"{_origin(manifest)}; {counted(len(tags), 'tag')} to learn. README.md says more.",
        "license": "The pictures belong to their artists; see README.md.",
        "version": f"{manifest.edition}.0.0",
        "distribution": [
            *(_shard(shard.name.data, shard.bytes, shard.sha256) for shard in manifest.shards),
            *(_files(name, includes) for name, (includes, _) in tables.items()),
        ],
        "recordSet": [_records(name, table) for name, (_, table) in tables.items()],
    }


def _origin(manifest: Manifest) -> str:
    board = manifest.source.get("board", "a board")
    return "" if board == IMPORTED else f" on {board}"


def _shard(path: str, size: int, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": "application/x-tar",
        "sha256": sha256,
    }


def _files(name: str, includes: Sequence[str]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"files-of-{name}",
        "name": f"files-of-{name}",
        "encodingFormat": _PARQUET,
        "includes": list(includes),
    }


def _records(name: str, table: Table) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/{table.columns[0].name}"},
        "field": [_field(name, column) for column in table.columns],
    }


def _field(name: str, column: Column) -> dict[str, Any]:
    element = column.type.removeprefix("list<").removesuffix(">")
    return {
        "@type": "cr:Field",
        "@id": f"{name}/{column.name}",
        "name": f"{name}/{column.name}",
        "description": column.meaning,
        "dataType": _TYPES[element],
        **({"repeated": True} if column.type.startswith("list") else {}),
        "source": {"fileSet": {"@id": f"files-of-{name}"}, "extract": {"column": column.name}},
    }
