"""metrics.json and per_tag.csv: complete, readable by any program, equal to what was found."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alti2v.errors import StorageError
from alti2v.model.evaluation.bootstrap import Interval
from alti2v.model.evaluation.result import Evaluation
from alti2v.report.evaluation import (
    PER_TAG_COLUMNS,
    metrics_document,
    metrics_json,
    per_tag_csv,
    publish_evaluation,
    suggestions_csv,
)
from alti2v.report.markdown import render_markdown

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FILES = ["metrics.json", "per_tag.csv", "report.html", "report.md", "suggestions.csv"]


def interval_of_map(evaluation: Evaluation) -> Interval:
    intervals = evaluation.result.intervals
    assert intervals is not None
    assert intervals.mean_ap is not None
    return intervals.mean_ap


def test_metrics_are_strict_json_with_every_group(evaluation: Evaluation) -> None:
    """No NaN and no infinity, so that every reader takes it; the baseline is beside every group."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    document = json.loads(metrics_json(evaluation), parse_constant=refuse)
    result = evaluation.result
    assert document == json.loads(json.dumps(metrics_document(evaluation)))
    assert document["map"] == result.overall.model.mean_ap
    assert [group["name"] for group in document["groups"]] == [
        *("all", "general", "copyright", "character", "100 to 999", "1 to 9")
    ]
    for group, expected in zip(document["groups"], result.groups, strict=True):
        assert group["model"] == dataclasses.asdict(expected.model)
        assert group["baseline"] == dataclasses.asdict(expected.baseline)
        assert expected.intervals is not None
        assert group["intervals_95"] == dataclasses.asdict(expected.intervals)
    assert document["intervals_95"]["mean_ap"]["low"] == interval_of_map(evaluation).low
    assert document["positives_per_image"] == result.overall.model.positives / result.images


def test_the_headline_is_what_a_person_sees_first(evaluation: Evaluation) -> None:
    """The first screen of metrics.json holds the figures; lists have one element a line."""
    lines = metrics_json(evaluation).decode().splitlines()

    assert max(index for index, line in enumerate(lines) if line.startswith(' "m')) < 20
    assert len(lines) < 60


def test_curves_are_short_and_keep_their_ends(evaluation: Evaluation) -> None:
    """At most 200 points, the first and the last among them."""
    curve = metrics_document(evaluation)["curves"][1]
    whole = evaluation.result.overall.curve

    assert len(curve["recall"]) == len(curve["precision"]) == len(curve["thresholds"]) <= 200
    assert curve["thresholds"][0] == pytest.approx(whole.thresholds[0])
    assert curve["recall"][-1] == pytest.approx(whole.recall[-1], abs=1e-6)


def test_the_table_of_tags_survives_a_round_trip(evaluation: Evaluation) -> None:
    """Names with commas, quotes and line breaks come back as they were; what is not known is empty."""
    rows = list(csv.DictReader(io.StringIO(per_tag_csv(evaluation).decode(), newline="")))
    scores = evaluation.result.tag_scores

    assert tuple(rows[0]) == PER_TAG_COLUMNS
    # An apostrophe in front keeps a spreadsheet from running a name that is a formula.
    names = [row["name"].replace("'=", "=", 1) for row in rows]
    assert names == [tag.name for tag in evaluation.tags]
    assert [int(row["positives"]) for row in rows] == scores.positives.tolist()
    assert [float(row["best_threshold"]) for row in rows] == evaluation.result.thresholds.own.tolist()
    assert float(rows[0]["average_precision"]) == pytest.approx(scores.average_precision[0], abs=1e-6)
    assert rows[-1]["average_precision"] == ""
    images = evaluation.result.images
    assert [float(row["actual_frequency"]) for row in rows] == pytest.approx(
        scores.positives / images, abs=1e-6
    )
    assert [float(row["predicted_frequency"]) for row in rows] == pytest.approx(
        scores.predicted / images, abs=1e-6
    )
    assert [float(row["squared_error"]) for row in rows] == pytest.approx(scores.squared_error, abs=1e-8)


def test_suggestions_are_additions_in_order(evaluation: Evaluation) -> None:
    """Post, tag and probability, the most confident first, each pair once, with every picture's best one."""
    rows = list(csv.DictReader(io.StringIO(suggestions_csv(evaluation).decode(), newline="")))
    probabilities = [float(row["probability"]) for row in rows]
    pairs = {(int(row["id"]), row["name"]) for row in rows}

    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[-1] >= evaluation.result.thresholds.model - 1e-6
    assert len(pairs) == len(rows) > 100
    assert {(one.id, evaluation.tags[one.index].name) for one in evaluation.result.suggestions} <= pairs
    scores = evaluation.result.tag_scores
    extra = int((scores.predicted - scores.correct).sum())
    assert len(rows) == min(extra, 1000)


def test_markdown_says_what_the_page_says(evaluation: Evaluation) -> None:
    """Figures with intervals and baselines, every group, how it was made; tables whole, markup as text."""
    text = render_markdown(evaluation, generated_at=NOW)
    ours, theirs = evaluation.result.overall.model, evaluation.result.overall.baseline
    interval = interval_of_map(evaluation)
    tables = [line for line in text.splitlines() if line.startswith("|")]

    assert (
        f"| Mean average precision | {ours.mean_ap:.3f} | {interval.low:.3f} to {interval.high:.3f} "
        f"| {theirs.mean_ap:.3f} |" in tables
    )
    assert {line.count(" | ") for line in tables if line.startswith("| 1")} == {8}
    assert [
        name for name in ("all", "general", "character") if any(f"| {name} |" in one for one in tables)
    ] == [*("all", "general", "character")]
    assert r"\<em\>markup\</em\>" in text
    assert "<i>" not in text
    assert "nan" not in text


def test_publishing_gives_the_headline_and_the_paths(evaluation: Evaluation, tmp_path: Path) -> None:
    """The result names five files that exist; its table is what a terminal shows."""
    report = publish_evaluation(evaluation, tmp_path, generated_at=NOW)

    assert report.map is not None
    assert report.map_baseline is not None
    assert report.map == evaluation.result.overall.model.mean_ap
    assert report.map > report.map_baseline
    assert report.micro_f1 == evaluation.result.overall.model.f1
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert {report.metrics, report.per_tag, report.suggestions, report.markdown, report.report} == set(
        tmp_path.iterdir()
    )
    interval = interval_of_map(evaluation)
    low, high = interval.low, interval.high
    assert report.table["mAP"] == (
        f"{report.map:.3f}   (95 %: {low:.3f} to {high:.3f}; frequencies only: {report.map_baseline:.3f})"
    )
    assert report.table["note"] == evaluation.notes[0]


def test_a_report_replaces_an_older_one(evaluation: Evaluation, tmp_path: Path) -> None:
    """Judging again gives the same files, not more of them."""
    first = publish_evaluation(evaluation, tmp_path, generated_at=NOW).report.read_bytes()
    second = publish_evaluation(evaluation, tmp_path, generated_at=NOW).report.read_bytes()

    assert first == second
    assert len(list(tmp_path.iterdir())) == len(FILES)


def test_a_place_that_cannot_be_written_is_named(evaluation: Evaluation, tmp_path: Path) -> None:
    """One line with the path, instead of a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*metrics\.json"):
        publish_evaluation(evaluation, tmp_path / "file", generated_at=NOW)
