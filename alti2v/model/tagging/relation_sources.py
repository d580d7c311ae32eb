"""Relations of tags, loaded from a STORE, a file, a dataset's tables, or the model itself."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alti2v.dataset.manifest import read_manifest, read_metadata
from alti2v.dataset.plan.tag_aliases import TagRelations
from alti2v.errors import DamagedError, UsageError
from alti2v.model.options.tagging import RelationOptions
from alti2v.model.tagging.relations import AppliedRelations, applied
from alti2v.model.tagging.tagger import Tagger
from alti2v.storage.columns import TAG_ALIASES, TAG_IMPLICATIONS
from alti2v.storage.directory import DirectoryKind, described_kind
from alti2v.storage.documents import read_text_file

OF_MODEL = "model"  # value of --copyright-of
# A copyright belongs to a character if at least this share of its pictures has it, and there are that many.
_SHARE, _PICTURES = 0.75, 3


def load_relations(options: RelationOptions, tagger: Tagger) -> AppliedRelations | None:
    """Load the relations that the options name; None if they name nothing.

    Raises:
        UsageError: A path holds no relations, or the model has no copyrights.
        DamagedError: A file or table is damaged.
    """
    if options.relations is None and options.copyright_of is None:
        return None
    relations, categories = _relations(options.relations)
    return applied(
        relations,
        options.implications,
        category_of=categories,
        copyright_of=_copyrights(options.copyright_of, tagger),
    )


def _relations(source: Path | None) -> tuple[TagRelations, Mapping[str, str]]:
    """Return relations, and the categories of tags if the source has them."""
    if source is None:
        return TagRelations(), {}
    if described_kind(source) is DirectoryKind.STORE:
        from alti2v.storage.store import open_store, read_categories, read_relations  # imports pyarrow

        with open_store(source) as store:
            relations = TagRelations(
                read_relations(store, TAG_ALIASES), read_relations(store, TAG_IMPLICATIONS)
            )
            categories = {name: category.value for name, category in read_categories(store).items()}
        if not relations.aliases and not relations.implications:
            raise UsageError(f"{source} has no aliases and implications: crawl it again with --tag-relations")
        return relations, categories
    if not source.is_file():
        raise UsageError(f"{source} is neither a store nor a file: give a STORE, or a CSV or JSON file")
    relations = _read_file(source)
    if not relations.aliases and not relations.implications:
        raise UsageError(f"{source} holds no active relation of tags: see docs/MODELS.md for its form")
    return relations, {}


def _read_file(file: Path) -> TagRelations:
    """Read a CSV file with a header, or JSON as Danbooru's API and dumps have it.

    The ends of a relation are `antecedent` and `consequent`, or with `_name` as in Danbooru's. `kind`, or else
    the file's name, marks aliases; rows with a `status` count only if it is active.
    """
    pairs: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    try:
        for row in _rows(read_text_file(file), is_json=file.suffix in (".json", ".jsonl")):
            ends = [row.get(name, row.get(f"{name}_name")) for name in ("antecedent", "consequent")]
            if not all(isinstance(end, str) and end for end in ends):
                raise ValueError(f"a row has no antecedent and consequent: {row!r:.80}")
            if row.get("status") in (None, "", "active"):
                pairs[_is_alias(row.get("kind"), file)].append((str(ends[0]), str(ends[1])))
    except (ValueError, AttributeError, csv.Error, RecursionError) as exc:
        raise DamagedError(
            f"{file} does not hold relations of tags ({exc!s:.120}): see docs/MODELS.md"
        ) from exc
    return TagRelations(aliases=pairs[True], implications=pairs[False])


def _is_alias(kind: object, file: Path) -> bool:
    """Return whether a row is an alias rather than an implication, from its kind or the file's name.

    Raises:
        ValueError: Its kind is another one.
        UsageError: Neither says so.
    """
    word = str(kind or file.stem).lower()
    if "alias" not in word and "implication" not in word:
        if kind:
            raise ValueError(f"a row has the kind {word!r:.40}, which is neither alias nor implication")
        raise UsageError(
            f"{file} does not say if its rows are aliases or implications: add a column kind, or give it "
            "a name such as tag_aliases.csv or tag_implications.csv"
        )
    return "alias" in word


def _rows(content: bytes, *, is_json: bool) -> Iterator[Mapping[str, Any]]:
    text = content.decode("utf-8-sig")
    if not is_json:
        yield from csv.DictReader(io.StringIO(text, newline=""))
    elif text.lstrip().startswith("["):
        yield from json.loads(text)
    else:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())


def _copyrights(source: str | None, tagger: Tagger) -> Mapping[str, tuple[str, ...]]:
    if source is None:
        return {}
    if source == OF_MODEL:
        if not tagger.description.copyright_of:
            raise UsageError("the model does not say which copyright a character belongs to: give a DATASET")
        return tagger.description.copyright_of
    learnt = learnt_copyrights(Path(source))
    if not learnt:
        raise UsageError(
            f"{source} has no character with at least {_PICTURES} pictures of which {_SHARE:.0%} share a "
            "copyright: give another DATASET"
        )
    return learnt


def learnt_copyrights(dataset: Path) -> dict[str, tuple[str, ...]]:
    """Learn the copyrights of characters: those that 3 of 4 of a character's pictures have.

    Raises:
        UsageError: It is not a dataset.
        DamagedError: A table is damaged.
    """
    manifest = read_manifest(dataset)
    pictures: Counter[str] = Counter()
    together: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for shard in manifest.shards:
        table = read_metadata(dataset, shard, ("tags_character", "tags_copyright"))
        columns = (table.column(name).to_pylist() for name in ("tags_character", "tags_copyright"))
        for characters, copyrights in zip(*columns, strict=True):
            for character in characters:
                pictures[character] += 1
                together[character].update(copyrights)
    return {
        character: found
        for character, count in pictures.items()
        if count >= _PICTURES
        and (found := tuple(sorted(one for one, n in together[character].items() if n >= _SHARE * count)))
    }
