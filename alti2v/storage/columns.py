"""The on-disk contract: the tables, with the types, bounds and meanings of their columns.

Pure data. `docs/FORMAT.md` is generated from here and from `layout`.
"""

from __future__ import annotations

from dataclasses import dataclass

from alti2v.storage.layout import ID_END, MOST_MEMBER_BYTES


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        type: "int32", "int64", "string", "binary", "timestamp" (UTC, seconds), "list<string>" or "list<int32>".
        nullable: True if a row may lack the value.
        least: Lowest value of a number; None for any.
        most: Highest value of a number; None for any.
        may_lack: True if a whole file may lack a nullable column, because it is from before the column was
            added; it is read as null.
    """

    name: str
    type: str
    meaning: str
    nullable: bool = False
    least: int | None = None
    most: int | None = None
    may_lack: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of one kind of Parquet file, in order; the file's metadata holds the name."""

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
    Column("created_at", "timestamp", "when it was posted, to the second, if the board says", nullable=True),
)

POSTS = Table(
    "posts",
    (
        Column("id", "int64", "the board's post number", least=0),
        *_TAG_GROUPS,
        *_BOARD_FACTS,
        Column(
            "changed_at", "timestamp", "time of the last edit, to the second, if the board says", nullable=True
        ),
        Column("width", "int32", "width of the original, px"),
        Column("height", "int32", "height of the original, px"),
        Column("md5", "string", "MD5 of the original as the board imported it", nullable=True),
        Column("file_ext", "string", "file extension of the original, lower case, no dot"),
        Column("board_status", "string", "the board's own word, or deleted if a later listing lacked it"),
        Column("file_url", "string", "URL of the original", nullable=True),
        Column("sample_url", "string", "URL of the reduced picture, if there is one", nullable=True),
        Column("status", "string", "pending, stored, duplicate, skipped or failed"),
        Column("reason", "string", "why skipped, or the kind of failure; empty if stored"),
        Column("error", "string", "message of the last failure; empty if none"),
        Column("attempts", "int32", "number of requests made for the file"),
        Column("http_status", "int32", "HTTP status of the last response", nullable=True),
        Column("duplicate_of", "int64", "the stored post with the same bytes", nullable=True),
        Column("fetched_url", "string", "URL of the stored bytes", nullable=True),
        Column("tar", "int32", "number of the tar file in images/", nullable=True, least=0),
        Column("offset", "int64", "first byte of the picture in that tar", nullable=True, least=0),
        Column("size", "int64", "size of the picture, bytes", nullable=True, least=1, most=MOST_MEMBER_BYTES),
        Column("stored_format", "string", "JPEG, PNG, GIF, WEBP or AVIF, by content", nullable=True),
        Column("stored_width", "int32", "width of the stored picture, px", nullable=True),
        Column("stored_height", "int32", "height of the stored picture, px", nullable=True),
        Column("stored_md5", "string", "MD5 of the stored bytes", nullable=True),
        Column(
            "stored_crc32",
            "int64",
            "CRC-32 of the stored bytes, as zlib computes it",
            nullable=True,
            may_lack=True,
        ),
    ),
)

STORE_TAGS = Table(
    "store_tags",
    (
        Column("name", "string", "the tag, entities unescaped, underscores kept"),
        Column("category", "string", "general, artist, copyright, character, meta or unknown"),
        Column("count", "int64", "posts of this store that have it"),
        Column("board_count", "int64", "posts of the board that have it, if requested", nullable=True),
    ),
)

HISTORY = Table(
    "history",
    (
        Column("id", "int64", "the board's post number", least=0),
        Column("seen_at", "timestamp", "time when the crawl found that the tags had changed"),
        Column("tags_added", "list<string>", "new tags, sorted"),
        Column("tags_removed", "list<string>", "tags that the post has lost, sorted"),
    ),
)

REPLACED = Table(
    "replaced",
    (
        Column("id", "int64", "the board's post number", least=0),
        Column("seen_at", "timestamp", "time when the crawl found that the board had replaced the file"),
        Column("md5", "string", "MD5 of the former original as the board imported it", nullable=True),
        Column("file_url", "string", "URL of the former original", nullable=True),
        Column("fetched_url", "string", "URL of the stored bytes, if there are any", nullable=True),
        Column("tar", "int32", "number of the tar file in images/ that still holds them", nullable=True),
        Column("offset", "int64", "first byte of the picture in that tar", nullable=True),
        Column("size", "int64", "size of the picture, bytes", nullable=True),
        Column("stored_format", "string", "JPEG, PNG, GIF, WEBP or AVIF, by content", nullable=True),
        Column("stored_width", "int32", "width of the stored picture, px", nullable=True),
        Column("stored_height", "int32", "height of the stored picture, px", nullable=True),
        Column("stored_md5", "string", "MD5 of the stored bytes", nullable=True),
    ),
)

TAG_ALIASES = Table(
    "tag_aliases",
    (
        Column("antecedent", "string", "the alias"),
        Column("consequent", "string", "the tag to use instead"),
    ),
)

TAG_IMPLICATIONS = Table(
    "tag_implications",
    (
        Column("antecedent", "string", "a tag"),
        Column("consequent", "string", "a tag that applies to every picture with the antecedent"),
    ),
)

DATASET_TAGS = Table(
    "dataset_tags",
    (
        Column("index", "int32", "row i is output i of the model"),
        Column("name", "string", "the tag"),
        Column("category", "string", "general, artist, copyright, character, meta or unknown"),
        Column("count", "int64", "training samples that carry it", least=0),
    ),
)

METADATA = Table(
    "metadata",
    (
        Column("id", "int64", "the board's post number", least=0, most=ID_END - 1),
        Column("key", "string", "tar member name without suffix"),
        Column("offset", "int64", "first byte of the picture in the shard", least=0),
        Column("size", "int64", "bytes of the picture", least=1, most=MOST_MEMBER_BYTES),
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
    Column("phash_trimmed", "int64", "perceptual hash of the picture without its margins"),
    Column("phash_mirrored", "int64", "perceptual hash of the mirror image"),
    Column("phash_mirrored_trimmed", "int64", "perceptual hash of the mirror image without margins"),
)
THUMBNAIL_COLUMN = Column("thumbnail", "binary", "16 x 16 luminances, row by row; empty if unusable")

OUTCOMES = Table(
    "outcomes",
    (
        Column("id", "int64", "every post of the store, once", least=0),
        Column("outcome", "string", "stored, duplicate, dropped or failed"),
        Column("reason", "string", "why dropped, or the kind of failure; empty if stored"),
        Column("duplicate_of", "int64", "the post that stands for it", nullable=True),
        Column("shard", "string", "the shard that holds it", nullable=True),
    ),
)

SURVEY = Table(
    "survey",
    (
        Column("id", "int64", "the board's post number", least=0),
        Column("source_md5", "string", "MD5 of the stored bytes"),
        Column("reason", "string", "why the picture cannot be used; empty if it can"),
        *HASH_COLUMNS,
        THUMBNAIL_COLUMN,
    ),
)

REMOVED = Table(
    "removed",
    (
        Column("id", "int64", "the board's post number", least=0),
        Column("edition", "int64", "first version of the dataset without it"),
        Column(
            "source_md5",
            "string",
            "MD5 of the stored bytes: they must not return under another number",
            nullable=True,
        ),
    ),
)

TABLES = (
    *(POSTS, STORE_TAGS, HISTORY, REPLACED, TAG_ALIASES, TAG_IMPLICATIONS),
    *(DATASET_TAGS, METADATA, OUTCOMES, SURVEY, REMOVED),
)

# The type of `vector` differs between files, see `vectors.vector_file`; the metadata of the file name the model
# of the vectors and the dataset of the pictures.
VECTORS = Table(
    "vectors",
    (
        Column("key", "string", "the picture: its absolute path, or its key in the dataset"),
        Column("tags", "list<string>", "tags that the model predicts, most probable first; no ratings"),
        Column("vector", "vector", "fixed-size list of float16 or float32, or binary with one bit per unit"),
    ),
)
