"""Plan of a dataset from the options of `build-shards`, and its differences from an earlier plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alti2v.dataset.config import FORMATS, BuildConfig, parse_quotas
from alti2v.dataset.filter_options import days
from alti2v.dataset.id_file import read_ids
from alti2v.dataset.plan.filters import Filters, IdList
from alti2v.dataset.plan.planner import PlanOptions
from alti2v.dataset.plan.vocabulary import VocabularyRule
from alti2v.errors import UsageError
from alti2v.pictures.recipe import ORIGINAL, ImageRecipe
from alti2v.records import Category, composed
from alti2v.storage.documents import open_named

_SHOWN_CHARACTERS = 40


def plan_options(config: BuildConfig) -> PlanOptions:
    """Return the options that determine the content of a dataset.

    Raises:
        UsageError: A file of tags cannot be read, or both files contain a tag.
    """
    kept_too = ((Category.META, config.keep_meta), (Category.ARTIST, config.keep_artist))
    keep, drop = (frozenset() if path is None else read_tags(path) for path in (config.keep, config.drop))
    since, until = days(config.since, config.until)
    if keep & drop:
        raise UsageError(f"--keep and --drop both contain {min(keep & drop)!r}: remove it from one of them")
    return PlanOptions(
        image=ImageRecipe(
            size=config.size if config.area is None else math.isqrt(config.area),
            fit=config.fit if config.area is None else "area",
            format=ORIGINAL if config.keep_original else config.format.upper(),
            quality=config.quality,
            chroma=config.chroma,
        ),
        vocabulary=VocabularyRule(
            size=config.top_tags,
            min_count=config.min_count,
            quotas=parse_quotas(config.quota),
            left_out=frozenset(category for category, is_kept in kept_too if not is_kept),
            ratings=config.ratings,
            keep=keep,
            drop=drop,
        ),
        test=config.test,
        validation=config.validation,
        shard_samples=config.shard_samples,
        split=config.split_by or config.split,
        filters=Filters(
            min_side=config.min_side,
            max_aspect=config.max_aspect,
            min_score=config.min_score,
            rating=tuple(sorted(set(config.rating))),
            since=since,
            until=until,
            any_tag=tuple(sorted(set(config.any_tag))),
            none_of=tuple(sorted(set(config.none_of))),
            ids=None if config.ids is None else IdList(read_ids(config.ids)),
        ),
    )


def read_tags(path: Path) -> frozenset[str]:
    """Read a file with one tag per line; blank lines and surrounding spaces are ignored.

    Raises:
        UsageError: The file cannot be read, is not UTF-8, or contains no tag.
    """
    try:
        with open_named(path) as file:
            lines = file.read().decode("utf-8-sig").splitlines()
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}: give a file with one tag per line") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text: give a file with one tag per line") from exc
    tags = frozenset(composed(stripped) for line in lines if (stripped := line.strip()))
    if not tags:
        raise UsageError(f"{path} contains no tag: give a file with one tag per line")
    return tags


def differences(built: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the options that differ between two results of `planner.as_json`, for a message; "" if none does."""
    before, now = _option_values(built), _option_values(wanted)
    return ", ".join(
        _difference(option, before[option], now[option])
        for option in sorted(now)
        if before[option] != now[option]
    )


def _option_values(plan: Mapping[str, Any]) -> Mapping[str, object]:
    image, vocabulary, filters = plan["image"], plan["vocabulary"], plan.get("filters", {})
    return {
        **{f"--{name}": image[name] for name in ("size", "fit", "quality", "chroma")},
        "--format": FORMATS[0] if image["format"] == ORIGINAL else image["format"].lower(),
        "--keep-original": image["format"] == ORIGINAL,
        "--top-tags": vocabulary["size"],
        "--min-count": vocabulary["min_count"],
        "--quota": [f"{category}={count}" for category, count in vocabulary["quotas"].items()],
        "--keep-meta": Category.META not in vocabulary["left_out"],
        "--keep-artist": Category.ARTIST not in vocabulary["left_out"],
        **{f"--{name}": vocabulary[name] for name in ("ratings", "keep", "drop")},
        **{f"--{name}": plan[name] for name in ("test", "validation", "split")},
        "--shard-samples": plan["shard_samples"],
        **{f"--{name.replace('_', '-')}": filters.get(name) for name in Filters.__dataclass_fields__},
    }


def _difference(option: str, before: object, now: object) -> str:
    if isinstance(before, bool) or isinstance(now, bool):
        return f"{'with' if before else 'without'} {option}"
    return f"{option} {_shown(before)} instead of {_shown(now)}"


def _shown(value: object) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    text = "nothing" if value in (None, []) else text
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
