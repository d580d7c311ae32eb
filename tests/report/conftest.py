"""An evaluation of invented predictions, with tags that would do harm if a page let them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from alti2v.model.evaluation.result import Evaluation
from alti2v.model.evaluation.scoring import Predictions, score, tune_thresholds
from alti2v.records import Category, Tag

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>document.title='owned'</script>",
    "</style><style>body{display:none}",
    "\"onmouseover=\"document.title='owned'",
    "'onfocus='document.title=1",
    "{{ 7 * 7 }}{% raw %}",
    "<!--",
    "]]>",
    "&lt;b&gt;&amp;amp;",
    ">_<",
    ":d",
    "jack-o'-lantern",
    "初音ミク",
    '=cmd|"/c calc"!A1',
    "a,b\nc",
    "javascript:alert(1)",
)
PLAIN = tuple(f"plain_{index:02d}" for index in range(24))
NEVER_SEEN = "never_seen"
IMAGES = 60


@pytest.fixture(scope="session")
def evaluation() -> Evaluation:
    return invented(log=tuple({"epoch": float(e), "loss": 9 / e, "val_loss": 10 / e} for e in range(1, 8)))


def invented(*, log: tuple[Mapping[str, float], ...] = (), images: int = IMAGES) -> Evaluation:
    """Judge invented predictions with the real code."""
    names = (*PLAIN, *HOSTILE, NEVER_SEEN)
    rng = np.random.default_rng(0)
    rates = np.linspace(0.6, 0.2, len(names))
    rates[-1] = 0
    labels = (rng.random((images, len(names))) < rates).astype(np.uint8)
    logits = rng.normal(-1, 1.2, labels.shape) + 2 * labels
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    categories = [Category.GENERAL, Category.CHARACTER, Category.COPYRIGHT]
    tags = tuple(
        Tag(name=name, category=categories[index % 3], count=5 + 100 * (index % 2))
        for index, name in enumerate(names)
    )
    batch = Predictions(
        images=rng.integers(0, 256, (images, 16, 16, 3), dtype=np.uint8),
        labels=labels,
        ids=np.arange(1, images + 1),
        probabilities=probabilities,
    )
    with tempfile.TemporaryFile() as scratch:
        result = score(
            [batch],
            tags=tags,
            frequencies=rates,
            thresholds=tune_thresholds([batch], tags=tags, frequencies=rates),
            min_positives=10,
            gallery=4,
            scratch=scratch,
        )
    return Evaluation(
        run=Path("runs/<b>first"),
        dataset=Path("dataset"),
        split="test",
        tags=tags,
        result=result,
        log=log,
        training={"epochs": 7, "note": "<script>alert(1)</script>", "absent": None},
        provenance={"command": "alti2v eval '<i>run</i>'", "trained on": "1,200 pictures, plan 0a1b"},
        notes=("A note with <em>markup</em>.",),
        seconds=1.25,
    )
