"""Cost of an evaluation apart from the network: 20,000 pictures x 5,000 tags from stored probabilities.

Included are thresholds, all figures, 400 bootstrap draws, gallery, page and tables. The floor is reading the
same bytes. Peak memory is also measured with a tenth of the pictures: 1.6 kB per picture say how often it is in
each draw. The file of codes, 2 bytes per picture and tag, is on disk. Run:

    python benchmarks/evaluation.py [--images 20000] [--tags 5000]

With `--every 50` only every 50th of the tags is scored, so that the size of the public test of the newest
taggers, 295,936 pictures with 12,476 tags, is measured in minutes: the time of scoring is proportional to the
tags. Run:

    python benchmarks/evaluation.py --images 295936 --tags 12476 --every 50
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from alti2v.model.evaluation.result import Evaluation
from alti2v.model.evaluation.scoring import Predictions, score, tune_thresholds
from alti2v.records import Category, Tag
from alti2v.report.evaluation import publish_evaluation

_BATCH = 64


def main() -> None:
    """Measure in processes of their own, so that each has its own peak; print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--tags", type=int, default=5_000)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(
            json.dumps(_measure(options.measure, options.images, _frequencies(options.tags)[:: options.every]))
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        _store(Path(folder), options.images, _frequencies(options.tags)[:: options.every])
        few = _in_process(folder, options.images // 10, options)
        result = _in_process(folder, options.images, options)
    result |= {"images": options.images, "tags": options.tags, "peak_rss_mb_tenth": few["peak_rss_mb"]}
    for name, value in result.items():
        print(f"{name:20} {value}")
    print(json.dumps(result))


def _in_process(folder: str, images: int, options: argparse.Namespace) -> dict[str, float]:
    arguments = ["--images", str(images), "--tags", str(options.tags), "--every", str(options.every)]
    arguments += ["--measure", folder]
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def _frequencies(tags: int) -> np.ndarray:
    """Frequencies as on a board: about 20 tags per picture, falling as a power of the rank."""
    rates = 1 / np.arange(1, tags + 1)
    return np.minimum(rates * 20 / rates.sum(), 0.8)


def _store(folder: Path, images: int, frequencies: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    tags = len(frequencies)
    prior = np.log(frequencies / (1 - frequencies)).astype(np.float32)
    with (folder / "probabilities").open("wb") as probabilities, (folder / "labels").open("wb") as labels:
        for start in range(0, images, _BATCH):
            shape = (min(_BATCH, images - start), tags)
            true = rng.random(shape, np.float32) < frequencies
            logits = prior - 1 + rng.standard_normal(shape, np.float32) + 3 * true
            probabilities.write((1 / (1 + np.exp(-logits))).astype(np.float32).tobytes())
            labels.write(np.packbits(true, axis=1).tobytes())


def _read(folder: Path, images: int, tags: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    with (folder / "probabilities").open("rb") as probabilities, (folder / "labels").open("rb") as labels:
        for start in range(0, images, _BATCH):
            rows = min(_BATCH, images - start)
            packed = np.frombuffer(labels.read(rows * -(-tags // 8)), np.uint8).reshape(rows, -1)
            yield (
                np.frombuffer(probabilities.read(rows * tags * 4), np.float32).reshape(rows, tags),
                np.unpackbits(packed, axis=1, count=tags),
            )


def _measure(folder: Path, images: int, frequencies: np.ndarray) -> dict[str, float]:
    tags = len(frequencies)

    def predictions(most: int) -> Iterator[Predictions]:
        first = 1
        for probabilities, labels in _read(folder, most, tags):
            count = len(labels)
            yield Predictions(
                images=np.zeros((count, 64, 64, 3), np.uint8),
                labels=labels,
                ids=np.arange(first, first + count),
                probabilities=probabilities,
            )
            first += count

    begun_s = time.perf_counter()
    for probabilities, labels in _read(folder, images, tags):
        probabilities.max(), labels.max()
    read_s = time.perf_counter() - begun_s
    names = tuple(
        Tag(name=f"tag_{index}", category=Category.GENERAL, count=round(1_500_000 * float(rate)))
        for index, rate in enumerate(frequencies)
    )
    begun_s = time.perf_counter()
    thresholds = tune_thresholds(predictions(images // 2), tags=names, frequencies=frequencies)
    thresholds_s = time.perf_counter() - begun_s
    with tempfile.TemporaryFile(dir=folder) as scratch:
        result = score(
            predictions(images),
            tags=names,
            frequencies=frequencies,
            thresholds=thresholds,
            min_positives=10,
            gallery=9,
            scratch=scratch,
        )
    scored_s = time.perf_counter() - begun_s - thresholds_s
    out = folder / "out"
    out.mkdir(exist_ok=True)
    evaluation = Evaluation(
        run=Path("run"),
        dataset=Path("dataset"),
        split="test",
        tags=names,
        result=result,
        log=(),
        training={},
        provenance={},
        notes=(),
        seconds=scored_s,
    )
    report = publish_evaluation(evaluation, out, generated_at=datetime.now(UTC))
    all_s = time.perf_counter() - begun_s
    return {
        "seconds": round(all_s, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "draws": 0 if (found := result.groups[0].intervals) is None else found.draws,
        "thresholds_s": round(thresholds_s, 1),
        "scoring_s": round(scored_s, 1),
        "report_s": round(all_s - thresholds_s - scored_s, 1),
        "reading_alone_s": round(read_s, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "report_mb": round(report.report.stat().st_size / 1e6, 1),
        "mean_ap": round(report.map or 0.0, 4),
    }


if __name__ == "__main__":
    main()
