"""README of a dataset: a dataset card for the Hugging Face Hub. Pure: facts in, text out."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from alti2v.dataset.manifest import Manifest
from alti2v.dataset.plan.filters import filters_in_words
from alti2v.dataset.write.shard import SAMPLE_FIELDS
from alti2v.numerals import counted
from alti2v.pictures.recipe import ORIGINAL, ImageRecipe, size_in_words
from alti2v.records import Tag
from alti2v.storage.layout import DATA_DIR, IMPORTED, SPLITS

_SHOWN_TAGS = 20
# Options that determine the posts and files of a crawl, with their defaults.
_CRAWL_OPTIONS: Mapping[str, object] = {
    "tags": "",
    "files": "sample",
    **dict.fromkeys(("min_id", "max_id", "min_score", "exclude")),
}


def dataset_card(manifest: Manifest, tags: Sequence[Tag], store: Mapping[str, Any]) -> str:
    """Write the card.

    The YAML at the top tells the Hub which files belong to which split, and the types of all fields, so that
    readers need not guess them (huggingface.co/docs/hub, "Data files Configuration" and "Dataset Cards").

    Args:
        manifest: Manifest of the dataset.
        tags: The vocabulary.
        store: Content of store.json of the store that the dataset was built from.
    """
    splits = [split for split in SPLITS if manifest.samples(split)]
    board = _board(store)
    parts = (
        *_front_matter(manifest, splits),
        *_content(manifest, splits, tags, board),
        *_making(manifest, board),
        _TERMS.format(source="board" if board else "source"),
    )
    return "\n".join(parts)


def _front_matter(manifest: Manifest, splits: Sequence[str]) -> list[str]:
    total = sum(shard.bytes for shard in manifest.shards)
    return [
        "---",
        "pretty_name: Tagged illustrations",
        "license: other",
        "task_categories:\n- image-classification",
        f"size_categories:\n- {_size_category(sum(map(manifest.samples, splits)))}",
        "tags:\n- webdataset\n- multi-label-classification\n- illustration",
        # One configuration: `datasets` (5.2.0, infer_module_for_data_files) reads all of them as it reads the
        # first, so it would take tables in a second one for tar files.
        "configs:",
        "- config_name: default\n  data_files:",
        *(f"  - split: {split}\n    path: {DATA_DIR}/{split}-*.tar" for split in splits),
        "dataset_info:",
        "- config_name: default",
        *_features(manifest.image),
        "  splits:",
        *(
            f"  - name: {split}\n    num_bytes: {_bytes(manifest, split)}\n"
            f"    num_examples: {manifest.samples(split)}"
            for split in splits
        ),
        f"  download_size: {total}\n  dataset_size: {total}",
        "---",
        "",
    ]


def _features(image: ImageRecipe) -> list[str]:
    if image.format == ORIGINAL:  # the suffix of the picture varies, which features cannot express
        return []
    return [
        "  features:",
        "  - name: __key__\n    dtype: string",
        "  - name: __url__\n    dtype: string",
        *(f"  - name: {suffix}\n    dtype: image" for suffix in image.suffixes),
        "  - name: json\n    struct:",
        *(f"    - name: {name}\n      dtype: {kind}" for name, kind in SAMPLE_FIELDS.items()),
    ]


def _pictures(image: ImageRecipe) -> list[str]:
    if image.format == ORIGINAL:
        return [
            "Pictures: as they came, in their own sizes and formats. webdataset and the tables read them all;",
            "`datasets` wants the same members in every sample: of shards whose formats are mixed it reads the",
            "pictures of one format, or nothing.",
        ]
    size = size_in_words(image)
    return [f"Pictures: {size}, {image.format} of quality {image.quality}."]


def _loading(manifest: Manifest) -> list[str]:
    if manifest.image.format == ORIGINAL:
        return [
            "from webdataset import WebDataset",
            "",
            f'samples = WebDataset("path of this/data/{manifest.shards[0].name}.tar", shardshuffle=False)',
            'pictures = samples.decode("pil")',
        ]
    return [
        "from datasets import load_dataset",
        "",
        'dataset = load_dataset("path or name of this", streaming=True)',
        'tables = load_dataset("parquet", data_dir="path of this/metadata")',
    ]


def _content(manifest: Manifest, splits: Sequence[str], tags: Sequence[Tag], board: str) -> list[str]:
    image = manifest.image
    suffixes = " or ".join(f"`.{suffix}`" for suffix in image.suffixes)
    categories = Counter(tag.category.value for tag in tags)
    return [
        "# Tagged illustrations",
        "",
        f"{counted(sum(map(manifest.samples, splits)), 'illustration')} with the tags that people gave them"
        f"{f' on {board}' if board else ''}; {counted(len(tags), 'tag')} to learn.",
        "",
        "## What is in it",
        "",
        "| split | pictures | shards | bytes |",
        "|---|---:|---:|---:|",
        *(
            f"| {split} | {manifest.samples(split):,} | {len(manifest.split(split)):,} "
            f"| {_bytes(manifest, split):,} |"
            for split in splits
        ),
        "",
        *_pictures(image),
        "",
        f"- `data/`: WebDataset shards; a sample is a {suffixes} and a `.json` with the same",
        "  keys everywhere, tags by category joined with spaces.",
        "- `metadata/`: one Parquet row per sample, with the position of its picture in the shard; `labels`,",
        "  the rows of `tags.parquet` that apply; `group_id`, equal for pictures that look alike and families.",
        "- `index/`: offsets of all members as JSON, and as DALI's `.idx`.",
        "- `tags.parquet`: the vocabulary, most frequent first, counted in the training split.",
        "- `outcomes.parquet`: the outcome of every post of the store.",
        "",
        "```python",
        *_loading(manifest),
        "```",
        "",
        f"Tags by category: {', '.join(f'{count:,} {name}' for name, count in categories.most_common())}. "
        "The most frequent:",
        "",
        "| tag | category | training pictures |",
        "|---|---|---:|",
        *(f"| {_cell(tag.name)} | {tag.category.value} | {tag.count:,} |" for tag in tags[:_SHOWN_TAGS]),
        "",
    ]


def _making(manifest: Manifest, board: str) -> list[str]:
    return [
        "## How it was made",
        "",
        "By alti2v, which listed the board's posts, fetched a file of each, and built this:"
        if board
        else "By alti2v, which imported pictures and built this:",
        "",
        f"    {_crawl_command(manifest.source)}",
        f"    {manifest.command or 'alti2v build-shards STORE DATASET'}",
        "",
        f"Source: {board or 'imported pictures'}. Plan `{manifest.plan_hash}`. The same store, options and "
        "versions give the same bytes; `manifest.json` holds the SHA-256 of every shard. Versions: "
        f"{', '.join(f'{name} {version}' for name, version in sorted(manifest.made_with.items()))}.",
        "",
        *_filters(manifest.options),
        f"Split: {manifest.split_rule} {manifest.alike:,} pictures share a group with another one"
        + (
            f"; {manifest.astray:,} of them are in another split."
            if manifest.astray
            else ", always in the same split."
        ),
        "",
        "Each post ends in exactly one line:",
        "",
        "| outcome | posts |",
        "|---|---:|",
        *(
            f"| {outcome} | {count:,} |"
            for outcome, count in sorted(manifest.outcomes.items(), key=lambda item: (-item[1], item[0]))
        ),
        f"| **all** | {sum(manifest.outcomes.values()):,} |",
        "",
    ]


_TERMS = """\
## Licence and consent

The pictures belong to their artists. The program that collected them asked nobody for permission. `source` and
`url` name where each comes from. This card grants no right to them, whatever the licence of the tables and
shards: find out what the law and the {source}'s terms allow where you are, and ask before you publish the
pictures.

To have a picture removed, give its number or its address. The number is its key in the shards and its `id` in
the tables; `original_md5` finds copies of the file elsewhere. Models already trained on it are not changed by a
removal.

## Known gaps

- Tags are what volunteers wrote: some are missing, some are wrong. A tag that is absent says little.
- They describe what people at this {source} find interesting: some subjects, styles and characters in more
  detail than others.
- Ratings are those of the {source}, made by its own rules, and a picture may be rated too low.
- Pictures that look alike are found by perceptual hashes. A strongly cropped or redrawn copy may be in
  another split.
- Pictures that were reduced and put on a square may lack what is small in the original.
- Posts that the {source} had deleted or hidden, and files that failed (see the table above), are not here.
"""


def _filters(options: Mapping[str, Any]) -> list[str]:
    words = filters_in_words(options.get("filters", {}))
    return [f"Only posts of the store with: `{_plain(words)}`.", ""] if words else []


def _size_category(pictures: int) -> str:
    """Return the Hub's category for a number of samples.

    huggingface/hub-docs, datasetcard.md, "size_categories".
    """
    bounds = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6))
    return next((name for name, bound in bounds if pictures < bound), "1M<n<10M")


def _bytes(manifest: Manifest, split: str) -> int:
    return sum(shard.bytes for shard in manifest.split(split))


def _board(store: Mapping[str, Any]) -> str:
    """Name the board and the query; "" if the pictures were imported."""
    if store.get("board") == IMPORTED:
        return ""
    query = f", query `{_plain(store['tags'])}`" if store.get("tags") else ""
    return f"`{_plain(store.get('board', '?'))}`{query}"


def _crawl_command(source: Mapping[str, Any]) -> str:
    """Write the command line that fills such a store, apart from when it was run."""
    if source.get("board") == IMPORTED:
        return "alti2v import STORE SOURCE"
    words = ["alti2v crawl STORE --board", shlex.quote(_plain(source.get("board", "BOARD")))]
    for name, default in _CRAWL_OPTIONS.items():
        value = source.get(name, default)
        words += (
            f"--{name.replace('_', '-')} {shlex.quote(_plain(one))}"
            for one in (value if isinstance(value, list) else [value])
            if one != default
        )
    return " ".join(words)


def _plain(text: object) -> str:
    """Make a text safe for a code span and a line."""
    return " ".join(str(text).replace("`", "'").split())


def _cell(text: str) -> str:
    """Escape a tag for a Markdown table."""
    escaped = "".join(f"\\{letter}" if letter in r"\`*_{}[]()<>#+-.!|~" else letter for letter in text)
    return " ".join(escaped.split())
