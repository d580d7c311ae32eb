"""A run that looks finished: random weights, tags of every category, and its dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alti2v.model.network.build import Architecture, build_network
from alti2v.model.recipes import Head
from alti2v.model.saved_model import SavedModel, save_model
from alti2v.records import Category, Tag
from alti2v.storage.layout import MODEL_DIR
from tests.model.helpers.tiny_dataset import square, write_dataset

# Not in the order of any format, and with names that are hard to parse.
TAGS = (
    Tag(name="solo", category=Category.GENERAL, count=900),
    Tag(name="miku", category=Category.CHARACTER, count=80),
    Tag(name="vocaloid", category=Category.COPYRIGHT, count=90),
    Tag(name="highres", category=Category.META, count=800),
    Tag(name="1girl", category=Category.GENERAL, count=950),
    Tag(name="kei", category=Category.ARTIST, count=40),
    Tag(name="null", category=Category.GENERAL, count=30),
    Tag(name="yes,_my_lord", category=Category.GENERAL, count=20),
    Tag(name="^_^", category=Category.GENERAL, count=100),
    Tag(name='say_"hi"', category=Category.UNKNOWN, count=10),
    Tag(name="rin_(kagamine)", category=Category.CHARACTER, count=85),
    Tag(name="explicit", category=Category.GENERAL, count=5),
)
TRAINED = 6  # training pictures, all of them rated "general" by `write_dataset`


def random_model(
    *,
    size: int = 32,
    head: Head = Head.POOLED,
    tags: tuple[Tag, ...] = TAGS,
    dataset: Path | None = None,
    precision: str = "float32",
    backbone: str = "vgg16",
) -> SavedModel:
    """Make an untrained network in which every weight influences the output."""
    architecture = Architecture(
        backbone=backbone,
        size=size,
        tags=len(tags),
        head=head,
        features=24,
        dropout=0.1,
        pixel_scale=1 / 64 if backbone == "vgg16" else 1.0,
    )
    network = build_network(architecture, seed=3, precision=precision).tagger
    rng = np.random.default_rng(5)
    for layer in network.layers:
        for weight in layer.weights:
            if weight.name in ("bias", "beta", "moving_mean"):
                weight.assign(rng.normal(0, 0.1, weight.shape))
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    last = network.get_layer("logits")
    last.kernel.assign(rng.normal(0, 0.5, last.kernel.shape))
    return SavedModel(
        network=network,
        architecture=architecture,
        tags=tags,
        dataset="" if dataset is None else str(dataset),
        plan_hash="",
        train_samples=TRAINED,
        recipe="modern",
        threshold=0.25,
        training={"epochs": 2, "loss": 1.5},
    )


def write_run(path: Path, *, tags: tuple[Tag, ...] = TAGS, size: int = 32, head: Head = Head.POOLED) -> Path:
    """Write a run with a small dataset, `path / "dataset"`; return the run's directory."""
    from dataclasses import replace

    from alti2v.dataset.manifest import read_manifest

    dataset = write_dataset(
        path / "dataset", {"train": [square(i, size=size) for i in range(TRAINED)]}, size=size
    )
    model = random_model(size=size, tags=tags, dataset=dataset, head=head)
    save_model(path / "run" / MODEL_DIR, replace(model, plan_hash=read_manifest(dataset).plan_hash))
    return path / "run"
