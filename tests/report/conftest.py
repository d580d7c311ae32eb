"""An evaluation of invented predictions, with tags that would do harm if a page let them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from alti2v.model.evaluation import Evaluation, Group, Thresholds
from alti2v.model.gallery import Shortlists, offer, pictures, suggestions
from alti2v.model.histograms import add_predictions, constant_histograms, empty_histograms
from alti2v.model.intervals import encode, headline_intervals
from alti2v.model.metrics import (
    best_thresholds,
    pool,
    precision_recall_curve,
    reliability,
    score_tags,
    skill,
    summarise,
)
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
    histograms, threshold = empty_histograms(len(names)), 0.5
    codes = encode(add_predictions(histograms, probabilities, labels), labels)
    baseline = constant_histograms(rates, labels.sum(axis=0), images)
    own = best_thresholds(histograms, fallback=threshold)
    tag_scores = score_tags(histograms, threshold=threshold, own_thresholds=own)
    baseline_scores = score_tags(baseline, threshold=threshold)
    groups = []
    for kind, name, mask in [
        ("all", "all", np.ones(len(names), bool)),
        *(("category", c.value, np.array([tag.category is c for tag in tags])) for c in categories),
    ]:
        model = summarise(histograms, tag_scores, min_positives=10, tags=mask)
        theirs = summarise(baseline, baseline_scores, min_positives=10, tags=mask)
        groups.append(
            Group(
                name=name,
                kind=kind,
                model=model,
                baseline=theirs,
                skill=skill(model.squared_error, theirs.squared_error),
                curve=precision_recall_curve(pool(histograms, mask)),
                reliability=reliability(pool(histograms, mask)),
            )
        )
    shortlists = Shortlists(threshold=threshold, size=4)
    offer(
        shortlists,
        images=rng.integers(0, 256, (images, 16, 16, 3), dtype=np.uint8),
        labels=labels,
        ids=np.arange(1, images + 1),
        probabilities=probabilities,
    )
    return Evaluation(
        run=Path("runs/<b>first"),
        dataset=Path("dataset"),
        split="test",
        images=images,
        tags=tags,
        frequencies=rates,
        thresholds=Thresholds(model=threshold, baseline=0.5, own=own, source="found by hand", images=9),
        min_positives=10,
        groups=tuple(groups),
        intervals=headline_intervals(
            [codes],
            histograms,
            scores=groups[0].model,
            tag_scores=tag_scores,
            min_positives=10,
            threshold=threshold,
            frequencies=rates,
        ),
        tag_scores=tag_scores,
        baseline_scores=baseline_scores,
        baseline_curve=precision_recall_curve(pool(baseline)),
        pictures=pictures(shortlists),
        suggestions=suggestions(shortlists),
        log=log,
        training={"epochs": 7, "note": "<script>alert(1)</script>", "absent": None},
        provenance={"command": "alti2v eval '<i>run</i>'", "trained on": "120 pictures, plan 0a1b"},
        notes=("A note with <em>markup</em>.",),
        seconds=1.25,
    )
