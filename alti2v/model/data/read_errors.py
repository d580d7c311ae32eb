"""Read errors inside the TensorFlow graph, reported as one line that names the pictures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from alti2v.errors import DamagedError
from alti2v.model import backend
from alti2v.model.data.shards import ReadFailure, decode_jpeg, open_source, samples_in_order

# The search for broken pictures: how many to find, how many to name in the message, how many to read at a time.
_MOST_BROKEN, _NAMED, _BATCH = 100, 8, 256


@contextlib.contextmanager
def reading_errors(dataset: Path, *, split: str, failure: ReadFailure) -> Iterator[None]:
    """Translate TensorFlow's errors about damaged bytes into a DamagedError of one line.

    Args:
        dataset: Directory of a dataset.
        split: The split that the block reads.
        failure: Holder of an exception of this program, which is raised in place of TensorFlow's.

    Raises:
        DamagedError: A picture does not decode or has the wrong size, or a file cannot be read.
    """
    errors = backend.tf.errors
    try:
        yield
    except (errors.InvalidArgumentError, errors.NotFoundError, errors.UnknownError) as exc:
        if failure.error is not None:
            raise DamagedError(str(failure.error)) from exc
        reason = next((line for line in str(exc).splitlines() if line.strip()), "no reason given").strip()
        broken, count = broken_pictures(dataset, split=split)
        if not broken:
            raise DamagedError(
                f"{dataset}: a picture cannot be read ({reason:.200}): run `alti2v verify {dataset} --deep`"
            ) from exc
        named = ", ".join(map(str, broken[:_NAMED])) + (" ..." if len(broken) > _NAMED else "")
        raise DamagedError(
            f"{dataset}: {len(broken)} of {count:,} {split} pictures cannot be read: {named}; remove them with "
            f"`alti2v remove {dataset} --ids FILE`, or see `alti2v verify {dataset} --deep`"
        ) from exc


def broken_pictures(dataset: Path, *, split: str, most: int = _MOST_BROKEN) -> tuple[tuple[int, ...], int]:
    """Search a split for pictures that do not decode or do not have the dataset's size; stop after `most`.

    Returns:
        Post numbers of the broken pictures, and the number of pictures that were checked.
    """
    tf = backend.tf
    source = open_source(dataset, split)

    def decodes(content: Any) -> bool:  # noqa: ANN401 - tensor
        try:
            decode_jpeg(content, source=source)
        except (tf.errors.InvalidArgumentError, ValueError):
            return False
        return True

    broken: list[int] = []
    count = 0
    data = samples_in_order(source, source.shards, failure=ReadFailure())
    data = data.map(lambda row, content: (row[0], tf.strings.substr(content, row[1], row[2])))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for ids, contents in data.batch(_BATCH):
            is_whole = list(threads.map(decodes, contents))
            broken += [int(id_) for id_, whole in zip(ids, is_whole, strict=True) if not whole]
            count += len(is_whole)
            if len(broken) >= most:
                break
    return tuple(broken), count
