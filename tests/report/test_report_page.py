"""The page: every figure on it, every value escaped, nothing loaded and nothing run but its own script."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from alti2v.model.evaluation.bootstrap import Interval
from alti2v.model.evaluation.result import Evaluation
from alti2v.report.evaluation_page import (
    calibration_counts,
    distinct_groups,
    headlines,
    render_page,
    summary,
    training_facts,
    training_series,
)
from alti2v.report.markdown import render_markdown
from alti2v.report.model_charts import FEWEST_IN_POINT, calibration_points
from alti2v.report.rendering import figure, percent, small_figure
from tests.report.conftest import invented

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
# What the template itself consists of; a tag's name adds nothing to it.
EXPECTED_SCRIPTS = 1
EXPECTED_STYLES = 1


class Page(HTMLParser):
    """The elements of a page, their attributes, and the texts of table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.texts: list[str] = []
        self.raw: dict[str, str] = {"script": "", "style": ""}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._inside in self.raw:
            self.raw[self._inside] += data
        if self._inside == "td":
            self.cells[-1] += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def page(evaluation: Evaluation) -> Page:
    return Page(render_page(evaluation, generated_at=NOW))


def test_names_appear_as_they_are_and_as_nothing_else(page: Page, evaluation: Evaluation) -> None:
    """A browser reads each tag's exact name from its row, in the cell and in the value that is sorted by."""
    rows = [attributes for attributes in page.all("td") if attributes.get("class") == "tag"]
    names = [tag.name for tag in evaluation.tags]

    assert [attributes["data-value"] for attributes in rows] == names
    assert set(names) <= set(page.cells)


def test_hostile_names_add_no_element_and_no_handler(page: Page) -> None:
    """No element but the template's, no event handler, no address that is not a picture's own bytes."""
    assert len(page.all("script")) == EXPECTED_SCRIPTS
    assert len(page.all("style")) == EXPECTED_STYLES
    assert not {"em", "iframe", "object", "form", "base", "link", "a"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert str(attributes.get("src", "data:image/jpeg;base64,")).startswith("data:image/jpeg;base64,")
        assert "href" not in attributes


def test_only_the_pages_own_script_is_allowed(page: Page) -> None:
    """The policy allows one script by its hash, pictures in the page, and no connection at all."""
    policy = next(
        str(attributes["content"])
        for attributes in page.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(page.raw["script"].encode()).digest()).decode()

    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-eval" not in policy


def test_the_headline_figures_stand_beside_their_baselines(page: Page, evaluation: Evaluation) -> None:
    """mAP, micro F1, macro F1 and skill, each with interval and baseline."""
    text = " ".join(" ".join(page.texts).split())
    ours, theirs = evaluation.result.overall.model, evaluation.result.overall.baseline
    intervals = evaluation.result.intervals
    assert intervals is not None
    for value, baseline, interval in (
        (ours.mean_ap, theirs.mean_ap, intervals.mean_ap),
        (ours.f1, theirs.f1, intervals.f1),
        (ours.macro_f1, theirs.macro_f1, intervals.macro_f1),
        (evaluation.result.overall.skill, 0.0, intervals.skill),
    ):
        assert interval is not None
        assert f" {figure(value)} " in text
        assert f"frequencies only {figure(baseline)}" in text
        assert f"95 % {figure(interval.low)} to {figure(interval.high)}" in text
    assert "A note with <em>markup</em>." in text
    assert "2026-03-01 12:30 UTC" in text


def test_every_part_is_there(page: Page, evaluation: Evaluation) -> None:
    """Curves, groups, training, ranking, gallery, suggestions, table, explanations, provenance."""
    sections = [attributes["id"] for attributes in page.all("section")]

    assert sections == [
        *("curves", "groups", "training", "ranking", "gallery"),
        *("suggestions", "tags", "reading", "made"),
    ]
    assert len(page.all("article")) == len(evaluation.result.pictures)
    assert len(page.all("img")) == len(evaluation.result.pictures) + len(evaluation.result.suggestions)


def test_facts_of_the_training_are_for_readers() -> None:
    """Numbers are rounded and named; what is unknown or false is left out."""
    training = {
        "seconds": 11.049908638000488,
        "stopped_early": False,
        "validation_map": 0.66875,
        "patience": None,
        "epochs": 1_200,
        "input_wait": 0.0123,
        "samples_per_s": 1234.5,
    }

    assert training_facts(training) == {
        "epochs": "1,200",
        "validation mAP, all tags": "0.669",
        "training time": "0.2 minutes",
        "training speed": "1,234 pictures/s",
        "waiting for input": "1.2%",
    }
    assert training_facts({**training, "stopped_early": True})["epochs"] == "1,200, stopped early"


@pytest.mark.parametrize("frozen", [0.0, 1.0])
def test_a_tuning_that_gained_nothing_is_told(evaluation: Evaluation, frozen: float) -> None:
    """The summary says so only if the head alone is better."""
    head = dataclasses.replace(evaluation.result.overall.model, mean_ap=frozen)
    told = summary(dataclasses.replace(evaluation, frozen_head=head))

    assert f"The head alone, before fine-tuning, reaches {frozen:.3f}." in told
    assert ("did not improve on the frozen head" in told) is (frozen == 1.0)


def test_one_list_of_few_tags_and_no_repeated_category(evaluation: Evaluation) -> None:
    """Best and worst of fewer than 20 tags are the same; a single category is the row of all tags."""
    text = render_page(evaluation, generated_at=NOW)
    categories = [group for group in evaluation.result.groups if group.kind == "category"]
    others = [group for group in evaluation.result.groups if group.kind != "category"]

    assert (text.count('class="ranking"'), "Best first" in text) in {(1, True), (2, False)}
    assert distinct_groups([*others, categories[0]]) == others
    assert distinct_groups([*others, *categories[:2]]) == [*others, *categories[:2]]


def test_it_says_how_many_pictures_were_trained_on(page: Page) -> None:
    """The whole number, thousands and all."""
    assert "On 1,200 pictures, epoch by epoch." in " ".join(" ".join(page.texts).split())


def test_the_same_evaluation_gives_the_same_bytes(evaluation: Evaluation) -> None:
    """The date comes in as an argument, and nothing else changes by itself."""
    assert render_page(evaluation, generated_at=NOW) == render_page(evaluation, generated_at=NOW)


def test_what_is_not_known_is_left_out_in_order(evaluation: Evaluation) -> None:
    """Without intervals, log, pictures and ranked tags the page is still complete and shows no NaN."""
    scores = evaluation.result.tag_scores
    nothing = dataclasses.replace(
        evaluation.result,
        groups=tuple(dataclasses.replace(group, intervals=None) for group in evaluation.result.groups),
        pictures=(),
        suggestions=(),
        min_positives=10**6,
        tag_scores=dataclasses.replace(
            scores, average_precision=np.full_like(scores.average_precision, np.nan)
        ),
    )
    bare = dataclasses.replace(evaluation, result=nothing, log=(), training={})
    page = Page(render_page(bare, generated_at=NOW))

    assert [attributes["id"] for attributes in page.all("section")] == [
        *("curves", "groups", "tags", "reading", "made")
    ]
    assert "nan" not in "".join(page.cells).lower()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (0.0, "0.000"), (-0.0002, "0.000"), (0.12345, "0.123"), (1.0, "1.000")],
)
def test_figures_have_three_decimals(value: float | None, text: str) -> None:
    """A dash is shown for an unknown value."""
    assert figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.0020134, "0.00201"), (0.25, "0.250"), (12.5, "12.5"), (1234.5, "1234")]
)
def test_small_figures_keep_three_significant_digits(value: float, text: str) -> None:
    """Squared errors differ in their third or fourth decimal, and an exponent is hard to read."""
    assert small_figure(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.5, "50.0%"), (-0.2, "0.0%"), (1.7, "100.0%")])
def test_bars_stay_in_their_track(value: float, text: str) -> None:
    """A negative skill has an empty bar, not one outside the page."""
    assert percent(value) == text


def test_points_of_few_predictions_are_left_out_of_calibration(evaluation: Evaluation) -> None:
    """A share of a handful of predictions is chance: the curve has a gap there."""
    few = dataclasses.replace(
        evaluation.result.overall.reliability,
        count=np.array([FEWEST_IN_POINT - 1, FEWEST_IN_POINT, 0]),
        confidence=np.array([0.1, 0.5, np.nan]),
        frequency=np.array([1.0, 0.4, np.nan]),
    )

    first, second, third = calibration_points(few)
    assert second == (0.5, 0.4)
    assert np.isnan([first, third]).all()
    assert f"fewer than {FEWEST_IN_POINT} predictions" in render_page(evaluation, generated_at=NOW)


def test_pictures_of_an_import_are_called_by_their_file_names(evaluation: Evaluation) -> None:
    """The gallery shows the name as text; pictures of a board keep their post number."""
    first, second = evaluation.result.pictures[:2]
    page = Page(
        render_page(dataclasses.replace(evaluation, file_names={first.id: "<b>.png"}), generated_at=NOW)
    )
    alts = [attributes["alt"] for attributes in page.all("img")]

    assert alts[:2] == ["<b>.png", f"post {second.id}"]


def test_gallery_has_several_columns_where_there_is_room(page: Page) -> None:
    """Its width follows from a variable that only comparisons set; without one the rule must still be valid."""
    assert "var(--models)" not in page.raw["style"]


def test_single_things_are_in_the_singular(evaluation: Evaluation) -> None:
    """One picture and one tag, not "1 pictures" and "1 tags"."""
    told = summary(_with_scores(evaluation, images=1, tags=1, tags_ranked=1, tags_seen=1))

    assert told.startswith("On 1 picture that training never saw")
    assert "over 1 tag." in told


def _with_scores(evaluation: Evaluation, *, images: int = 60, **fields: Any) -> Evaluation:
    """Replace scores over all tags."""
    scores = dataclasses.replace(evaluation.result.overall.model, **fields)
    overall = dataclasses.replace(evaluation.result.overall, model=scores)
    groups = (overall, *evaluation.result.groups[1:])
    return dataclasses.replace(
        evaluation, result=dataclasses.replace(evaluation.result, images=images, groups=groups)
    )


def test_a_mean_over_one_of_many_tags_is_no_headline(evaluation: Evaluation) -> None:
    """Micro F1 comes first instead, in the words and among the large figures."""
    few = _with_scores(evaluation, tags_ranked=1, mean_ap=1.0)

    assert f"reaches a micro F1 of {figure(few.result.overall.model.f1)}." in summary(few)
    assert [one.name for one in headlines(few)] == ["Micro F1", "Macro F1", "Brier skill"]
    assert "1.000" not in summary(few)


def test_few_predictions_are_counted_instead_of_drawn() -> None:
    """A calibration curve of one point says nothing; a table says how many predictions there were."""
    few = invented(images=2)
    rows = calibration_counts(few.result.overall.reliability)
    page = Page(render_page(few, generated_at=NOW))

    assert sum(row.predictions for row in rows) == few.result.overall.reliability.count.sum()
    assert sum(row.labels for row in rows) == few.result.overall.model.positives
    assert [row.range for row in rows][:1] == ["0.0 to 0.2"]
    assert any("There are too few for a chart." in text for text in page.texts)


def test_many_predictions_are_drawn(evaluation: Evaluation) -> None:
    """Then there is no table."""
    assert calibration_counts(evaluation.result.overall.reliability) == []


def test_a_temperature_that_makes_it_worse_is_called_so(evaluation: Evaluation) -> None:
    """The page and the short report say whether scaling helps on the evaluated pictures."""
    calibrated = evaluation.result.overall.calibrated
    assert calibrated is not None
    worse, better = (
        _with_scores(evaluation, calibration_error=calibrated.expected_error + change)
        for change in (-1e-3, 1e-3)
    )

    for one, is_worse in ((worse, True), (better, False)):
        assert ("worse, so leave the probabilities" in render_page(one, generated_at=NOW)) is is_worse
        first = render_markdown(one, generated_at=NOW).partition("| all |")[2].partition("\n")[0]
        assert (", worse)" in first) is is_worse


def test_the_chart_of_a_training_begins_with_the_head_start(evaluation: Evaluation) -> None:
    """Epoch 0 has figures of the validation split, and no training loss."""
    log = (
        {"epoch": 0.0, "val_loss": 3.0, "val_map": 0.6},
        {"epoch": 1.0, "loss": 2.0, "val_loss": 4.0, "val_map": 0.5},
    )
    points = {(title, one.name): one.points for title, series, _ in training_series(log) for one in series}
    assert points["Loss", "validation"] == [(0, 3.0), (1, 4.0)]
    assert points["Loss", "training"] == [(1, 2.0)]
    for one, is_named in ((dataclasses.replace(evaluation, log=log), True), (evaluation, False)):
        assert ("epoch 0 is the head start" in render_page(one, generated_at=NOW)) is is_named


def test_labels_that_may_be_missing_are_called_no_more_likely_than_they_are(evaluation: Evaluation) -> None:
    """Where few predictions are labels, most suggestions are mistakes of the network, and the page says so."""
    for precision, words in (
        (0.21, "21 of 100 predicted tags are labels, so expect mostly mistakes"),
        (0.8, "80 of"),
    ):
        page = render_page(_with_scores(evaluation, precision=precision), generated_at=NOW)
        assert words in page
        assert ("expect mostly mistakes" in page) is (precision < 0.5)


def test_numbers_of_tags_that_are_equal_are_shown_once(evaluation: Evaluation) -> None:
    """A row repeats its number of tags only for a metric that leaves some of them out."""
    for seen, is_repeated in ((41, False), (40, True)):
        page = render_page(_with_scores(evaluation, tags=41, tags_ranked=41, tags_seen=seen), generated_at=NOW)
        assert (f"41 in mAP, {seen} in macro F1" in page) is is_repeated


def test_an_interval_below_zero_is_open_on_its_left(evaluation: Evaluation) -> None:
    """The scale begins at 0: an interval from below has no border there."""
    overall = evaluation.result.overall
    assert overall.intervals is not None
    below = dataclasses.replace(
        overall, intervals=dataclasses.replace(overall.intervals, skill=Interval(low=-0.3, high=0.4))
    )
    result = dataclasses.replace(evaluation.result, groups=(below, *evaluation.result.groups[1:]))
    page = render_page(dataclasses.replace(evaluation, result=result), generated_at=NOW)

    assert page.count('class="range open"') == 1
