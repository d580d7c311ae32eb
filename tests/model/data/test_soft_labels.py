"""Files of soft labels: what is written is read, padding is neutral, damage is one line."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alti2v.arrays import Float32Array
from alti2v.dataset.manifest import Shard, read_manifest
from alti2v.errors import DamagedError
from alti2v.model.data.pipeline import multi_hot, training_batches
from alti2v.model.data.shard_rows import is_whole, with_shard
from alti2v.model.data.soft_labels import (
    read_soft_labels,
    soft_labels_file,
    softened,
    write_soft_labels,
)
from tests.model.helpers.tiny_dataset import write_squares

pytestmark = pytest.mark.tf
TAGS = 6


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares") / "dataset", train=8, validation=4, test=4)


@pytest.fixture(scope="module")
def shard(dataset: Path) -> Shard:
    (shard,) = read_manifest(dataset).split("train")
    return shard


def probabilities_of(seed: int, *, zeros: float) -> Float32Array:
    draws = np.random.default_rng(seed)
    return np.where(draws.random((8, TAGS)) < zeros, 0, draws.random((8, TAGS))).astype(np.float32)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 99), zeros=st.sampled_from([0.0, 0.5, 1.0]), cut=st.integers(1, 8))
def test_what_was_written_is_read(shard: Shard, tmp_path: Path, seed: int, zeros: float, cut: int) -> None:
    """In any number of batches, for any order of rows; only what is nearly impossible is left out."""
    probabilities = probabilities_of(seed, zeros=zeros)
    write_soft_labels(tmp_path, shard, iter([probabilities[:cut], probabilities[cut:]]))
    order = np.random.default_rng(seed).permutation(8)[:5]
    soft = read_soft_labels(tmp_path, shard, order, tags=TAGS)
    dense = np.zeros((5, TAGS + 1), np.float32)
    np.put_along_axis(dense, soft.tags, soft.probabilities, axis=1)

    assert is_whole(soft_labels_file(tmp_path, shard), shard)
    assert not dense[:, TAGS].any()
    np.testing.assert_array_equal(dense[:, :TAGS], np.where(probabilities >= 0.01, probabilities, 0)[order])


def test_a_label_that_is_there_stays(shard: Shard) -> None:
    """The labels of a picture are 1, others their probability, and padding changes nothing."""
    labels = softened(
        multi_hot(np.array([1, 4, TAGS]), tags=TAGS),
        np.array([2, 3, TAGS, TAGS]),
        np.array([0.25, 0.5, 0, 0], np.float32),
    )
    np.testing.assert_array_equal(labels[:TAGS], [0, 1, 0.25, 0.5, 1, 0])


def test_batches_have_the_soft_labels_of_their_own_pictures(
    dataset: Path, shard: Shard, tmp_path: Path
) -> None:
    """Whatever the order of an epoch, each picture keeps its own; labels that are there are 1."""
    hard = next(iter(training_batches(dataset, batch_size=8, seed=3, epoch=1)))[1].numpy()
    # A probability for each absent tag that says which row of the shard it belongs to.
    rows = (np.arange(8, dtype=np.float32) + 1)[:, np.newaxis] / 10
    write_soft_labels(tmp_path, shard, iter([np.repeat(rows, TAGS, axis=1)]))
    images, soft = next(iter(training_batches(dataset, batch_size=8, seed=3, epoch=1, soft_labels=tmp_path)))
    first = next(iter(training_batches(dataset, batch_size=8, seed=3, soft_labels=tmp_path)))

    np.testing.assert_array_equal(soft.numpy() == 1, hard == 1)
    values = [{round(float(value), 2) for value in row[row < 1]} for row in soft.numpy()]
    assert all(len(value) == 1 for value in values)
    assert sorted(value.pop() for value in values) == [round(float(row), 2) for (row,) in rows]
    # The same picture has the same soft labels in another epoch.
    of_picture = {image.tobytes(): label for image, label in zip(images.numpy(), soft.numpy(), strict=True)}
    for image, label in zip(first[0].numpy(), first[1].numpy(), strict=True):
        np.testing.assert_array_equal(of_picture[image.tobytes()], label)


def test_missing_and_cut_files_are_one_line(shard: Shard, tmp_path: Path) -> None:
    """The message names the file and says what to do."""
    file = soft_labels_file(tmp_path, shard)
    with pytest.raises(DamagedError, match=r"is missing: restore it, or train into another folder"):
        read_soft_labels(tmp_path, shard, None, tags=TAGS)
    assert not is_whole(file, shard)
    write_soft_labels(tmp_path, shard, iter([np.ones((8, TAGS), np.float32)]))
    whole = file.read_bytes()
    for damaged in (whole[:-9], b"", whole.replace(b"PAR1", b"PAR2")):
        file.write_bytes(damaged)
        with pytest.raises(DamagedError, match=rf"{file.name} is damaged .* train into another folder"):
            read_soft_labels(tmp_path, shard, None, tags=TAGS)
        assert not is_whole(file, shard)


def test_files_of_others_are_not_taken_for_it(dataset: Path, shard: Shard, tmp_path: Path) -> None:
    """A file of another shard or dataset, of the features, or of the dataset itself is refused."""
    other, file = replace(shard, sha256="0" * 64), soft_labels_file(tmp_path, shard)
    write_soft_labels(tmp_path, other, iter([np.ones((8, TAGS), np.float32)]))
    for content in (file.read_bytes(), (dataset / shard.name.metadata).read_bytes()):
        file.write_bytes(content)
        with pytest.raises(DamagedError, match="is not of shard train-00000-of-00001 of this dataset"):
            read_soft_labels(tmp_path, shard, None, tags=TAGS)
        assert not is_whole(file, shard)
    write_soft_labels(tmp_path, shard, iter([np.ones((3, TAGS), np.float32)]))
    with pytest.raises(DamagedError, match="is not of shard"):
        read_soft_labels(tmp_path, shard, None, tags=TAGS)


@pytest.mark.parametrize(
    ("tags", "probabilities", "words"),
    [
        ([[TAGS]] * 8, [[0.5]] * 8, "that cannot be"),
        ([[-1]] * 8, [[0.5]] * 8, "that cannot be"),
        ([[0]] * 8, [[1.5]] * 8, "that cannot be"),
        ([[0]] * 8, [[math.nan]] * 8, "that cannot be"),
        ([[0, 1], []] * 4, [[0.5], [0.5]] * 4, "that cannot be"),
        ([None] * 8, [[0.5]] * 8, "lacks a value"),
        ([[0]] * 8, [[None]] * 8, "lacks a value"),
        ([["a"]] * 8, [[0.5]] * 8, "other columns"),
    ],
)
def test_odd_values_are_one_line(
    shard: Shard, tmp_path: Path, tags: list[Any], probabilities: list[Any], words: str
) -> None:
    """No value of a file reaches the labels that this program would not write."""
    is_text = isinstance((tags[0] or [0])[0], str)
    table = pa.table(
        {
            "tags": pa.array(tags, pa.list_(pa.string() if is_text else pa.int32())),
            "probabilities": pa.array(probabilities, pa.list_(pa.float32())),
        }
    )
    table = table.cast(with_shard(table.schema, shard))
    pq.write_table(table, soft_labels_file(tmp_path, shard), write_page_checksum=True)
    with pytest.raises(DamagedError, match=words):
        read_soft_labels(tmp_path, shard, None, tags=TAGS)
