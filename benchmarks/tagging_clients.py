"""Throughput of `alti2v tag` with a WD folder, beside programs that tag with the same file.

The folder is an export of an untrained VGG16, which costs as much as a trained one. Each program runs as its
users run it: `alti2v tag FOLDER PICTURES`, a loop over imgutils' `get_wd14_tags`, and wd14-tagger-standalone
with `--dir`. Rounds alternate, and the best of each counts; loading is part of all. The others need an
interpreter of their own:

    python -m venv clients && clients/bin/pip install dghs-imgutils onnxruntime opencv-python-headless 'numpy<2'
    git clone https://github.com/corkborg/wd14-tagger-standalone
    python benchmarks/tagging_clients.py --python clients/bin/python --standalone wd14-tagger-standalone
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.tagging import _write_models, _write_pictures

_COMMIT = "0" * 40
_IMGUTILS = """
import sys
from pathlib import Path
from imgutils.tagging import get_wd14_tags
for path in sorted(Path(sys.argv[1]).iterdir()):
    rating, general, character = get_wd14_tags(str(path), model_name="SwinV2_v3")
    path.with_suffix(".txt").write_text(", ".join(general | character))
"""


def main() -> None:
    """Measure, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--size", type=int, default=96, help="side that the network computes on, px")
    parser.add_argument("--tags", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--python", type=Path, required=True, help="interpreter with imgutils and opencv")
    parser.add_argument("--standalone", type=Path, default=None, help="checkout of wd14-tagger-standalone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = _exported(root, size=options.size, tags=options.tags)
        _write_pictures(root / "pictures", options.files)
        _seed_cache(root / "hub", model)
        commands = {"alti2v": [sys.executable, "-m", "alti2v", "tag", str(model), "{}", "--format", "sidecar"]}
        commands["imgutils"] = [str(options.python), "-c", _IMGUTILS, "{}"]
        if options.standalone is not None:
            script = str(options.standalone / "run.py")
            commands["standalone"] = [
                *(str(options.python), script, "--dir", "{}", "--cpu", "--model", "wd14-vit.v1")
            ]
        seconds = {name: float("inf") for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                seconds[name] = min(seconds[name], _timed(command, root))
    result = {"files": options.files, "side_px": options.size}
    result |= {f"{name}_per_s": round(options.files / spent, 2) for name, spent in seconds.items()}
    result |= {
        f"alti2v_to_{name}": round(spent / seconds["alti2v"], 2)
        for name, spent in seconds.items()
        if name != "alti2v"
    }
    for name, value in result.items():
        print(f"{name:24} {value}")
    print(json.dumps(result))


def _exported(root: Path, *, size: int, tags: int) -> Path:
    from alti2v.model.export import export
    from alti2v.model.options.export import ExportConfig

    run, _ = _write_models(root, size=size, tags=tags)
    out = root / "wd"
    export(ExportConfig(run=run, out=out, format="wd-embedding", ratings="uniform", placeholder_character=True))
    return out


def _seed_cache(cache: Path, model: Path) -> None:
    """Put the folder where the programs look for models of the hub."""
    for repository, files in (
        ("SmilingWolf/wd-v1-4-vit-tagger", ("model.onnx", "selected_tags.csv")),
        ("SmilingWolf/wd-swinv2-tagger-v3", ("selected_tags.csv",)),
        ("deepghs/wd14_tagger_with_embeddings", ("SmilingWolf/wd-swinv2-tagger-v3/model.onnx",)),
    ):
        folder = cache / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(_COMMIT)
        for file in files:
            target = folder / "snapshots" / _COMMIT / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(model / Path(file).name, target)


def _timed(command: list[str], root: Path) -> float:
    for caption in (root / "pictures").glob("*.txt"):
        caption.unlink()
    environment = {**os.environ, "HF_HUB_CACHE": str(root / "hub"), "HF_HUB_OFFLINE": "1"}
    begun_s = time.perf_counter()
    subprocess.run(
        [part.format(root / "pictures") if part == "{}" else part for part in command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    spent = time.perf_counter() - begun_s
    written = len(list((root / "pictures").glob("*.txt")))
    assert written == len(list((root / "pictures").glob("*.jpg"))), f"{command[0]} wrote {written} captions"
    return spent


if __name__ == "__main__":
    main()
