"""Parsing of the words and days in the filters of `build-shards`. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from alti2v.errors import UsageError
from alti2v.option_bounds import require_choice

RATINGS = ("general", "sensitive", "questionable", "explicit")


def check_words(rating: tuple[str, ...], any_tag: tuple[str, ...], none_of: tuple[str, ...]) -> None:
    """Check ratings and tags.

    Raises:
        UsageError: A rating is unknown, or a tag is empty or has spaces.
    """
    for word in rating:
        require_choice("--rating", word, RATINGS)
    for name, tags in (("any-tag", any_tag), ("none-of", none_of)):
        for tag in tags:
            if len(tag.split()) != 1 or tag != tag.strip():
                raise UsageError(f"--{name} {tag!r}: give one tag, without spaces")


def days(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Return the beginning of the first day and the end of the last day, unix seconds; None for no bound.

    Raises:
        UsageError: A day is invalid, or the last day is before the first.
    """
    first, last = _day("since", since), _day("until", until)
    if first is not None and last is not None and last < first:
        raise UsageError(f"--until {until} is before --since {since}: no day is between them")
    return (
        None if first is None else _begin(first),
        None if last is None else _begin(last + timedelta(days=1)),
    )


def _day(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--{name} {text}: give a day as YYYY-MM-DD") from None
    if not 1970 <= day.year <= 9998:
        raise UsageError(f"--{name} {text}: give a day from 1970 on")
    return day


def _begin(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
