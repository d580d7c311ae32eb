"""Datasets whose pictures keep their shape become the squares that models take, in the graph."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.model.data.pipeline import evaluation_batches, training_batches
from alti2v.model.data.read_errors import broken_pictures
from tests.dataset.helpers.tiny_store import TinyPost, drawing, encoded, write_store

pytestmark = pytest.mark.tf
SIZES = [(300, 200), (200, 300), (120, 120), (640, 80), (60, 40), (101, 333)]


def stored(dataset: Path) -> dict[int, Image.Image]:
    """Decode the pictures of the test split as they are in the shards."""
    found: dict[int, Image.Image] = {}
    for path in (dataset / "metadata").glob("test-*.parquet"):
        content = (dataset / "data" / f"{path.stem}.tar").read_bytes()
        for row in pd.read_parquet(path).to_dict("records"):
            picture = content[row["offset"] : row["offset"] + row["size"]]
            found[row["id"]] = Image.open(io.BytesIO(picture))
    return found


def squared(image: Image.Image, size: int) -> Any:
    """Letterbox with Pillow."""
    scale = size / max(image.size)
    target = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    fitted = image if target == image.size else image.resize(target, Image.Resampling.BICUBIC)
    square = Image.new("RGB", (size, size), "white")
    square.paste(fitted, ((size - target[0]) // 2, (size - target[1]) // 2))
    return np.asarray(square)


@pytest.mark.parametrize(("options", "side"), [({"fit": "within", "size": 96}, 96), ({"area": 9_216}, 96)])
def test_training_and_evaluation_letterbox_in_the_graph(
    options: dict[str, Any], side: int, tmp_path: Path
) -> None:
    """What fits is padded to the byte; what is smaller or longer than the square is resized as by Pillow."""
    posts = [
        TinyPost(id=n, content=encoded(drawing(n, width=size[0], height=size[1]), "PNG"), suffix="png")
        for n, size in enumerate(SIZES * 4, 1)
    ]
    write_store(tmp_path / "store", posts)
    dataset = tmp_path / "dataset"
    build_shards(
        BuildConfig(store=tmp_path / "store", dataset=dataset, test=16, validation=2, workers=1, **options)
    )
    pictures = stored(dataset)
    (batch,) = evaluation_batches(dataset, split="test", batch_size=16)
    images, _ = next(training_batches(dataset, batch_size=4, seed=1).as_numpy_iterator())

    assert images.shape == (4, side, side, 3)
    assert broken_pictures(dataset, split="test")[0] == ()
    exact = 0
    for number, image in zip(batch.ids.tolist(), batch.images, strict=True):
        expected = squared(pictures[number], side)
        difference = np.abs(image.astype(int) - expected)
        assert difference.max() <= 2
        exact += int(not difference.any())
    assert exact >= 3
