"""The input pipeline: every sample once, the right labels, an order that can be resumed."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alti2v.dataset.manifest import read_manifest, read_vocabulary
from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.model.data.pipeline import evaluation_batches, ids_of_batch, training_batches
from alti2v.model.data.read_errors import broken_pictures
from alti2v.model.network.augment import PictureChange
from alti2v.model.recipes import Augmentation
from tests.model.helpers.tiny_dataset import COLOURS, Drawn, square, write_dataset, write_squares

pytestmark = pytest.mark.tf
TRAIN, VALIDATION, TEST = 37, 5, 9


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_squares(
        tmp_path_factory.mktemp("input") / "dataset",
        train=TRAIN,
        validation=VALIDATION,
        test=TEST,
        shard_samples=8,
    )


def pixels(drawn: Any) -> Any:
    return np.asarray(Image.open(io.BytesIO(drawn.jpeg)))


def epoch(dataset: Path, **options: Any) -> Any:
    """The batches of one epoch as numpy arrays."""
    options = {"batch_size": 10, "seed": 3, **options}
    return list(training_batches(dataset, **options).as_numpy_iterator())


def fingerprints(batches: Any) -> Any:
    return [image.tobytes() for images, _ in batches for image in images]


def test_every_sample_once(dataset: Path) -> None:
    """An epoch holds every training sample exactly once, whatever the batch size."""
    expected = Counter(pixels(square(number, size=32)).tobytes() for number in range(TRAIN))

    assert Counter(fingerprints(epoch(dataset))) == expected
    assert Counter(fingerprints(epoch(dataset, batch_size=16, seed=4, epoch=9))) == expected


def test_shapes_and_types(dataset: Path) -> None:
    """Batches are (B, S, S, 3) uint8 and (B, T) float32; the last holds the remainder; the length is known."""
    batches = epoch(dataset)

    assert [len(images) for images, _ in batches] == [10, 10, 10, 7]
    assert {(images.dtype, images.shape[1:]) for images, _ in batches} == {(np.dtype("uint8"), (32, 32, 3))}
    assert {(labels.dtype, labels.shape[1:]) for _, labels in batches} == {(np.dtype("float32"), (6,))}
    assert training_batches(dataset, batch_size=10, seed=0).cardinality() == 4


def test_labels_belong_to_their_pictures(dataset: Path) -> None:
    """After all shuffling, a picture comes with its own tags."""
    names = [tag.name for tag in read_vocabulary(dataset)]
    expected = {}
    for number in range(TRAIN):
        drawn = square(number, size=32)
        expected[pixels(drawn).tobytes()] = drawn.tags

    for images, labels in epoch(dataset):
        for image, row in zip(images, labels, strict=True):
            assert tuple(names[i] for i in np.flatnonzero(row)) == expected[image.tobytes()]


def test_pictures_with_many_tags_and_with_none(tmp_path: Path) -> None:
    """Label rows are padded to the longest of their shard, and the padding is no tag."""
    tags = ("a", "b", "c")
    carried = [(), ("c",), (), ("a", "b", "c"), ("b",), (), ()]
    samples = [Drawn(id=n + 1, jpeg=square(n, size=32).jpeg, tags=names) for n, names in enumerate(carried)]
    dataset = write_dataset(
        tmp_path / "dataset", {"train": samples, "test": samples}, size=32, tags=tags, shard_samples=5
    )
    expected = {
        pixels(one).tobytes(): [float(tag in names) for tag in tags]
        for one, names in zip(samples, carried, strict=True)
    }
    (test,) = evaluation_batches(dataset, split="test", batch_size=7)

    for images, labels in [*epoch(dataset), (test.images, test.labels)]:
        for image, row in zip(images, labels, strict=True):
            assert row.tolist() == expected[image.tobytes()]


def test_order_depends_on_seed_and_epoch_alone(dataset: Path) -> None:
    """The same seed and epoch give the same batches again; another seed or epoch gives others."""
    reference = fingerprints(epoch(dataset, epoch=2))

    assert fingerprints(epoch(dataset, epoch=2)) == reference
    assert fingerprints(epoch(dataset, epoch=3)) != reference
    assert fingerprints(epoch(dataset, epoch=2, seed=4)) != reference


def test_shards_are_mixed(dataset: Path) -> None:
    """A batch holds samples of several shards, not one shard after the other."""
    shard_of = {pixels(square(number, size=32)).tobytes(): number // 8 for number in range(TRAIN)}

    for images, _ in epoch(dataset)[:3]:
        assert len({shard_of[image.tobytes()] for image in images}) >= 3


def test_shards_begin_one_after_the_other(tmp_path: Path) -> None:
    """Shards that are read together do not end together: each is replaced while three others are in use."""
    samples = [square(number, size=32) for number in range(96)]
    dataset = write_dataset(tmp_path / "dataset", {"train": samples}, size=32, shard_samples=8)
    ids = ids_of_batch(dataset, batch_size=96, seed=0, epoch=0, batch=0)
    begun = sorted({(id_ - 1000) // 8: place for place, id_ in reversed(list(enumerate(ids)))}.values())

    assert sorted(ids) == [sample.id for sample in samples]
    assert begun[:4] == [0, 1, 2, 3]
    assert min(np.diff(begun[3:])) >= 4


@pytest.mark.parametrize("skipped", [1, 3, 4])
def test_skipping_leaves_the_rest_as_it_was(dataset: Path, skipped: Any) -> None:
    """An epoch that is resumed at batch k continues exactly like one read from its start."""
    what = Augmentation(flip=True, shift=0.1)
    whole = epoch(dataset, epoch=1, augmentation=what)
    rest = epoch(dataset, epoch=1, skip_batches=skipped, augmentation=what)

    assert len(rest) == len(whole) - skipped
    for ((images, changes), labels), expected in zip(rest, whole[skipped:], strict=True):
        np.testing.assert_array_equal(images, expected[0][0])
        np.testing.assert_array_equal(changes, expected[0][1])
        np.testing.assert_array_equal(labels, expected[1])


@pytest.mark.parametrize(
    ("tag", "is_flipped"),
    [
        *(("left-handed", False), ("hand_on_right_hip", False), ("left/right_swap", False), ("Right's", False)),
        *(("copyright_name", True), ("bright_pupils", True)),
    ],
)
def test_pictures_with_a_side_are_not_flipped(tmp_path: Path, tag: Any, is_flipped: Any) -> None:
    """A tag that names left or right keeps its pictures from being mirrored; one that only contains the
    letters does not."""
    drawn = [Drawn(id=n + 1, jpeg=square(n, size=32).jpeg, tags=("solo", tag)) for n in range(24)]
    dataset = write_dataset(tmp_path / "dataset", {"train": drawn}, size=32, tags=("solo", tag))
    batches = epoch(dataset, augmentation=Augmentation(flip=True))

    assert any(changes[:, PictureChange.IS_MIRRORED].any() for (_, changes), _ in batches) == is_flipped


def test_evaluation_batches_are_in_order_and_padded(dataset: Path) -> None:
    """Evaluation sees every sample once, in the order of the dataset; the last batch is padded with zeros."""
    batches = list(evaluation_batches(dataset, split="test", batch_size=4))
    expected = [square(TRAIN + VALIDATION + number, size=32) for number in range(TEST)]

    assert [batch.count for batch in batches] == [4, 4, 1]
    assert [int(i) for batch in batches for i in batch.ids[: batch.count]] == [drawn.id for drawn in expected]
    for number, drawn in enumerate(expected):
        batch = batches[number // 4]
        np.testing.assert_array_equal(batch.images[number % 4], pixels(drawn))
        assert batch.labels[number % 4].sum() == len(drawn.tags)
    last = batches[-1]
    assert (last.images.shape, last.images.dtype) == ((4, 32, 32, 3), np.dtype(np.uint8))
    assert (last.labels.shape, last.labels.dtype) == ((4, len(COLOURS)), np.dtype(np.uint8))
    assert not last.images[1:].any()
    assert not last.labels[1:].any()
    assert not last.ids[1:].any()


def test_empty_split_is_said(tmp_path: Path) -> None:
    """A split without samples is an error, not an empty evaluation."""
    dataset = write_squares(tmp_path / "dataset", train=4, validation=0, test=0)

    with pytest.raises(DataError, match="no test pictures"):
        next(evaluation_batches(dataset, split="test", batch_size=4))


def test_missing_shard_is_named(tmp_path: Path) -> None:
    """A missing shard is named before anything is read."""
    dataset = write_squares(tmp_path / "dataset", train=20, validation=0, test=0, shard_samples=8)
    gone = dataset / read_manifest(dataset).split("train")[1].name.data
    gone.unlink()

    with pytest.raises(DamagedError, match=re.escape(f"{gone} is missing")):
        training_batches(dataset, batch_size=4, seed=0)


def test_cut_shard_is_named(tmp_path: Path) -> None:
    """A shard whose size differs from the manifest is named before anything is read."""
    dataset = write_squares(tmp_path / "dataset", train=20, validation=0, test=0, shard_samples=8)
    cut = dataset / read_manifest(dataset).split("train")[2].name.data
    cut.write_bytes(cut.read_bytes()[:-512])

    with pytest.raises(DamagedError, match=re.escape(str(cut))):
        training_batches(dataset, batch_size=4, seed=0)


def test_broken_pictures_are_named_and_counted(tmp_path: Path) -> None:
    """Bytes that are not a JPEG end in one line that names the pictures, not in TensorFlow's traceback."""
    samples = [square(number, size=32) for number in range(20)]
    for place in (3, 17):
        broken = b"\xff\xd8" + b"no picture" * 20
        samples[place] = Drawn(id=samples[place].id, jpeg=broken, tags=("red",))
    dataset = write_dataset(tmp_path / "dataset", {"test": samples}, size=32)

    with pytest.raises(DamagedError, match="2 of 20 test pictures cannot be read: 1003, 1017;") as caught:
        list(evaluation_batches(dataset, split="test", batch_size=4))
    assert "\n" not in str(caught.value)
    assert broken_pictures(dataset, split="test", most=1) == ((1003, 1017), 20)


def test_the_search_for_broken_pictures_ends(tmp_path: Path) -> None:
    """The search stops after too many broken pictures, and the message says how many were checked."""
    samples = [Drawn(id=n, jpeg=b"nothing", tags=("red",)) for n in range(1, 701)]
    dataset = write_dataset(tmp_path / "dataset", {"test": samples}, size=32, shard_samples=300)

    with pytest.raises(DamagedError, match=r"256 of 256 test pictures cannot be read: 1, 2, .*8 \.\.\.;"):
        list(evaluation_batches(dataset, split="test", batch_size=4))


def test_picture_of_another_size_is_damage(tmp_path: Path) -> None:
    """A picture of another size than the dataset's is refused."""
    dataset = write_dataset(tmp_path / "dataset", {"test": [square(0, size=48)]}, size=32)

    with pytest.raises(DamagedError, match="1 of 1 test pictures cannot be read: 1000;"):
        list(evaluation_batches(dataset, split="test", batch_size=4))


def test_damaged_table_is_named(tmp_path: Path) -> None:
    """A damaged metadata table is named."""
    dataset = write_squares(tmp_path / "dataset", train=8, validation=0, test=4)
    table = dataset / read_manifest(dataset).split("test")[0].name.metadata
    table.write_bytes(b"PAR1 but nothing else")

    with pytest.raises(DamagedError, match=re.escape(str(table))):
        list(evaluation_batches(dataset, split="test", batch_size=4))


@pytest.mark.parametrize(
    ("stored", "said"),
    [("WEBP", "build it without --format"), ("original", "build it without --keep-original")],
)
def test_pictures_that_the_graph_does_not_decode_are_refused(tmp_path: Path, stored: Any, said: Any) -> None:
    """Pictures that are not JPEGs are refused before the first step, with the option that avoids them."""
    dataset = write_dataset(tmp_path / "dataset", {"train": [square(0, size=32)]}, size=32)
    manifest = dataset / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"JPEG"', f'"{stored}"'))

    with pytest.raises(UsageError, match=said):
        training_batches(dataset, batch_size=4, seed=0)


def test_pictures_of_another_fit_are_refused(tmp_path: Path) -> None:
    """Pictures that are not letterboxed are refused, because tagging letterboxes them."""
    dataset = write_dataset(tmp_path / "dataset", {"train": [square(0, size=32)]}, size=32)
    manifest = dataset / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"letterbox"', '"crop"'))

    with pytest.raises(UsageError, match="fitted by crop, and models take letterbox"):
        training_batches(dataset, batch_size=4, seed=0)
