"""The README of a dataset: a dataset card in the Hugging Face form. Pure: facts in, text out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from alti2v.dataset.manifest import Manifest
from alti2v.dataset.shards import SAMPLE_FIELDS
from alti2v.records import Tag
from alti2v.storage.layout import DATA_DIR, SPLITS

_SHOWN_TAGS = 20


def dataset_card(manifest: Manifest, tags: Sequence[Tag], store: Mapping[str, Any]) -> str:
    """Write the card.

    The YAML in front tells the Hub which files belong to which split, and the types of all fields, so
    that no reader has to guess them (huggingface.co/docs/hub, "Data files Configuration" and
    "Dataset Cards").

    Args:
        manifest: of the dataset.
        tags: the vocabulary.
        store: store.json of the store that the dataset was built from.
    """
    splits = [split for split in SPLITS if manifest.samples(split)]
    return "\n".join([*_front_matter(manifest, splits), *_body(manifest, splits, tags, store), ""])


def _front_matter(manifest: Manifest, splits: Sequence[str]) -> list[str]:
    total = sum(shard.bytes for shard in manifest.shards)
    fields = [f"    - name: {name}\n      dtype: {kind}" for name, kind in SAMPLE_FIELDS.items()]
    return [
        "---",
        "pretty_name: Tagged illustrations",
        "task_categories:\n- image-classification",
        "tags:\n- webdataset\n- multi-label-classification\n- illustration",
        "configs:",
        "- config_name: default\n  data_files:",
        *(f"  - split: {split}\n    path: {DATA_DIR}/{split}-*.tar" for split in splits),
        "dataset_info:",
        "- config_name: default",
        "  features:",
        "  - name: __key__\n    dtype: string",
        "  - name: __url__\n    dtype: string",
        "  - name: jpg\n    dtype: image",
        "  - name: json\n    struct:",
        *fields,
        "  splits:",
        *(
            f"  - name: {split}\n    num_bytes: {sum(shard.bytes for shard in manifest.split(split))}\n"
            f"    num_examples: {manifest.samples(split)}"
            for split in splits
        ),
        f"  download_size: {total}\n  dataset_size: {total}",
        "---",
    ]


def _body(
    manifest: Manifest, splits: Sequence[str], tags: Sequence[Tag], store: Mapping[str, Any]
) -> list[str]:
    image = manifest.image
    categories = Counter(tag.category.value for tag in tags)
    outcomes = manifest.outcomes
    return [
        "",
        "# Tagged illustrations",
        "",
        f"{sum(manifest.samples(split) for split in splits):,} illustrations with the tags that people gave "
        f"them; {len(tags):,} tags to learn. Made by alti2v from `{store.get('board', '?')}`{_query(store)}.",
        "",
        "## What is in it",
        "",
        "| split | pictures | shards | bytes |",
        "|---|---:|---:|---:|",
        *(
            f"| {split} | {manifest.samples(split):,} | {len(manifest.split(split)):,} "
            f"| {sum(shard.bytes for shard in manifest.split(split)):,} |"
            for split in splits
        ),
        "",
        f"Pictures: {image.size} × {image.size} px, {image.fit}, {image.format} of quality {image.quality}.",
        "",
        "- `data/`: WebDataset shards; a sample is a `.jpg` and a `.json` with the same keys everywhere,",
        "  tags by category joined with spaces.",
        "- `metadata/`: one Parquet row per sample, with the position of its picture in the shard, and with",
        "  `labels`, the rows of `tags.parquet` that apply.",
        "- `index/`: offsets of all members as JSON, and as DALI's `.idx`.",
        "- `tags.parquet`: the vocabulary, most frequent first, counted in the training split.",
        "- `outcomes.parquet`: what became of every post that the board listed.",
        "",
        f"Tags by category: {', '.join(f'{count:,} {name}' for name, count in categories.most_common())}. "
        "The most frequent:",
        "",
        "| tag | category | training pictures |",
        "|---|---|---:|",
        *(f"| {_cell(tag.name)} | {tag.category.value} | {tag.count:,} |" for tag in tags[:_SHOWN_TAGS]),
        "",
        "## How it was made",
        "",
        f"Plan `{manifest.plan_hash}`. The same store, options and versions give the same bytes. Versions: "
        f"{', '.join(f'{name} {version}' for name, version in sorted(manifest.made_with.items()))}.",
        "",
        f"Split: {manifest.split_rule} {manifest.alike:,} pictures share a group with another one"
        + (f"; {manifest.astray:,} of them stand on another side." if manifest.astray else ", and its side."),
        "",
        "| outcome | posts |",
        "|---|---:|",
        *(
            f"| {outcome} | {count:,} |"
            for outcome, count in sorted(outcomes.items(), key=lambda item: (-item[1], item[0]))
        ),
        f"| **all** | {sum(outcomes.values()):,} |",
        "",
        "## Licence and consent",
        "",
        "The pictures belong to their artists; `source` and `url` name where each comes from. This card grants",
        "no right to them. Ask before you publish them, and take pictures out when their artists wish it.",
        "",
        "## Known gaps",
        "",
        "Tags are what volunteers wrote: some are missing, some are wrong. Similar pictures are found by",
        "hashes and thumbnails, so a strongly cropped copy may stand on the other side of the split.",
    ]


def _query(store: Mapping[str, Any]) -> str:
    return f", query `{store['tags']}`" if store.get("tags") else ""


def _cell(text: str) -> str:
    """A tag as it is, inside a Markdown table."""
    escaped = "".join(f"\\{letter}" if letter in r"\`*_{}[]()<>#+-.!|~" else letter for letter in text)
    return " ".join(escaped.split())
