"""Trainings that take seconds: small recipes, and configurations that use them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from alti2v.model.network.build import Architecture, build_network
from alti2v.model.recipes import MODERN, SEED, Head
from alti2v.model.train import TrainConfig

TRAIN = 40

BATCH = 16

EPOCHS = 2

# Small enough for a test: the last convolution and a small head learn.
TINY = {
    "modern": replace(
        MODERN,
        features=32,
        dropout=0.2,
        train_from="block5_conv3",
        learning_rate=1e-3,
        batch_size=BATCH,
        epochs=EPOCHS,
    ),
    "seed": replace(SEED, features=16, train_from="block5_conv3", batch_size=BATCH, epochs=1),
}


def config(dataset: Path, run: Any, **fields: Any) -> Any:
    return TrainConfig(**{"dataset": dataset, "run": run, "weights": "none", "checkpoint_s": 0, **fields})


def write_weights(folder: Path) -> str:
    """Write a file of pretrained weights, random, but not those of any training; return its path."""
    path = folder / "vgg16.weights.h5"
    architecture = Architecture(size=32, tags=6, head=Head.POOLED, features=16, dropout=0.0)
    build_network(architecture, seed=77).trunk.save_weights(path)
    return str(path)
