"""Files of vectors: Parquet with one row per picture and the model in the metadata. No TensorFlow.

A vector is a fixed-size list of float16 or float32, or a fixed-size binary of one bit per unit
(`numpy.packbits` order: the first unit is the highest bit of the first byte).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alti2v.arrays import Float32Array
from alti2v.errors import DamagedError, UsageError, VersionError
from alti2v.storage.columns import VECTORS
from alti2v.storage.layout import FORMAT_VERSION
from alti2v.storage.parquet import row_groups
from alti2v.storage.publish import publish
from alti2v.vectors.config import Form

Vectors = npt.NDArray[Any]  # (n, width) float16, float32, or uint8 for codes

_PREFIX = "alti2v."
_TABLE_KEY, _VERSION_KEY = f"{_PREFIX}table", f"{_PREFIX}format_version"
_BATCH_ROWS = 8192
_MOST_WIDTH = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Origin of all vectors of a file.

    Attributes:
        model: Path of the model, as given.
        model_sha256: Hash of its weights; vectors of different models cannot be compared.
        form: Form of the numbers.
        width: Number of units, or bytes of a code.
        dataset: Absolute path of the dataset of the pictures; "" for files.
    """

    model: str
    model_sha256: str
    form: Form
    width: int
    dataset: str = ""

    @property
    def schema(self) -> pa.Schema:
        """Columns, with this origin in the metadata."""
        kinds = {Form.FLOAT16: pa.float16(), Form.FLOAT32: pa.float32()}
        kind = pa.binary(self.width) if self.form is Form.BINARY else pa.list_(kinds[self.form], self.width)
        types = (pa.string(), pa.list_(pa.string()), kind)
        columns = zip(VECTORS.columns, types, strict=True)
        return pa.schema(
            [pa.field(column.name, type_, nullable=False) for column, type_ in columns],
            metadata={
                _TABLE_KEY: VECTORS.name,
                _VERSION_KEY: str(FORMAT_VERSION),
                **{_PREFIX + name: str(getattr(self, name)) for name in _FACTS},
            },
        )

    def is_comparable(self, other: Origin) -> bool:
        """Return whether the vectors are of the same model and form, wherever the model was stored."""
        return (self.model_sha256, self.form, self.width) == (other.model_sha256, other.form, other.width)


_FACTS = ("model", "model_sha256", "form", "width", "dataset")


@dataclass(frozen=True, slots=True)
class Rows:
    """Keys, tags and vectors (n, width) of some pictures."""

    keys: list[str]
    tags: list[list[str]]
    vectors: Vectors


def as_vectors(features: Float32Array, form: Form) -> Vectors:
    """Convert features (n, F), each at least 0, to the stored form.

    As in illustration2vec, a bit is 1 if its feature is above 0; see `Tagger.extract_binary_feature`.
    """
    if form is Form.BINARY:
        return np.packbits(features > 0, axis=1)
    # Numbers too large for float16 become its largest one; infinity would make all distances NaN.
    largest = float(np.finfo(np.dtype(form)).max)
    return np.minimum(features, largest).astype(np.dtype(form))


def width_of(features: int, form: Form) -> int:
    """Return the numbers of a vector, or the bytes of a code, of F units."""
    return -(-features // 8) if form is Form.BINARY else features


def write_rows(path: Path, origin: Origin, rows: Rows) -> None:
    """Publish a file of vectors.

    Raises:
        StorageError: The file system refuses.
    """
    schema = origin.schema
    flat = np.ascontiguousarray(rows.vectors).reshape(-1)
    if origin.form is Form.BINARY:
        kind = schema.field("vector").type
        vectors = pa.Array.from_buffers(kind, len(rows.keys), [None, pa.py_buffer(flat.tobytes())])
    else:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=schema.field("vector").type)
    columns = [pa.array(rows.keys, pa.string()), pa.array(rows.tags, pa.list_(pa.string())), vectors]
    table = pa.Table.from_arrays(columns, schema=schema)
    publish(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def merge_files(out: Path, origin: Origin, parts: Sequence[Path]) -> int:
    """Merge files into one; `out` may be among them. Holds one row group in memory.

    Returns:
        Number of rows.

    Raises:
        DamagedError: A part cannot be read.
        StorageError: The file system refuses; `out` is unchanged.
    """
    written = 0

    def write(temporary: Path) -> None:
        nonlocal written
        with pq.ParquetWriter(temporary, origin.schema, compression="zstd") as writer:
            for part in parts:
                with _open(part) as file:
                    for group in row_groups(file):
                        writer.write_table(group.cast(origin.schema))
                        written += len(group)

    publish(out, write)
    return written


def read_origin(path: Path) -> Origin:
    """Read the origin of a file of vectors.

    Raises:
        UsageError: The file does not exist, or is another table.
        VersionError: It has another format version.
        DamagedError: It is not a Parquet file.
    """
    with _open(path) as file:
        found = pq.read_schema(file)
        metadata = {key.decode(): value.decode() for key, value in (found.metadata or {}).items()}
    if metadata.get(_TABLE_KEY) != VECTORS.name:
        raise UsageError(f"{path} is not a file of vectors: make one with `alti2v embed`")
    if metadata.get(_VERSION_KEY) != str(FORMAT_VERSION):
        raise VersionError(f"{path} has another format version: use the alti2v that wrote it, or embed again")
    try:
        facts = {name: metadata[_PREFIX + name] for name in _FACTS}
        origin = Origin(
            model=facts["model"],
            model_sha256=facts["model_sha256"],
            form=Form(facts["form"]),
            width=int(facts["width"]),
            dataset=facts["dataset"],
        )
        if not 1 <= origin.width <= _MOST_WIDTH or not found.equals(origin.schema):
            raise ValueError("its columns are not those that it names")
        return origin
    except (KeyError, ValueError) as exc:
        raise DamagedError(f"{path} does not name the model of its vectors ({exc}): embed again") from exc


def count_rows(path: Path) -> int:
    """Count the pictures in a file of vectors."""
    with _open(path) as file:
        return int(pq.read_metadata(file).num_rows)


def read_keys(path: Path) -> Iterator[str]:
    """Stream the keys of a file of vectors.

    Raises:
        DamagedError: It cannot be read.
    """
    with _open(path) as file:
        for group in row_groups(file, ["key"]):
            yield from group.column(0).to_pylist()


def read_rows(path: Path, *, rows: int = _BATCH_ROWS) -> Iterator[Rows]:
    """Stream a file of vectors, some rows at a time.

    Raises:
        DamagedError: It cannot be read.
    """
    form = read_origin(path).form
    with _open(path) as file:
        for batch in (batch for group in row_groups(file) for batch in group.to_batches(rows)):
            yield Rows(
                keys=batch.column("key").to_pylist(),
                tags=batch.column("tags").to_pylist(),
                vectors=_numbers(batch.column("vector"), form),
            )


def read_vectors(path: Path, *, rows: int = _BATCH_ROWS) -> Iterator[Vectors]:
    """Stream only the vectors of a file, some rows at a time, see `read_rows`."""
    form = read_origin(path).form
    with _open(path) as file:
        for group in row_groups(file, ["vector"]):
            for batch in group.to_batches(rows):
                yield _numbers(batch.column(0), form)


def _numbers(column: Any, form: Form) -> Vectors:  # noqa: ANN401 - pyarrow has no types
    if form is Form.BINARY:
        width = column.type.byte_width
        content = np.frombuffer(column.buffers()[1], np.uint8)
        return content[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)
    numbers: Vectors = column.flatten().to_numpy(zero_copy_only=False)
    if not np.isfinite(numbers).all():
        raise ValueError("a vector is not finite")
    return numbers.reshape(len(column), -1)


def read_tags(path: Path) -> Iterator[Any]:
    """Stream the tags of a file of vectors as Arrow arrays of names.

    Raises:
        DamagedError: It cannot be read.
    """
    with _open(path) as file:
        for group in row_groups(file, ["tags"]):
            for chunk in group.column(0).chunks:
                yield chunk.flatten()


@contextlib.contextmanager
def _open(path: Path) -> Iterator[pa.NativeFile]:
    """Open a Parquet file for the duration of a block, with clear errors."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a file: give a file of `alti2v embed`")
        with pa.OSFile(str(path)) as file:
            yield file
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: make it with `alti2v embed`") from None
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise DamagedError(f"{path} cannot be read as Parquet ({exc!s:.100}): embed again") from exc
