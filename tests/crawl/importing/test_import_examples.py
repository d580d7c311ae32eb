"""The worked examples of docs/IMPORT.md run as printed, one for each form."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import webdataset

from alti2v.cli import main
from alti2v.storage.tar import json_index, members
from tests.crawl.importing.helpers.sources import md5, picture, tar, write

DOCUMENT = Path(__file__).parents[3] / "docs" / "IMPORT.md"
EXAMPLES = re.findall(
    r"^alti2v (import store (?!.*https).*)$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE
)
FORMS = ["folder", "gallery-dl", "table", "danbooru", "table", "table", "webdataset"]


def people_hold(folder: Path) -> None:
    """Write what the examples import."""
    ids = range(10, 16)
    captions = {f"pictures/{number}.txt": "1girl, long hair" for number in ids}
    write(folder, {**captions, **{f"pictures/{number}.jpg": picture(number) for number in ids}})
    for number in ids:
        facts = {"category": "danbooru", "subcategory": "tag", "id": number, "tags": ["1girl"]}
        name = f"gallery-dl/danbooru/danbooru_{number}_{md5(picture(number))}.jpg"
        write(folder, {name: picture(number), f"{name}.json": {**facts, "md5": md5(picture(number))}})
    rows = [{"id": number, "tags": " 1girl solo ", "rating": "g"} for number in ids]
    pd.DataFrame(rows).to_parquet(folder / "posts.parquet")
    pd.DataFrame(rows).to_parquet(folder / "index.parquet")
    lines = [json.dumps({"id": number, "tag_string_general": "1girl", "rating": "g"}) for number in ids]
    original = {f"original/{number:04}/{number}.jpg": picture(number) for number in ids}
    write(folder / "danbooru2021", {"metadata/posts000000000000.json": "\n".join(lines), **original})
    images = tar(folder / "images" / "0000.tar", {f"{number}.jpg": picture(number) for number in ids})
    write(folder, {"images/0000.json": json.dumps(json_index(images, list(members(images))))})
    (folder / "dataset").mkdir()
    with webdataset.ShardWriter(f"{folder}/dataset/%05d.tar", verbose=0) as writer:
        for number in ids:
            writer.write(
                {"__key__": str(number), "jpg": picture(number), "json": {"id": number, "tags": "1girl"}}
            )


@pytest.mark.parametrize(("example", "form"), list(zip(EXAMPLES, FORMS, strict=True)))
def test_the_examples_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    example: str,
    form: str,
) -> None:
    """Each example ends with status 0, in the form that its section is about, and stores every picture."""
    people_hold(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ending:
        main([*shlex.split(example), "--json"])
    report = json.loads(capsys.readouterr().out)

    assert ending.value.code == 0
    assert set(report["forms"].values()) == {form}
    assert (report["items"], report["new"], report["stored"]) == (6, 6, 6)
