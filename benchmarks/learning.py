"""Learning on real drawings from pretrained weights: recipes side by side, with the processor time of each.

FOLDER holds pictures with their tags in text files beside them, WEIGHTS is Keras' VGG16 without top. Pictures
are imported and built once (96 px, tags with at least 20 training pictures). Each training and evaluation is a
command in a separate process, whose processor time is counted. `--minutes` ends the script after that time,
in the middle of a training if need be; run again, it continues there. Figures are of the test split; a row is
the mean over seeds, with the lowest and highest value:

    python benchmarks/learning.py FOLDER WEIGHTS OUT [--only modern seed] [--seeds 3] [--minutes 10]
    python benchmarks/learning.py FOLDER WEIGHTS OUT --table
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.crawl.importing.config import ImportConfig
from alti2v.crawl.importing.importer import import_pictures
from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.storage.publish import publish_json, read_json

_TEST, _VALIDATION, _MIN_COUNT = 900, 500, 20
_ROWS: Mapping[str, Sequence[str]] = {
    "seed, 6 epochs": ("--recipe", "seed", "--epochs", "6"),
    "modern, 4 epochs": ("--epochs", "4"),
    "modern, 2 epochs": ("--epochs", "2"),
    "modern, 1 epoch": ("--epochs", "1"),
    "modern without a head start, 1 frozen epoch of 4": (
        "--no-head-start",
        "--frozen-epochs",
        "1",
        "--epochs",
        "4",
    ),
    "modern without a head start, 1 frozen epoch of 2": (
        "--no-head-start",
        "--frozen-epochs",
        "1",
        "--epochs",
        "2",
    ),
    "head on stored features, 20 epochs": (
        *("--train-from", "head", "--cache-features", "--augmentation", "none"),
        *("--frozen-epochs", "20", "--epochs", "20"),
    ),
    "modern from block4, 2 epochs": ("--train-from", "block4_conv1", "--epochs", "2"),
    "modern from block5, 2 epochs": ("--train-from", "block5_conv1", "--epochs", "2"),
    "modern, 3e-4, 1 epoch": ("--learning-rate", "3e-4", "--epochs", "1"),
    "--budget 2": ("--budget", "2"),
    "--budget 10": ("--budget", "10"),
    "scratch, 4 epochs": ("--recipe", "scratch", "--epochs", "4"),
    "scratch, --budget 10": ("--recipe", "scratch", "--budget", "10"),
}
_FIGURES = ("map", "map_frozen_head", "micro_f1", "macro_f1", "skill")


class _TimeIsUpError(Exception):
    """The minutes are over; the next call continues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Folders and files of the benchmark.

    Attributes:
        dataset: Dataset to learn from.
        weights: Initial weights.
        out: Folder of the runs and of the results.
        deadline_s: Time, by the monotonic clock, at which to stop; None for never.
    """

    dataset: Path
    weights: Path
    out: Path
    deadline_s: float | None

    @property
    def results(self) -> Path:
        """One JSON object per line, for each finished training."""
        return self.out / "learning.jsonl"


def main() -> None:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(_ROWS), choices=_ROWS, metavar="ROW")
    parser.add_argument("--minutes", type=float, default=None)
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        dataset=_dataset(options.folder, options.out, size=options.size),
        weights=options.weights,
        out=options.out,
        deadline_s=None if options.minutes is None else time.monotonic() + 60 * options.minutes,
    )
    if not options.table:
        try:
            for seed in range(options.seeds):
                for name in options.only:
                    _measure(bench, name, seed)
        except _TimeIsUpError:
            print("time is up: run the same command again", file=sys.stderr)
    _print(_read(bench.results))


def _dataset(folder: Path, out: Path, *, size: int) -> Path:
    """Import and build once."""
    dataset, store = out / f"dataset-{size}", out / "store"
    if (dataset / "manifest.json").is_file():
        return dataset
    import_pictures(ImportConfig(store=store, sources=(folder,)))
    build_shards(
        BuildConfig(
            store=store,
            dataset=dataset,
            size=size,
            min_count=_MIN_COUNT,
            test=_TEST,
            validation=_VALIDATION,
            shard_samples=1_000,
        )
    )
    return dataset


def _measure(bench: Bench, name: str, seed: int) -> None:
    """Train and evaluate one row with one seed, unless that is done."""
    if any(row["name"] == name and row["seed"] == seed for row in _read(bench.results)):
        return
    run = bench.out / "runs" / f"{list(_ROWS).index(name):02}-{seed}"
    command = ["train", str(bench.dataset), str(run), "--weights", str(bench.weights), "--seed", str(seed)]
    if "scratch" in _ROWS[name]:
        command[command.index("--weights") + 1] = "none"
    _run(bench, [*command, *_ROWS[name]], spent=run.with_suffix(".json"))
    training_s = read_json(run.with_suffix(".json"))["cpu_s"]
    _run(bench, ["eval", str(run)], spent=run.with_suffix(".eval.json"))
    found = read_json(run / "eval" / "metrics.json")
    head = found["frozen_head"] or {}
    row = {
        "name": name,
        "seed": seed,
        **{figure: found.get(figure) for figure in _FIGURES},
        "map_frozen_head": head.get("mean_ap"),
        "cpu_s": round(training_s, 1),
        "seconds": round(found["training"]["seconds"], 1),
        "epochs": found["training"]["epochs"],
        "precision": found["training"]["precision"],
    }
    with bench.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)
    shutil.rmtree(run / "checkpoints")


def _run(bench: Bench, arguments: Sequence[str], *, spent: Path) -> None:
    """Run a command to its end, or interrupt it when the time is up; add its processor time to a file.

    Raises:
        _TimeIsUpError: It was interrupted.
    """
    spent.parent.mkdir(parents=True, exist_ok=True)
    before, used = (
        resource.getrusage(resource.RUSAGE_CHILDREN),
        read_json(spent) if spent.exists() else {"cpu_s": 0},
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen([sys.executable, "-m", "alti2v", *arguments], env=environment) as process:
        try:
            process.wait(None if bench.deadline_s is None else max(0, bench.deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    publish_json(spent, {"cpu_s": used["cpu_s"] + cpu_s})
    if process.returncode:
        if process.returncode not in (130, -signal.SIGINT):
            raise SystemExit(f"alti2v {' '.join(arguments)} ended with {process.returncode}")
        raise _TimeIsUpError


def _read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    print("| | epochs | test mAP | lowest - highest | seeds | micro F1 | macro F1 | frozen head | CPU s |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in _ROWS:
        own = [row for row in rows if row["name"] == name]
        if not own:
            continue
        maps = [row["map"] for row in own]
        heads = [row["map_frozen_head"] for row in own if row["map_frozen_head"] is not None]
        means = {
            figure: statistics.mean(row[figure] for row in own) for figure in ("micro_f1", "macro_f1", "cpu_s")
        }
        print(
            f"| {name} | {own[0]['epochs']} | {statistics.mean(maps):.3f} | {min(maps):.3f} - {max(maps):.3f} "
            f"| {len(own)} | {means['micro_f1']:.3f} | {means['macro_f1']:.3f} "
            f"| {f'{statistics.mean(heads):.3f}' if heads else ''} | {means['cpu_s']:,.0f} |"
        )


if __name__ == "__main__":
    main()
