"""The page in a real browser: hostile tags stay text, sorting and filtering work, nothing sticks out."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alti2v.model.evaluation.result import Evaluation
from alti2v.report.evaluation_page import render_page
from tests.report.helpers.browser import CHROMIUM, seen_in_browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def page(evaluation: Evaluation) -> str:
    return render_page(evaluation, generated_at=datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def seen(page: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return seen_in_browser(page, tmp_path_factory.mktemp("browser"))


def test_hostile_tags_stay_text(seen: dict[str, Any], evaluation: Evaluation) -> None:
    """No script of a tag ran, no picture and no handler was added, each name is shown as it is."""
    assert seen["title"] == "<b>first: evaluation"
    assert seen["handlers"] == 0
    assert seen["images"] == len(evaluation.result.pictures) + len(evaluation.result.suggestions)
    assert seen["names"] == [tag.name for tag in evaluation.tags]


def test_hostile_tags_stay_text_without_the_policy_too(
    page: str, evaluation: Evaluation, tmp_path: Path
) -> None:
    """The policy is the second wall; escaping alone holds."""
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert open_page != page

    test_hostile_tags_stay_text(seen_in_browser(open_page, tmp_path), evaluation)


def test_a_click_sorts_numbers_largest_first_and_another_smallest_first(seen: dict[str, Any]) -> None:
    """What has no value stays last both times."""
    falling = [float(value) for value in seen["falling"] if value]
    rising = [float(value) for value in seen["rising"] if value]

    assert falling == sorted(falling, reverse=True) != rising
    assert rising == sorted(falling)
    assert seen["falling"][-1] == seen["rising"][-1] == ""
    assert seen["sorted"] == "ascending"


def test_words_sort_by_the_alphabet(seen: dict[str, Any], evaluation: Evaluation) -> None:
    """No tag gets lost while sorting."""
    plain = [name for name in seen["alphabet"] if name.startswith("plain_")]

    assert plain == sorted(plain)
    assert sorted(seen["alphabet"]) == sorted(tag.name for tag in evaluation.tags)


def test_finding_shows_what_matches_and_counts_it(seen: dict[str, Any]) -> None:
    """A space finds an underscore, because people type it so."""
    assert sorted(seen["found"]) == [f"plain_1{digit}" for digit in range(10)]
    assert seen["count"] == "10"


def test_the_gallery_shows_one_kind_at_a_time(seen: dict[str, Any], evaluation: Evaluation) -> None:
    """It begins with the random ones; the most wrong, the most confident, the best and all are a click away."""
    kinds = ["|".join(picture.picks) for picture in evaluation.result.pictures]

    assert seen["first"] == [kind for kind in kinds if "random" in kind]
    assert seen["chosen"] == {
        name: [kind for kind in kinds if name in kind]
        for name in ("random", "most wrong", "most confident", "best", "")
    }
    assert min(map(len, seen["chosen"].values())) > 0


def test_a_narrow_window_needs_no_sideways_scrolling(seen: dict[str, Any]) -> None:
    """Wide tables scroll inside their own box."""
    assert seen["overflow"] == 0
