"""THE ON-DISK CONTRACT: version, names, member suffixes, columns with their types and meanings.

Pure data and pure functions of names; knows no file system. `docs/FORMAT.md` is generated from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FORMAT_VERSION = 1

# Store ---------------------------------------------------------------------------------------

STORE_FILE = "store.json"
LEDGER_FILE = "crawl.sqlite"
LOCK_FILE = "crawl.lock"
CRAWL_LOG_FILE = "crawl.log"
IMAGES_DIR = "images"
POSTS_DIR = "posts"
TAGS_FILE = "tags.parquet"
HISTORY_FILE = "history.parquet"
ALIASES_FILE = "tag_aliases.parquet"
IMPLICATIONS_FILE = "tag_implications.parquet"

# Dataset -------------------------------------------------------------------------------------

MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"
CROISSANT_FILE = "croissant.json"
DATA_DIR = "data"
INDEX_DIR = "index"
METADATA_DIR = "metadata"
OUTCOMES_FILE = "outcomes.parquet"
SURVEY_FILE = "survey.parquet"
REMOVED_FILE = "removed.parquet"
SPLITS = ("train", "validation", "test")

# Only where the dataset itself is behind a URL: what makes a folder its cache.
CACHE_FILE = "cache.json"
# ... or the folder in which one is planned that is behind a URL.
REMOTE_FILE = "remote.json"

# Run -----------------------------------------------------------------------------------------

RUN_FILE = "config.json"
LOG_FILE = "log.csv"
CHECKED_FILE = "checked.json"
DIVERGED_FILE = "diverged.json"
TENSORBOARD_DIR = "tensorboard"
FEATURES_DIR = "features"
CHECKPOINTS_DIR = "checkpoints"
MODEL_DIR = "model"
MODEL_FILE = "model.json"
WEIGHTS_FILE = "model.weights.h5"
MODEL_TAGS_FILE = "tags.csv"
THRESHOLDS_FILE = "thresholds.json"
EVALUATION_DIR = "eval"

POST_JSON_SUFFIX = "json"
# Only these are stored, by content: the extensions in a board's URLs are often wrong.
IMAGE_SUFFIX_OF_FORMAT = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp"}

_KEY_DIGITS = 12
_SHARD_NAME = re.compile(
    r"(?P<split>[a-z]+)-(?P<number>\d{5,})-of-(?P<total>\d{5,})(?:-e(?P<edition>[2-9]|[1-9]\d+))?"
)


def member_key(post_id: int) -> str:
    """The tar member name of a post, without suffix: 12 digits, no dot (webdataset cuts at the first)."""
    if not 0 <= post_id < 10**_KEY_DIGITS:
        raise ValueError(f"post id {post_id} is outside [0, 10^{_KEY_DIGITS})")
    return f"{post_id:0{_KEY_DIGITS}d}"


def images_tar(number: int) -> str:
    """Path of a store's tar file, relative to the store."""
    return f"{IMAGES_DIR}/images-{number:06d}.tar"


def posts_table(number: int) -> str:
    """Path of a part of a store's post table, relative to the store."""
    return f"{POSTS_DIR}/posts-{number:06d}.parquet"


@dataclass(frozen=True, slots=True, order=True)
class ShardName:
    """The name that a shard, its index and its metadata share: `train-00000-of-00150`.

    A name never comes to mean other bytes: shards that a later edition of the dataset brings have its number
    behind theirs (`train-00150-of-00152-e2`).

    Attributes:
        split: one of `SPLITS`.
        number: 0-based, below `total`.
        total: shards in this split when this one was written.
        edition: of the dataset that the shard was written for, from 1.
    """

    split: str
    number: int
    total: int
    edition: int = 1

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r} is none of {', '.join(SPLITS)}")
        if not 0 <= self.number < self.total:
            raise ValueError(f"shard number {self.number} is outside [0, {self.total})")
        if self.edition < 1:
            raise ValueError(f"edition {self.edition} is below 1")

    def __str__(self) -> str:
        edition = f"-e{self.edition}" if self.edition > 1 else ""
        return f"{self.split}-{self.number:05d}-of-{self.total:05d}{edition}"

    @property
    def data(self) -> str:
        """Path of the tar file, relative to the dataset."""
        return f"{DATA_DIR}/{self}.tar"

    @property
    def index(self) -> str:
        """Path of the JSON index (member name -> offset, size), relative to the dataset."""
        return f"{INDEX_DIR}/{self}.json"

    @property
    def dali_index(self) -> str:
        """Path of the index that NVIDIA DALI reads, relative to the dataset."""
        return f"{INDEX_DIR}/{self}.idx"

    @property
    def metadata(self) -> str:
        """Path of the Parquet table with one row per sample, relative to the dataset."""
        return f"{METADATA_DIR}/{self}.parquet"

    @property
    def files(self) -> tuple[str, str, str, str]:
        """Paths of the four files of the shard, relative to the dataset: the tar file first."""
        return self.data, self.index, self.dali_index, self.metadata


def parse_shard_name(name: str) -> ShardName:
    """Invert `str(ShardName)`.

    Raises:
        ValueError: the name has another form.
    """
    match = _SHARD_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not a shard name such as train-00000-of-00150")
    return ShardName(match["split"], int(match["number"]), int(match["total"]), int(match["edition"] or 1))


# What lies where, for docs/FORMAT.md -------------------------------------------------------------

STORE_FILES = (
    (STORE_FILE, "kind, version, board, dialect, query, which files"),
    (LEDGER_FILE, "what is listed, fetched, failed; a cache of the files below: `verify --repair` rebuilds it"),
    (CRAWL_LOG_FILE, "what happened, one line per event; older lines in crawl.log.1 and crawl.log.2"),
    (images_tar(0), "the files as fetched, beside each its post as JSON; append-only, sealed at about 1 GB"),
    (posts_table(0), "table `posts`: one row per listed post, failures included"),
    (TAGS_FILE, "table `store_tags`: one row per tag"),
    (HISTORY_FILE, "table `history`: how the tags of posts changed, where a later listing saw it"),
    (ALIASES_FILE, "table `tag_aliases`: other names of tags, where they were asked for"),
    (IMPLICATIONS_FILE, "table `tag_implications`: which tags entail others, where they were asked for"),
)
_EXAMPLE = ShardName("train", 0, 150)
DATASET_FILES = (
    (
        MANIFEST_FILE,
        "kind, version, plan hash, picture recipe, split rule, shards and their hashes, outcomes",
    ),
    (CARD_FILE, "Hugging Face dataset card"),
    (CROISSANT_FILE, "the same for programs: Croissant 1.0 metadata (MLCommons)"),
    (TAGS_FILE, "table `dataset_tags`: row i is output i of the model"),
    (OUTCOMES_FILE, "table `outcomes`: what became of each post of the store"),
    (SURVEY_FILE, "table `survey`: how each picture looks, so that a dataset that grows looks at none twice"),
    (REMOVED_FILE, "table `removed`: posts that are never to come back, if there are any"),
    (_EXAMPLE.data, "per sample a picture and a JSON object with always the same keys, never null"),
    (_EXAMPLE.index, "member name to offset, size and SHA-256; hfutils and cheesechaser read it"),
    (_EXAMPLE.dali_index, "the same for NVIDIA DALI (v1.2)"),
    (_EXAMPLE.metadata, "table `metadata`: one row per sample, in the order of the shard"),
)
RUN_FILES = (
    (RUN_FILE, "kind, version, dataset, recipe, every setting"),
    (LOG_FILE, "one row per epoch"),
    (CHECKED_FILE, "which shards were compared with their SHA-256, and the state of each file then"),
    (f"{CHECKPOINTS_DIR}/", "what training goes on from, and `best.npz`, the network of the best validation"),
    (f"{FEATURES_DIR}/", "with `--cache-features`: per shard what the frozen backbone makes of its pictures"),
    (f"{TENSORBOARD_DIR}/", "with `--tensorboard`: its events"),
    (DIVERGED_FILE, "only where the loss ceased to be a number: the pictures of that step"),
    (f"{MODEL_DIR}/{MODEL_FILE}", "what the network is and how to feed it"),
    (f"{MODEL_DIR}/{WEIGHTS_FILE}", "its weights"),
    (f"{MODEL_DIR}/{MODEL_TAGS_FILE}", "row i is output i"),
    (f"{MODEL_DIR}/{THRESHOLDS_FILE}", "thresholds per tag, where they were tuned on the validation split"),
)

# Tables --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        type: "int32", "int64", "string", "binary", "timestamp" (UTC, seconds), "list<string>" or "list<int32>".
        nullable: whether a row may lack the value.
    """

    name: str
    type: str
    meaning: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of one kind of Parquet file, in order; the name stands in the file's metadata."""

    name: str
    columns: tuple[Column, ...]


_TAG_GROUPS = (
    Column("tags_general", "list<string>", "general tags, sorted"),
    Column("tags_artist", "list<string>", "artist tags, sorted"),
    Column("tags_copyright", "list<string>", "copyright tags, sorted"),
    Column("tags_character", "list<string>", "character tags, sorted"),
    Column("tags_meta", "list<string>", "meta tags, sorted"),
    Column("tags_unknown", "list<string>", "tags whose category is not known, sorted"),
)
_BOARD_FACTS = (
    Column("rating", "string", "general, sensitive, questionable, explicit, or empty"),
    Column("score", "int64", "votes; null if nobody voted", nullable=True),
    Column("source", "string", "where the picture comes from, free text"),
    Column("parent_id", "int64", "the post that this one is a variant of", nullable=True),
    Column("created_at", "timestamp", "when it was posted, if the board says", nullable=True),
)

POSTS = Table(
    "posts",
    (
        Column("id", "int64", "the board's post number"),
        *_TAG_GROUPS,
        *_BOARD_FACTS,
        Column("changed_at", "timestamp", "when it was last edited, if the board says", nullable=True),
        Column("width", "int32", "of the original, px"),
        Column("height", "int32", "of the original, px"),
        Column("md5", "string", "of the original as the board imported it", nullable=True),
        Column("file_ext", "string", "of the original, lower case, no dot"),
        Column("board_status", "string", "the board's own word, or deleted if a later look found it gone"),
        Column("file_url", "string", "the original", nullable=True),
        Column("sample_url", "string", "the reduced picture, if there is one", nullable=True),
        Column("status", "string", "pending, stored, duplicate, skipped or failed"),
        Column("reason", "string", "why skipped, or the kind of failure; empty if stored"),
        Column("error", "string", "the last failure in words; empty if none"),
        Column("attempts", "int32", "requests made for the file"),
        Column("http_status", "int32", "of the last answer", nullable=True),
        Column("duplicate_of", "int64", "the stored post with the same bytes", nullable=True),
        Column("fetched_url", "string", "where the stored bytes came from", nullable=True),
        Column("tar", "int32", "number of the tar file in images/", nullable=True),
        Column("offset", "int64", "first byte of the picture in that tar", nullable=True),
        Column("size", "int64", "bytes of the picture", nullable=True),
        Column("stored_format", "string", "JPEG, PNG, GIF or WEBP, by content", nullable=True),
        Column("stored_width", "int32", "of the stored picture, px", nullable=True),
        Column("stored_height", "int32", "of the stored picture, px", nullable=True),
        Column("stored_md5", "string", "of the stored bytes", nullable=True),
    ),
)

STORE_TAGS = Table(
    "store_tags",
    (
        Column("name", "string", "the tag, entities unescaped, underscores kept"),
        Column("category", "string", "general, artist, copyright, character, meta or unknown"),
        Column("count", "int64", "posts of this store that carry it"),
        Column("board_count", "int64", "posts of the board that carry it, if asked", nullable=True),
    ),
)

HISTORY = Table(
    "history",
    (
        Column("id", "int64", "the board's post number"),
        Column("seen_at", "timestamp", "when the crawl saw other tags than before"),
        Column("tags_added", "list<string>", "that it had not before, sorted"),
        Column("tags_removed", "list<string>", "that it had before and has no more, sorted"),
    ),
)

TAG_ALIASES = Table(
    "tag_aliases",
    (
        Column("antecedent", "string", "a name that is not to be used"),
        Column("consequent", "string", "the tag that it stands for"),
    ),
)

TAG_IMPLICATIONS = Table(
    "tag_implications",
    (
        Column("antecedent", "string", "a tag"),
        Column("consequent", "string", "a tag that every picture with the antecedent has, too"),
    ),
)

DATASET_TAGS = Table(
    "dataset_tags",
    (
        Column("index", "int32", "row i is output i of the model"),
        Column("name", "string", "the tag"),
        Column("category", "string", "general, artist, copyright, character, meta or unknown"),
        Column("count", "int64", "training samples that carry it"),
    ),
)

METADATA = Table(
    "metadata",
    (
        Column("id", "int64", "the board's post number"),
        Column("key", "string", "tar member name without suffix"),
        Column("offset", "int64", "first byte of the picture in the shard"),
        Column("size", "int64", "bytes of the picture"),
        Column("sha256", "string", "of the picture in the shard"),
        Column("width", "int32", "of the picture in the shard, px"),
        Column("height", "int32", "of the picture in the shard, px"),
        Column("labels", "list<int32>", "indices into tags.parquet, ascending"),
        Column("group_id", "int64", "smallest id of its group: alike pictures and families, never split"),
        *_TAG_GROUPS,
        *_BOARD_FACTS,
        Column("url", "string", "where the bytes came from"),
        Column("source_width", "int32", "of the stored picture, px"),
        Column("source_height", "int32", "of the stored picture, px"),
        Column("source_md5", "string", "of the stored bytes"),
        Column("original_md5", "string", "of the original, as the board says", nullable=True),
    ),
)

HASH_COLUMNS = (
    Column("phash", "int64", "perceptual hash, as a signed number"),
    Column("phash_trimmed", "int64", "the same of the picture without its margins"),
    Column("phash_mirrored", "int64", "the same of its mirror image"),
    Column("phash_mirrored_trimmed", "int64", "the same of its mirror image without margins"),
)
THUMBNAIL_COLUMN = Column("thumbnail", "binary", "16 x 16 luminances, row by row; empty if unusable")

OUTCOMES = Table(
    "outcomes",
    (
        Column("id", "int64", "every post of the store, once"),
        Column("outcome", "string", "stored, duplicate, dropped or failed"),
        Column("reason", "string", "why dropped, or the kind of failure; empty if stored"),
        Column("duplicate_of", "int64", "the post that stands for it", nullable=True),
        Column("shard", "string", "the shard that holds it", nullable=True),
    ),
)

SURVEY = Table(
    "survey",
    (
        Column("id", "int64", "the board's post number"),
        Column("source_md5", "string", "of the stored bytes"),
        Column("reason", "string", "why the picture cannot be used; empty if it can"),
        *HASH_COLUMNS,
        THUMBNAIL_COLUMN,
    ),
)

REMOVED = Table(
    "removed",
    (
        Column("id", "int64", "the board's post number"),
        Column("edition", "int64", "of the dataset, the first without it"),
        Column(
            "source_md5",
            "string",
            "of the stored bytes: they do not come back under another number",
            nullable=True,
        ),
    ),
)

TABLES = (
    *(POSTS, STORE_TAGS, HISTORY, TAG_ALIASES, TAG_IMPLICATIONS),
    *(DATASET_TAGS, METADATA, OUTCOMES, SURVEY, REMOVED),
)

# `vector` has a type of its own in each file, see `vectors.vector_file`; the metadata of the file says of which
# model the vectors are, and of which dataset the pictures.
VECTORS = Table(
    "vectors",
    (
        Column("key", "string", "the picture: its absolute path, or its key in the dataset"),
        Column("tags", "list<string>", "what the model sees in it, the most probable first; no ratings"),
        Column("vector", "vector", "fixed-size list of float16 or float32, or binary of one bit a unit"),
    ),
)

# Vectors -------------------------------------------------------------------------------------

PARTS_SUFFIX = ".parts"  # beside the file of vectors while it grows
PARTS_LOCK_FILE = "embed.lock"
INDEX_SUFFIX = ".index"  # beside the file of vectors, what is searched
INDEX_FILE = "index.json"
INDEX_VECTORS_FILE = "vectors.faiss"
INDEX_PICTURES_FILE = "pictures.parquet"


def vectors_part(number: int) -> str:
    """Name of a part of a file of vectors that is not whole yet."""
    return f"part-{number:06d}.parquet"
