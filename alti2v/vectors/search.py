"""From a picture or from tags to the nearest pictures: the orchestrator of `alti2v search`."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from alti2v.errors import DataError, UsageError
from alti2v.model.fingerprint import model_hash
from alti2v.model.tagging.tagger import Tagger, load_tagger
from alti2v.model.vocabulary import find_tags, make_vocabulary
from alti2v.records import Category, ProgressHook, ignore_progress
from alti2v.storage.layout import INDEX_SUFFIX
from alti2v.vectors.index import Index, Neighbour, neighbours, open_or_build
from alti2v.vectors.vector_file import Form, Vectors, as_vectors, read_origin, read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """What to look for.

    Attributes:
        vectors: a file of `alti2v embed`.
        picture: to look for; needs `model`, the one that made the vectors.
        model: see `tagger.load_tagger`.
        tags: to look for, with commas between them.
        count: how many pictures.
        index: the index's folder; None for the one beside `vectors`.
    """

    vectors: Path
    picture: Path | None = None
    model: Path | None = None
    tags: str = ""
    count: int = 10
    index: Path | None = None

    def __post_init__(self) -> None:
        if (self.picture is None) == (not self.tags.strip()):
            raise UsageError("give what to look for: --picture FILE or --tags TAGS, one of them")
        if self.picture is not None and self.model is None:
            raise UsageError("--picture needs --model, the one that the vectors were made with")
        if self.count < 1:
            raise UsageError(f"--count {self.count} is less than 1")

    @property
    def index_dir(self) -> Path:
        """Where the index lies."""
        return self.vectors.with_name(self.vectors.name + INDEX_SUFFIX) if self.index is None else self.index


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """What was found.

    Attributes:
        query: the picture's path, or the tags.
        carriers: pictures whose centre was looked for; None for a picture.
        neighbours: the most similar first.
        pictures: that were searched.
        recall: share of the true neighbours that a search in this index finds, as measured.
        dataset: of the pictures; "" for files.
        seconds: wall-clock, opening or building the index included.
    """

    query: str
    carriers: int | None
    neighbours: tuple[Neighbour, ...]
    pictures: int
    recall: float
    dataset: str
    seconds: float


def search(config: SearchConfig, *, progress: ProgressHook = ignore_progress) -> SearchReport:
    """Find the pictures nearest to a picture, or to the centre of those that carry some tags.

    Raises:
        UsageError: no such file, another model than that of the vectors, no such tag, faiss is not installed.
        DataError: the picture cannot be used, or no picture carries all the tags.
        DamagedError: the vectors or the index are damaged.
    """
    begun_s = time.monotonic()
    origin = read_origin(config.vectors)
    carriers = None
    if config.picture is not None and config.model is not None:
        if model_hash(config.model) != origin.model_sha256:
            raise UsageError(f"{config.vectors} is of {origin.model}, not of {config.model}: give that --model")
        query = picture_vector(load_tagger(config.model, batch_size=1), config.picture, origin.form)
        shown = str(config.picture)
    else:
        names = _known_tags(config.vectors, config.tags)
        query, carriers = centre_of_tags(config.vectors, names)
        shown = ", ".join(names)
    index: Index = open_or_build(config.vectors, config.index_dir, progress=progress)
    return SearchReport(
        query=shown,
        carriers=carriers,
        neighbours=neighbours(index, query, config.count),
        pictures=index.rows,
        recall=index.recall,
        dataset=origin.dataset,
        seconds=round(time.monotonic() - begun_s, 3),
    )


def picture_vector(tagger: Tagger, picture: Path, form: Form) -> Vectors:
    """The vector of a picture, (width,).

    Raises:
        DataError: the picture cannot be used.
    """
    vector: Vectors = as_vectors(tagger.extract_feature([picture]), form)[0]
    return vector


def centre_of_tags(vectors: Path, tags: tuple[str, ...]) -> tuple[Vectors, int]:
    """The centre of the pictures in which the model sees all of these tags, and how many they are.

    For numbers it is the mean of the vectors made equally long, whose direction has the largest mean cosine to
    them; for codes each bit is what most of them have, which gives the least mean Hamming distance to them.

    Raises:
        DataError: no picture carries all of them.
    """
    origin, wanted = read_origin(vectors), set(tags)
    total, count = np.zeros(origin.width * (8 if origin.form is Form.BINARY else 1)), 0
    for rows in read_rows(vectors):
        carrying = np.array([wanted.issubset(of_picture) for of_picture in rows.tags], bool)
        count += int(carrying.sum())
        if origin.form is Form.BINARY:
            total += np.unpackbits(rows.vectors[carrying], axis=1).sum(axis=0)
        else:
            numbers = rows.vectors[carrying].astype(np.float64)
            lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
            total += (numbers / np.maximum(lengths, 1e-12)).sum(axis=0)
    if not count:
        raise DataError(
            f"in no picture of {vectors} the model sees {', '.join(tags)} together: ask for fewer tags"
        )
    if origin.form is Form.BINARY:
        return np.packbits(2 * total > count), count
    return (total / count).astype(np.float32), count


def _known_tags(vectors: Path, wanted: str) -> tuple[str, ...]:
    """The tags as the file has them.

    Raises:
        UsageError: no picture carries one of them; the message offers the nearest names.
    """
    counts: Counter[str] = Counter()
    with pq.ParquetFile(vectors) as file:
        for batch in file.iter_batches(columns=["tags"]):
            for entry in batch.column(0).flatten().value_counts().to_pylist():
                counts[entry["values"]] += entry["counts"]
    vocabulary = make_vocabulary((name, Category.UNKNOWN.value) for name, _ in counts.most_common())
    return tuple(vocabulary.names[output] for output in find_tags(vocabulary, [wanted]))
