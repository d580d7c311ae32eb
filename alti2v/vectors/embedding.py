"""Pictures to vectors: the orchestrator of `alti2v embed`.

Vectors are written in parts beside the final file. Each part is published atomically, so a killed run loses
less than one part, and the same command resumes after it.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alti2v.errors import DataError, UsageError
from alti2v.model.loading.fingerprint import model_hash
from alti2v.model.tagging.preprocess import Problem, Source
from alti2v.model.tagging.selection import Criterion, Selection, passing, select
from alti2v.model.tagging.tagger import Prediction, Tagger, UntaggedPicture, load_tagger, predictions
from alti2v.model.tagging.tally import Tally
from alti2v.records import ProgressHook, ignore_progress
from alti2v.storage.directory import exclusive
from alti2v.storage.layout import PARTS_LOCK_FILE, PARTS_SUFFIX, number_in, vectors_part
from alti2v.storage.publish import make_directory, storage_errors, sweep_temporary_files
from alti2v.vectors.config import EmbedConfig, Form
from alti2v.vectors.sources import count_sources, dataset_among, find_sources, path_key
from alti2v.vectors.vector_file import (
    Origin,
    Rows,
    as_vectors,
    count_rows,
    merge_files,
    read_keys,
    read_origin,
    width_of,
    write_rows,
)

# Held in memory, and lost by a kill: 1,000 vectors of 4096 float16 are 8 MB.
PART_PICTURES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedReport:
    """Counts of a finished `embed`. `pictures` is the sum of `embedded`, `skipped` and all of `failed`.

    Attributes:
        out: File of vectors.
        pictures: Number of pictures found.
        embedded: Number of pictures embedded by this run.
        skipped: Number of pictures that were in the file already, or given before.
        failed: Kind of problem -> number of pictures.
        unread: Suffix -> number of pictures in folders whose format is not read; not counted in `pictures`.
        rows: Number of pictures in the file, including those of earlier runs.
        form: One of `Form`.
        width: Numbers or bytes of a vector.
        model_sha256: Hash of the model's weights.
        seconds: Wall-clock time, including loading the model.
    """

    out: Path
    pictures: int
    embedded: int
    skipped: int
    failed: Mapping[str, int]
    unread: Mapping[str, int]
    rows: int
    form: str
    width: int
    model_sha256: str
    seconds: float


def embed(
    config: EmbedConfig,
    *,
    show: Callable[[UntaggedPicture[str]], None],
    listed: Iterable[str] = (),
    progress: ProgressHook = ignore_progress,
) -> EmbedReport:
    """Write the vectors of pictures that are not in the file yet.

    Args:
        config: Options.
        show: Called with each picture that cannot be embedded; the others continue.
        listed: Paths to use for "-".
        progress: Called after each picture.

    Raises:
        UsageError: A file or the model does not exist, the model gives no vectors, or `out` is of another
            model or form.
        DamagedError: The model, the dataset or a part is damaged.
        DataError: Standard input names no picture.
        StorageError: `out` cannot be written to.
    """
    begun_s = time.monotonic()
    dataset = dataset_among(config.inputs)
    total = count_sources(config.inputs)
    tagger = load_tagger(config.model, batch_size=config.batch_size, precision=config.precision)
    width = width_of(tagger.require_features(str(config.model)), config.form)
    origin = Origin(
        model=path_key(config.model),
        model_sha256=model_hash(config.model),
        form=config.form,
        width=width,
        dataset="" if dataset is None else path_key(dataset.resolve()),
    )
    folder = config.out.with_name(config.out.name + PARTS_SUFFIX)
    make_directory(folder)
    with exclusive(folder, PARTS_LOCK_FILE):
        sweep_temporary_files(folder)
        parts = _parts(folder)
        there = ([config.out] if config.out.exists() else []) + parts
        _require_comparable(there, origin)
        tally = Tally(stage="embedding", total=total, hook=progress)
        sources = find_sources(config.inputs, listed, unread=tally.unread)
        waiting = _waiting(sources, _digests(there), tally)
        for number, rows in enumerate(_embedded(tagger, waiting, origin.form, tally, show), _next(parts)):
            write_rows(folder / vectors_part(number), origin, rows)
        if not tally.done:
            raise DataError("standard input named no picture: give a path in each line")
        rows_in_all = _finish(config.out, origin, folder)
    return EmbedReport(
        out=config.out,
        pictures=tally.done,
        embedded=tally.finished,
        skipped=tally.skipped,
        failed=dict(tally.failed),
        unread=dict(tally.unread),
        rows=rows_in_all,
        form=origin.form.value,
        width=origin.width,
        model_sha256=origin.model_sha256,
        seconds=round(time.monotonic() - begun_s, 3),
    )


def _require_comparable(files: Iterable[Path], origin: Origin) -> None:
    """Check that existing and new vectors can be stored in one file.

    Raises:
        UsageError: They are of another model, form or dataset.
    """
    for file in files:
        found = read_origin(file)
        if not found.is_comparable(origin) or found.dataset != origin.dataset:
            raise UsageError(
                f"{file} holds {found.form} vectors of {found.model} ({found.model_sha256[:12]}), "
                f"not {origin.form} of this model ({origin.model_sha256[:12]}) and these pictures: "
                "give another --out"
            )


def _digest(key: str) -> bytes:
    # Ends in a full stop because numpy drops trailing zero bytes of a string.
    return hashlib.blake2b(key.encode(), digest_size=15).digest() + b"."


def _digests(files: Iterable[Path]) -> npt.NDArray[np.bytes_]:
    """Return sorted digests of the keys that are done, 16 bytes each: 1.5 M pictures take 24 MB."""
    return np.sort(np.fromiter((_digest(key) for file in files for key in read_keys(file)), "S16"))


def _waiting(
    sources: Iterable[tuple[str, Source]], done: npt.NDArray[np.bytes_], tally: Tally
) -> Iterator[tuple[str, Source]]:
    """Select the pictures that are not embedded yet, each only once."""
    given: set[bytes] = set()  # a million pictures take about 100 MB
    for key, source in sources:
        digest = _digest(key)
        place = int(np.searchsorted(done, np.bytes_(digest)))
        if digest in given or (place < len(done) and done[place] == digest):
            tally.skip()
        else:
            given.add(digest)
            yield key, source


def _embedded(
    tagger: Tagger,
    waiting: Iterable[tuple[str, Source]],
    form: Form,
    tally: Tally,
    show: Callable[[UntaggedPicture[str]], None],
) -> Iterator[Rows]:
    """Embed pictures, one part at a time."""
    criterion = tagger.criterion("constant")
    held: list[Prediction[str]] = []
    for result in predictions(tagger, waiting):
        result = _with_finite_vector(result)
        if isinstance(result, UntaggedPicture):
            show(result)
            tally.fail(result.problem)
        else:
            held.append(result)
            tally.finish()
        if len(held) == PART_PICTURES:
            yield _rows(tagger, held, criterion, form)
            held = []
    if held:
        yield _rows(tagger, held, criterion, form)


def _with_finite_vector(
    result: Prediction[str] | UntaggedPicture[str],
) -> Prediction[str] | UntaggedPicture[str]:
    """Refuse one picture's vector that is NaN or infinite: a file with it could not be searched."""
    if isinstance(result, UntaggedPicture) or result.features is None or np.isfinite(result.features).all():
        return result
    return UntaggedPicture(
        result.picture, Problem("no_vector", "the model gives NaN or infinity for its vector: leave it out")
    )


def _rows(tagger: Tagger, held: list[Prediction[str]], criterion: Criterion, form: Form) -> Rows:
    probabilities = np.stack([one.probabilities for one in held])
    passed = passing(probabilities, tagger.vocabulary, criterion)
    tags = [
        [tag.name for tag in select(one.probabilities, row, tagger.vocabulary, Selection())]
        for one, row in zip(held, passed, strict=True)
    ]
    features = np.stack([one.features for one in held if one.features is not None])
    return Rows([one.picture for one in held], tags, as_vectors(features, form))


def _parts(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("part-*.parquet") if number_in(file.name) is not None)


def _next(parts: list[Path]) -> int:
    return 1 + max((number_in(part.name) or 0 for part in parts), default=-1)


def _finish(out: Path, origin: Origin, folder: Path) -> int:
    """Merge the file and its parts; return the number of rows."""
    parts = _parts(folder)
    there = [out] if out.exists() else []
    rows = merge_files(out, origin, there + parts) if parts else count_rows(out) if there else 0
    with storage_errors(folder):
        shutil.rmtree(folder)
    return rows
