"""Search for the pictures nearest to a picture or to tags: the orchestrator of `alti2v search`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alti2v.errors import Alti2vError, DataError, UsageError
from alti2v.model.loading.fingerprint import model_hash
from alti2v.model.loading.folder import read_vocabulary
from alti2v.model.tagging.tagger import Tagger, load_tagger
from alti2v.model.vocabulary import OutputTags, find_tags, make_vocabulary
from alti2v.records import Category, ProgressHook, ignore_progress
from alti2v.vectors.config import Form, SearchConfig
from alti2v.vectors.index import Index, Neighbour, neighbours
from alti2v.vectors.index_build import open_or_build
from alti2v.vectors.sources import path_key, picture_names
from alti2v.vectors.vector_file import Vectors, as_vectors, read_origin, read_rows, read_tags


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """Result of `search`.

    Attributes:
        query: Path of the picture (`sources.path_key`), or the tags.
        carriers: Number of pictures with the tags, whose mean vector is the query; None for a picture.
        neighbours: Similar pictures, the most similar first.
        similarity: Meaning and range of the similarities; that of equal vectors is 1.
        pictures: Number of pictures in the index.
        recall: Share of the true neighbours that the index finds, measured when it was built.
        dataset: Dataset of the pictures; "" for files.
        file_names: File names of the neighbours that were imported into the dataset, by key.
        seconds: Wall-clock time, including opening or building the index.
    """

    query: str
    carriers: int | None
    neighbours: tuple[Neighbour, ...]
    similarity: str
    pictures: int
    recall: float
    dataset: str
    file_names: Mapping[str, str]
    seconds: float


def search(config: SearchConfig, *, progress: ProgressHook = ignore_progress) -> SearchReport:
    """Find the pictures nearest to a picture, or to the mean of those with some tags.

    Raises:
        UsageError: A file or tag does not exist, the vectors are of another model, or faiss is not installed.
        DataError: The picture cannot be used, or no picture has a tag, or all of them.
        DamagedError: The vectors or the index are damaged.
    """
    begun_s = time.monotonic()
    origin = read_origin(config.vectors)
    carriers = None
    if config.picture is not None and config.model is not None:
        if model_hash(config.model) != origin.model_sha256:
            raise UsageError(
                f"{config.vectors} was made with {origin.model}, not with {config.model}: "
                f"give --model {origin.model}"
            )
        tagger = load_tagger(config.model, batch_size=1, pictures=1)
        query = picture_vector(tagger, config.picture, origin.form)
        shown = path_key(config.picture)
    else:
        names = _known_tags(config.vectors, origin.model, config.tags)
        query, carriers = centre_of_tags(config.vectors, names)
        shown = ", ".join(names)
    index: Index = open_or_build(config.vectors, config.index_dir, progress=progress)
    nearest = neighbours(index, query, config.count)
    return SearchReport(
        query=shown,
        carriers=carriers,
        neighbours=nearest,
        similarity=origin.form.similarity,
        pictures=index.rows,
        recall=index.recall,
        dataset=origin.dataset,
        file_names=picture_names(origin.dataset, (one.key for one in nearest)),
        seconds=round(time.monotonic() - begun_s, 3),
    )


def picture_vector(tagger: Tagger, picture: Path, form: Form) -> Vectors:
    """Compute the vector of a picture, (width,).

    Raises:
        DataError: The picture cannot be used.
    """
    vector: Vectors = as_vectors(tagger.extract_feature([picture]), form)[0]
    return vector


def centre_of_tags(vectors: Path, tags: tuple[str, ...]) -> tuple[Vectors, int]:
    """Compute the mean vector of the pictures with all of these predicted tags, and their number.

    For numbers it is the mean of the vectors scaled to equal length, whose direction has the largest mean
    cosine to them. For codes each bit is the majority's, which gives the least mean Hamming distance to them.

    Raises:
        DataError: No picture has all of them.
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
        raise DataError(f"no picture of {vectors} has all of {', '.join(tags)}: give fewer tags")
    if origin.form is Form.BINARY:
        return np.packbits(2 * total > count), count
    return (total / count).astype(np.float32), count


def _known_tags(vectors: Path, model: str, wanted: str) -> tuple[str, ...]:
    """Find the tags in the file's spelling.

    Raises:
        DataError: The model knows one of them, but no picture is predicted to have it.
        UsageError: A name is not a tag; the message suggests the nearest names.
    """
    counts: Counter[str] = Counter()
    for names in read_tags(vectors):
        for entry in names.value_counts().to_pylist():
            counts[entry["values"]] += entry["counts"]
    known = _vocabulary_of(model)
    rare = [name for name in known.names if name not in counts] if known is not None else []
    vocabulary = make_vocabulary(
        ((name, Category.UNKNOWN.value) for name in (*(name for name, _ in counts.most_common()), *rare)),
        file="" if known is None else known.file,
    )
    # A model that is gone may know a tag that none of these pictures has.
    denial = (
        f"the pictures of {vectors} are not predicted to have the" if known is None else f"{model} knows no"
    )
    found = tuple(vocabulary.names[output] for output in find_tags(vocabulary, [wanted], denial=denial))
    for name in found:
        if name not in counts:
            raise DataError(f"no picture of {vectors} is predicted to have the tag {name!r}: give another tag")
    return found


def _vocabulary_of(model: str) -> OutputTags | None:
    """Return the tags of the model of a file of vectors; None if it is no longer there."""
    try:
        return read_vocabulary(Path(model))
    except (Alti2vError, OSError):
        return None
