"""What a user may ask of `build-shards`: the options, their bounds, and what they mean for a plan."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from alti2v.dataset.manifest import ORIGINAL, ImageRecipe
from alti2v.dataset.plan.planner import PlanOptions
from alti2v.dataset.plan.vocabulary import VocabularyRule
from alti2v.errors import UsageError
from alti2v.records import Category
from alti2v.storage.location import Address

_MAX_SIZE_PX = 4096
SPLIT_RULES = ("hash", "id-modulo")
FITS = ("letterbox", "squash", "crop")
ENGINES = ("local", "dask")
CHROMAS = ("4:2:0", "4:4:4")
FORMATS = ("jpeg", "webp")
_OF_PREPARED = ("size", "fit", "format", "quality", "chroma")
_SHOWN_CHARACTERS = 40
_NOT_OF_THE_DATASET = ("store", "dataset", "url", "workers", "engine", "scheduler", "new_plan", "dry_run")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """What to build.

    Attributes:
        store: directory of a store, or its URL.
        dataset: directory for the dataset; a killed build goes on there.
        url: where the dataset goes, if it goes behind a URL; then `dataset` is the local work folder.
        size: side of the square pictures, px, 8 to 4096.
        top_tags: size of the vocabulary, at most.
        min_count: training pictures that a tag of the vocabulary needs.
        quota: "CATEGORY=N": the N most frequent tags of each category named, and none of the others; then
            `top_tags` is without meaning.
        ratings: whether the four ratings are tags of the vocabulary, too.
        keep, drop: files with one tag on a line: always and never in the vocabulary.
        test, validation: pictures in these splits: exactly so many, unless only groups of alike
            pictures are left that are larger than the gap.
        shard_samples: pictures in one shard, at most.
        workers: processes; None for as many as there are cores. The bytes do not depend on it.
        engine: "local", the processes of this machine, or "dask", those of a Dask cluster, which has to reach
            store and dataset under the same names, folders or URLs. The bytes do not depend on it.
        scheduler: address of the cluster's scheduler; None for a cluster of `workers` on this machine.
        format: "jpeg" or "webp".
        keep_original: store pictures as they came; then none of the options of prepared ones may be given.
        quality: of the pictures, 1 to 100.
        fit, chroma: see `ImageRecipe`; a WebP has no choice of chroma.
        split: "hash" or "id-modulo": see `split.SPLIT_RULE` and `split.ID_MODULO_RULE`. By id, the sizes of
            test and validation have no say.
        new_plan: replace what stands in the folder, whatever options it was built with.
        dry_run: plan only; the pictures that were looked at for it are kept for the build.
        keep_meta, keep_artist: whether these categories belong to the vocabulary, too.
    """

    store: Address
    dataset: Path
    url: str | None = None
    size: int = 224
    top_tags: int = 5000
    min_count: int = 1
    quota: tuple[str, ...] = ()
    ratings: bool = False
    keep: Path | None = None
    drop: Path | None = None
    keep_meta: bool = False
    keep_artist: bool = False
    test: int = 20_000
    validation: int = 10_000
    shard_samples: int = 10_000
    workers: int | None = None
    format: str = "jpeg"
    keep_original: bool = False
    engine: str = "local"
    scheduler: str | None = None
    quality: int = 95
    fit: str = "letterbox"
    chroma: str = "4:2:0"
    split: str = "hash"
    new_plan: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("size", self.size, 8, _MAX_SIZE_PX),
            ("top-tags", self.top_tags, 1, 1_000_000),
            ("min-count", self.min_count, 1, None),
            ("test", self.test, 0, None),
            ("validation", self.validation, 0, None),
            ("shard-samples", self.shard_samples, 1, None),
            ("workers", self.workers, 1, 1024),
            ("quality", self.quality, 1, 100),
        ):
            if value is not None and (value < low or (high is not None and value > high)):
                bounds = f"at least {low}" if high is None else f"{low} to {high}"
                raise UsageError(f"--{name} {value} is out of range: give {bounds}")
        for name, word, words in (
            ("split", self.split, SPLIT_RULES),
            ("fit", self.fit, FITS),
            ("chroma", self.chroma, CHROMAS),
            ("format", self.format, FORMATS),
            ("engine", self.engine, ENGINES),
        ):
            if word not in words:
                raise UsageError(f"--{name} {word}: give one of {', '.join(words)}")
        parse_quotas(self.quota)
        self._check_format()
        if self.scheduler is not None and self.engine != "dask":
            raise UsageError(f"--scheduler {self.scheduler} is for a Dask cluster: give --engine dask, too")
        if self.scheduler is not None and self.workers is not None:
            raise UsageError(
                "--workers is for this machine, and a cluster has its own: leave it or --scheduler out"
            )

    def _check_format(self) -> None:
        if self.format == "webp" and self.chroma != "4:2:0":
            raise UsageError(f"--chroma {self.chroma}: a WebP is always 4:2:0: leave --chroma out")
        if self.keep_original:
            for one in fields(self):
                if one.name in _OF_PREPARED and getattr(self, one.name) != one.default:
                    raise UsageError(f"--keep-original stores pictures as they came: leave --{one.name} out")

    @property
    def address(self) -> Address:
        """Where the dataset is."""
        return self.dataset if self.url is None else self.url

    @property
    def command(self) -> str:
        """The command line that asks for this dataset, without folders and what does not decide its content."""
        words = ["alti2v build-shards STORE DATASET"]
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in _NOT_OF_THE_DATASET or value == one.default:
                continue
            option = f"--{one.name.replace('_', '-')}"
            if value is True:
                words.append(option)
            else:
                many = value if isinstance(value, tuple) else (value,)
                words += [
                    f"{option} {shlex.quote(item.name if isinstance(item, Path) else str(item))}"
                    for item in many
                ]
        return " ".join(words)

    @property
    def options(self) -> PlanOptions:
        """What of this decides the content of the dataset.

        Raises:
            UsageError: a file of tags cannot be read, or both files name a tag.
        """
        kept_too = ((Category.META, self.keep_meta), (Category.ARTIST, self.keep_artist))
        keep, drop = (frozenset() if path is None else read_tags(path) for path in (self.keep, self.drop))
        if keep & drop:
            raise UsageError(f"--keep and --drop both name {min(keep & drop)!r}: take it out of one of them")
        return PlanOptions(
            image=ImageRecipe(
                size=self.size,
                fit=self.fit,
                format=ORIGINAL if self.keep_original else self.format.upper(),
                quality=self.quality,
                chroma=self.chroma,
            ),
            vocabulary=VocabularyRule(
                size=self.top_tags,
                min_count=self.min_count,
                quotas=parse_quotas(self.quota),
                left_out=frozenset(category for category, is_kept in kept_too if not is_kept),
                ratings=self.ratings,
                keep=keep,
                drop=drop,
            ),
            test=self.test,
            validation=self.validation,
            shard_samples=self.shard_samples,
            split=self.split,
        )


def parse_quotas(quotas: tuple[str, ...]) -> Mapping[Category, int]:
    """Read "general=512" and its like.

    Raises:
        UsageError: one has another form, names no category, or names one again.
    """
    parsed: dict[Category, int] = {}
    for quota in quotas:
        name, _, number = quota.partition("=")
        if name not in [category.value for category in Category] or not number.isdecimal() or not int(number):
            names = ", ".join(category.value for category in Category)
            raise UsageError(f"--quota {quota}: give CATEGORY=N, such as general=512; categories are {names}")
        if Category(name) in parsed:
            raise UsageError(f"--quota names {name} twice: give it once")
        parsed[Category(name)] = int(number)
    return parsed


def read_tags(path: Path) -> frozenset[str]:
    """Read a file with one tag on a line; empty lines and spaces around tags do not count.

    Raises:
        UsageError: it cannot be read, is not UTF-8, or names no tag.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}: give a file with one tag on a line") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text: give a file with one tag on a line") from exc
    tags = frozenset(stripped for line in lines if (stripped := line.strip()))
    if not tags:
        raise UsageError(f"{path} names no tag: give a file with one tag on a line")
    return tags


def differences(built: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say which options a dataset was built with that differ from those wanted now; "" if none does."""
    before, now = _as_options(built), _as_options(wanted)
    return ", ".join(
        _difference(name, before.get(name), now.get(name))
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    )


def _as_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a plan's options under the names of the command line."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= value if name in ("image", "vocabulary") else {name: value}
    if "vocabulary" in options:
        flat["top_tags"] = options["vocabulary"].get("size")
        flat["quota"] = [f"{category}={count}" for category, count in flat.pop("quotas", {}).items()]
        left_out = flat.pop("left_out", [])
        flat |= {f"keep_{category}": category not in left_out for category in (Category.META, Category.ARTIST)}
    if "image" in options:
        flat["size"] = options["image"].get("size")
        flat["keep_original"] = flat.get("format") == ORIGINAL
        flat["format"] = "jpeg" if flat["keep_original"] else str(flat.get("format")).lower()
    return {f"--{name.replace('_', '-')}": value for name, value in flat.items()}


def _difference(option: str, before: object, now: object) -> str:
    if isinstance(before, bool) or isinstance(now, bool):
        return f"{'with' if before else 'without'} {option}"
    return f"{option} {_shown(before)} instead of {_shown(now)}"


def _shown(value: object) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    text = "nothing" if value in (None, []) else text
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
