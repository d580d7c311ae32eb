"""Throughput of `alti2v tag`, as a share of the bare forward pass.

The ceiling is the warm network on decoded pictures in the same batches, a quarter of them, while `alti2v tag`
starts cold. Each measurement runs in a separate process. A quarter of the files is tagged as well, which
should need the same memory. Run:

    python benchmarks/tagging.py [--files 256] [--size 224] [--tags 5000] [--runtime keras|onnxruntime]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support.processes import peak_rss_mb

_DISTINCT = 16  # pictures; the others are copies, which are read and decoded like any other file
_FOUND = 30  # tags per picture, as on Danbooru; writing a whole vocabulary would take longer than the network
_PICTURE_PX = (850, 1200)  # a board's sample: 1.0 megapixels


def main() -> None:
    """Measure, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--tags", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=1, help="number of rounds, of which the best counts")
    parser.add_argument("--runtime", choices=["keras", "onnxruntime"], help="default: both")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)  # what to measure, model, pictures
    options = parser.parse_args()
    if options.part:
        print(json.dumps(_measure(*options.part, files=options.files)))
        return
    with tempfile.TemporaryDirectory() as folder:
        run, exported = _write_models(Path(folder), size=options.size, tags=options.tags)
        few, all_ = Path(folder) / "few", Path(folder) / "all"
        _write_pictures(few, options.files // 4)
        _write_pictures(all_, options.files)
        result: dict[str, float | int] = {
            "files": options.files,
            "side_px": options.size,
            "tags": options.tags,
        }
        for runtime, model in (("keras", run), ("onnxruntime", exported)):
            if options.runtime not in (None, runtime):
                continue
            # Rounds alternate, and the best of each counts, so that other programs matter little.
            parts = [
                _part(what, model, pictures, files=files)
                for what, pictures, files in (
                    ("forward", few, options.files // 4),
                    ("tag", all_, options.files),
                    ("tag", few, options.files // 4),
                )
                * options.rounds
            ]
            bare, tag, quarter = (min(parts[i::3], key=lambda part: part["seconds"]) for i in range(3))
            ceiling, reached = options.files / 4 / bare["seconds"], options.files / tag["seconds"]
            result |= {
                f"{runtime}_forward_per_s": round(ceiling, 2),
                f"{runtime}_tag_per_s": round(reached, 2),
                f"{runtime}_ratio": round(reached / ceiling, 3),
                f"{runtime}_forward_rss_mb": round(bare["rss_mb"]),
                f"{runtime}_tag_rss_mb": round(tag["rss_mb"]),
                f"{runtime}_tag_rss_mb_quarter": round(quarter["rss_mb"]),
            }
    for name, value in result.items():
        print(f"{name:32} {value}")
    print(json.dumps(result))


def _part(what: str, model: Path, pictures: Path, *, files: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--files", str(files), "--part", what, str(model), str(pictures)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return measured


def _measure(what: str, model: str, pictures: str, *, files: int) -> dict[str, float]:
    """Time from the loaded model to the last answer, seconds, and peak memory of this process."""
    begun_s = [0.0]
    if what == "forward":
        from alti2v.model.tagging.preprocess import pixels
        from alti2v.model.tagging.tagger import load_tagger

        tagger = load_tagger(model)
        some = [
            pixels(path, tagger.preprocessing) for path in sorted(Path(pictures).iterdir())[: tagger.batch_size]
        ]
        batch = np.stack([one for one in some if isinstance(one, np.ndarray)])
        tagger.forward(batch)
        begun_s[0] = time.perf_counter()
        for start in range(0, files, tagger.batch_size):
            tagger.forward(batch[: files - start])
    else:
        from alti2v.model.options.tagging import TagConfig
        from alti2v.model.tag import tag_files
        from alti2v.records import Progress

        def hook(progress: Progress) -> None:
            if not progress.done:
                begun_s[0] = time.perf_counter()

        report = tag_files(TagConfig(model=Path(model), paths=(pictures,)), show=lambda _: None, progress=hook)
        assert report.tagged == files
        assert report.tags == _FOUND * files
    seconds = time.perf_counter() - begun_s[0]
    return {"seconds": seconds, "rss_mb": peak_rss_mb()}


def _write_models(folder: Path, *, size: int, tags: int) -> tuple[Path, Path]:
    """Write an untrained VGG16 that finds `_FOUND` tags in every picture, as a run and as its export."""
    from alti2v.model.export import export
    from alti2v.model.network.build import Architecture, build_network, set_prior
    from alti2v.model.options.export import ExportConfig
    from alti2v.model.recipes import Head
    from alti2v.model.saved_model import SavedModel, save_model
    from alti2v.records import Category, Tag

    architecture = Architecture(
        size=size, tags=tags, head=Head.POOLED, features=4096, dropout=0.0, pixel_scale=1 / 64
    )
    network = build_network(architecture)
    last = network.logits.get_layer("logits")
    last.kernel.assign(np.zeros(last.kernel.shape, np.float32))
    set_prior(network, [0.95 if tag < _FOUND else 0.005 for tag in range(tags)])
    model = SavedModel(
        network=network.tagger,
        architecture=architecture,
        tags=tuple(Tag(name=f"tag_{i}", category=Category.GENERAL, count=1) for i in range(tags)),
        dataset="",
        plan_hash="",
        train_samples=1,
        recipe="modern",
    )
    save_model(folder / "run" / "model", model)
    export(ExportConfig(run=folder / "run", out=folder / "onnx", format="onnx"))
    return folder / "run", folder / "onnx"


def _write_pictures(folder: Path, count: int) -> None:
    rng = np.random.default_rng(1)
    folder.mkdir()
    for number in range(min(_DISTINCT, count)):
        blobs = Image.fromarray(rng.integers(0, 256, (30, 20, 3), dtype=np.uint8))
        blobs.resize(_PICTURE_PX, Image.Resampling.BICUBIC).save(folder / f"{number:05d}.jpg", quality=90)
    for number in range(_DISTINCT, count):
        shutil.copyfile(folder / f"{number % _DISTINCT:05d}.jpg", folder / f"{number:05d}.jpg")


if __name__ == "__main__":
    main()
