"""The on-disk contract: version, names of files and folders, member suffixes. The tables are in `columns`.

Pure data and pure functions of names, without file system access. `docs/FORMAT.md` is generated from both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FORMAT_VERSION = 1

# Store ---------------------------------------------------------------------------------------

STORE_FILE = "store.json"
IMPORTED = "import"  # in store.json, in the place of the board's address
LEDGER_FILE = "crawl.sqlite"
CRAWL_LOCK_FILE = "crawl.lock"
CRAWL_LOG_FILE = "crawl.log"
CRAWL_LOG_BACKUPS = 2  # crawl.log.1 is younger than crawl.log.2
IMAGES_DIR = "images"
POSTS_DIR = "posts"
TAGS_FILE = "tags.parquet"
HISTORY_FILE = "history.parquet"
REPLACED_FILE = "replaced.parquet"
ALIASES_FILE = "tag_aliases.parquet"
IMPLICATIONS_FILE = "tag_implications.parquet"

# Dataset -------------------------------------------------------------------------------------

MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"
CROISSANT_FILE = "croissant.json"
DESCRIPTIONS = (CARD_FILE, CROISSANT_FILE)
DATA_DIR = "data"
INDEX_DIR = "index"
METADATA_DIR = "metadata"
OUTCOMES_FILE = "outcomes.parquet"
SURVEY_FILE = "survey.parquet"
REMOVED_FILE = "removed.parquet"
SPLITS = ("train", "validation", "test")

# While a dataset is written: the work folder in it, its lock, the files of the next version, the plan, and
# where a shard is made again.
WORK_DIR = ".build"
BUILD_LOCK_FILE = "lock"
STAGED_DIR = "next"
PLAN_DIR = "plan"
REPAIR_DIR = "repair"

# Marks a local folder as the work folder of a build whose dataset is behind a URL.
REMOTE_FILE = "remote.json"

# Run -----------------------------------------------------------------------------------------

RUN_FILE = "config.json"
TRAIN_LOCK_FILE = "train.lock"
LOG_FILE = "log.csv"
CHECKED_FILE = "checked.json"
DIVERGED_FILE = "diverged.json"
TENSORBOARD_DIR = "tensorboard"
FEATURES_DIR = "features"
SOFT_LABELS_DIR = "soft_labels"
FROZEN_HEAD_FILE = "frozen_head.npz"
CHECKPOINTS_DIR = "checkpoints"
MODEL_DIR = "model"
MODEL_FILE = "model.json"
WEIGHTS_FILE = "model.weights.h5"
MODEL_TAGS_FILE = "tags.csv"
THRESHOLDS_FILE = "thresholds.json"
EVALUATION_DIR = "eval"
METRICS_FILE = "metrics.json"
PER_TAG_FILE = "per_tag.csv"
SUGGESTIONS_FILE = "suggestions.csv"

# Vectors -------------------------------------------------------------------------------------

PARTS_SUFFIX = ".parts"  # folder beside the file of vectors while it is written
PARTS_LOCK_FILE = "embed.lock"
INDEX_SUFFIX = ".index"  # folder beside the file of vectors: the search index
INDEX_FILE = "index.json"
INDEX_VECTORS_FILE = "vectors.faiss"
INDEX_PICTURES_FILE = "pictures.parquet"

POST_JSON_SUFFIX = "json"
# The only formats that are stored, detected by content: the extensions in a board's URLs are often wrong.
IMAGE_SUFFIX_OF_FORMAT = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "AVIF": "avif"}

# Tar files from this number on are hard links to files that somebody else made: their members have other names,
# and nothing is ever written to them.
FIRST_LINKED = 500_000
# Numbers of posts that are made from the MD5s of pictures begin here; those of boards are far below (Danbooru:
# 10 million in 2026), so that both fit into one store.
FIRST_DERIVED_ID = 10**11
_KEY_DIGITS = 12
MOST_MEMBER_BYTES = 2**31 - 1  # of a picture; a decoder takes no larger one
ID_END = 10**_KEY_DIGITS  # all post numbers are below
_NUMBERED_NAME = re.compile(r"(?:images|linked|posts|part)-(?P<number>\d{6,18})\.(?:tar|parquet)")
_SHARD_NAME = re.compile(
    r"(?P<split>[a-z]+)-(?P<number>\d{5,})-of-(?P<total>\d{5,})(?:-e(?P<edition>[2-9]|[1-9]\d+))?"
)


def member_key(post_id: int) -> str:
    """Tar member name of a post, without suffix: 12 digits, no dot (webdataset cuts at the first)."""
    if not 0 <= post_id < ID_END:
        raise ValueError(f"post id {post_id} is outside [0, 10^{_KEY_DIGITS})")
    return f"{post_id:0{_KEY_DIGITS}d}"


def images_tar(number: int) -> str:
    """Path of a tar file of pictures, relative to the store; see `FIRST_LINKED`."""
    return f"{IMAGES_DIR}/{'images' if number < FIRST_LINKED else 'linked'}-{number:06d}.tar"


def posts_table(number: int) -> str:
    """Path of a part of the post table, relative to the store."""
    return f"{POSTS_DIR}/posts-{number:06d}.parquet"


def vectors_part(number: int) -> str:
    """Name of a part of an unfinished file of vectors."""
    return f"part-{number:06d}.parquet"


def number_in(name: str) -> int | None:
    """Number in the file name of a tar file, a part of the post table, or a part of vectors.

    None for other names, such as `images-old.tar`: the file belongs to somebody else.
    """
    match = _NUMBERED_NAME.fullmatch(name)
    number = -1 if match is None else int(match["number"])
    paths = (images_tar(number), posts_table(number), vectors_part(number))
    return number if name in {path.rpartition("/")[2] for path in paths} and number >= 0 else None


@dataclass(frozen=True, slots=True, order=True)
class ShardName:
    """Common name of a shard, its index and its metadata: `train-00000-of-00150`.

    A name never changes its meaning: shards that a later version of the dataset adds carry the version as a
    suffix (`train-00150-of-00152-e2`).

    Attributes:
        split: One of `SPLITS`.
        number: Position in the split, from 0, below `total`.
        total: Shards in this split when this one was written.
        edition: Version of the dataset that the shard was written for, from 1.
    """

    split: str
    number: int
    total: int
    edition: int = 1

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r} is not one of {', '.join(SPLITS)}")
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
    def indices_of_readers(self) -> tuple[str, ...]:
        """Paths of indices that other programs write or want beside the tar file: Energon, cheesechaser."""
        return f"{self.data}.idx", f"{DATA_DIR}/{self}.json"

    @property
    def metadata(self) -> str:
        """Path of the Parquet table with one row per sample, relative to the dataset."""
        return f"{METADATA_DIR}/{self}.parquet"

    @property
    def files(self) -> tuple[str, str, str, str]:
        """Paths of the four files of the shard, relative to the dataset, the tar file first."""
        return self.data, self.index, self.dali_index, self.metadata


def parse_shard_name(name: str) -> ShardName:
    """Parse the result of `str(ShardName)`.

    Raises:
        ValueError: The name has another form.
    """
    match = _SHARD_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not a shard name such as train-00000-of-00150")
    return ShardName(match["split"], int(match["number"]), int(match["total"]), int(match["edition"] or 1))


# Files and folders, for docs/FORMAT.md --------------------------------------------------------

STORE_FILES = (
    (STORE_FILE, "kind, version, board, dialect, query, which files"),
    (
        LEDGER_FILE,
        "listed, fetched and failed posts; a cache of the files below: `verify --repair` rebuilds it",
    ),
    (CRAWL_LOG_FILE, "one line per event; older lines are in crawl.log.1 and crawl.log.2"),
    (images_tar(0), "the fetched files, each followed by its post as JSON; append-only, sealed at about 1 GB"),
    (
        images_tar(FIRST_LINKED),
        "with `import --by-reference`: a hard link to a tar file of yours, never written to",
    ),
    (posts_table(0), "table `posts`: one row per listed post, failures included"),
    (TAGS_FILE, "table `store_tags`: one row per tag"),
    (HISTORY_FILE, "table `history`: changes of tags, where a later listing found any"),
    (REPLACED_FILE, "table `replaced`: former files of posts, where the board replaced any"),
    (ALIASES_FILE, "table `tag_aliases`: other names of tags, if they were requested"),
    (IMPLICATIONS_FILE, "table `tag_implications`: tags that imply other tags, if they were requested"),
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
    (OUTCOMES_FILE, "table `outcomes`: what happened to each post of the store"),
    (
        SURVEY_FILE,
        "table `survey`: hash and thumbnail of each picture, so that later builds need not read it again",
    ),
    (REMOVED_FILE, "table `removed`: posts that were removed and must not return, if there are any"),
    (_EXAMPLE.data, "a picture and a JSON object per sample; the keys are the same everywhere, never null"),
    (
        _EXAMPLE.index,
        "member name to offset, size and SHA-256; hfutils reads it, cheesechaser only beside the tar file",
    ),
    (_EXAMPLE.dali_index, "the same for NVIDIA DALI (v1.2)"),
    (_EXAMPLE.metadata, "table `metadata`: one row per sample, in the order of the shard"),
)
RUN_FILES = (
    (RUN_FILE, "kind, version, dataset, recipe, every setting"),
    (LOG_FILE, "one row per epoch; row 0 is the head start"),
    (CHECKED_FILE, "shards that were compared with their SHA-256, and the state of each file at that time"),
    (
        f"{CHECKPOINTS_DIR}/",
        "training resumes from here; `best.npz` is the network of the best validation, `start.npz` the one "
        "after the head start",
    ),
    (
        f"{FEATURES_DIR}/",
        "per shard the output of the frozen backbone, with a head start or `--cache-features`",
    ),
    (
        f"{SOFT_LABELS_DIR}/",
        "with `--soft-labels`: per shard the probabilities of tags that each picture lacks, but may show",
    ),
    (FROZEN_HEAD_FILE, "with a head start: the head on the frozen backbone, the baseline of the report"),
    (f"{TENSORBOARD_DIR}/", "with `--tensorboard`: TensorBoard events"),
    (DIVERGED_FILE, "only if the loss became NaN or infinite: the pictures of that step"),
    (f"{MODEL_DIR}/{MODEL_FILE}", "architecture of the network, and how to feed it"),
    (f"{MODEL_DIR}/{WEIGHTS_FILE}", "its weights"),
    (f"{MODEL_DIR}/{MODEL_TAGS_FILE}", "row i is output i"),
    (f"{MODEL_DIR}/{THRESHOLDS_FILE}", "thresholds per tag, if they were tuned on the validation split"),
)
# Names that a killed first crawl, build or training may leave in a folder before it has a description file. A
# README or a Croissant file is not among them: alone, it belongs to somebody else.
UNDESCRIBED_NAMES = frozenset(
    {path.partition("/")[0] for path, _ in (*STORE_FILES, *DATASET_FILES, *RUN_FILES)}
    - {STORE_FILE, MANIFEST_FILE, RUN_FILE, *DESCRIPTIONS}
    | {CRAWL_LOCK_FILE, TRAIN_LOCK_FILE}
    | {f"{LEDGER_FILE}-{part}" for part in ("wal", "shm")}  # SQLite's, https://www.sqlite.org/wal.html
    | {f"{CRAWL_LOG_FILE}.{number}" for number in range(1, CRAWL_LOG_BACKUPS + 1)}
)

# All names that this program writes at the top of its folders; a model and an index are such folders, too.
OWN_NAMES = frozenset(
    {*UNDESCRIBED_NAMES, STORE_FILE, MANIFEST_FILE, RUN_FILE, *DESCRIPTIONS, WORK_DIR}
    | {EVALUATION_DIR, MODEL_FILE, WEIGHTS_FILE, MODEL_TAGS_FILE, THRESHOLDS_FILE}
    | {INDEX_FILE, INDEX_VECTORS_FILE, INDEX_PICTURES_FILE}
)
