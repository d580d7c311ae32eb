"""Options of `build-shards` and their bounds; light, because `--help` shows their defaults."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from alti2v.dataset.filter_options import check_words, days
from alti2v.errors import UsageError
from alti2v.option_bounds import require_between, require_choice
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Category
from alti2v.storage.location import Address

_MAX_SIZE_PX = 4096
SPLIT_RULES = ("hash", "id-modulo")
SPLIT_KEYS = ("artist", "date")
FITS = ("letterbox", "squash", "crop", "within")
_MAX_AREA_PX = _MAX_SIZE_PX**2
ENGINES = ("local", "dask")
CHROMAS = ("4:2:0", "4:4:4")
FORMATS = ("jpeg", "webp")
_RECIPE = ImageRecipe()
_RECIPE_OPTIONS = ("size", "area", "fit", "format", "quality", "chroma")
_NOT_IN_COMMAND = ("store", "dataset", "url", "workers", "engine", "scheduler", "new_plan", "dry_run")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """Options of one build.

    Attributes:
        store: Directory of a store, or its URL.
        dataset: Directory of the dataset, or the local work folder if `url` is given.
        url: URL of the dataset; None for a local one.
        size: Side of the square pictures, px, 8 to 4096.
        top_tags: Maximum size of the vocabulary.
        min_count: Minimum number of training pictures of a tag.
        quota: "CATEGORY=N" for each category: its N most frequent tags. Other categories are left out, and
            `top_tags` has no effect.
        ratings: True to add the four ratings to the vocabulary.
        keep, drop: Files of tags, one per line, that are always or never in the vocabulary.
        keep_meta, keep_artist: True to include tags of these categories.
        test, validation: Number of pictures in these splits, met exactly unless the remaining near-duplicate
            groups are all larger than the gap. With split "id-modulo" they have no effect.
        shard_samples: Maximum number of pictures in a shard.
        workers: Number of processes; None for one per core. It does not change the bytes.
        engine: "local" for processes of this machine, or "dask" for a Dask cluster, which must reach store and
            dataset under the same paths or URLs. It does not change the bytes.
        scheduler: Address of the Dask scheduler; None for a cluster of `workers` processes on this machine.
        format: "jpeg" or "webp".
        keep_original: True to keep the bytes of the store; then the options of the recipe must be left out.
        quality: JPEG or WebP quality, 1 to 100.
        area: Maximum number of pixels of a picture that keeps its shape, in place of `size` and `fit`.
        fit, chroma: See `ImageRecipe`; a WebP has no choice of chroma.
        split: "hash" or "id-modulo", see `split.SPLIT_RULE` and `split.ID_MODULO_RULE`.
        split_by: "artist" or "date", see `split_by.ARTIST_RULE` and `split_by.DATE_RULE`; None for `split`.
        min_side, max_aspect, min_score, rating, any_tag, none_of: See `filters.Filters`.
        since, until: First and last day of creation, as YYYY-MM-DD (UTC); None for no bound.
        ids: File of post numbers, one per line: take only these.
        new_plan: True to replace an existing dataset, whatever its options.
        dry_run: True to plan only; the prepared pictures are kept for the build.
    """

    store: Address
    dataset: Path
    url: str | None = None
    size: int = _RECIPE.size
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
    quality: int = _RECIPE.quality
    fit: str = _RECIPE.fit
    area: int | None = None
    chroma: str = _RECIPE.chroma
    split: str = "hash"
    split_by: str | None = None
    min_side: int | None = None
    max_aspect: float | None = None
    min_score: int | None = None
    rating: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    any_tag: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    ids: Path | None = None
    new_plan: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("size", self.size, 8, _MAX_SIZE_PX),
            ("area", self.area, 64, _MAX_AREA_PX),
            ("top-tags", self.top_tags, 1, 1_000_000),
            ("min-count", self.min_count, 1, None),
            ("test", self.test, 0, None),
            ("validation", self.validation, 0, None),
            ("shard-samples", self.shard_samples, 1, None),
            ("workers", self.workers, 1, 1024),
            ("quality", self.quality, 1, 100),
            ("min-side", self.min_side, 1, 2**31 - 1),
            ("max-aspect", self.max_aspect, 1, None),
            ("min-score", self.min_score, -(10**9), 10**9),
        ):
            require_between(f"--{name}", value, low, high)
        for name, word, words in (
            ("split", self.split, SPLIT_RULES),
            ("fit", self.fit, FITS),
            ("chroma", self.chroma, CHROMAS),
            ("format", self.format, FORMATS),
            ("engine", self.engine, ENGINES),
        ):
            require_choice(f"--{name}", word, words)
        require_choice("--split-by", self.split_by, SPLIT_KEYS)
        if self.split_by is not None and self.split != "hash":
            raise UsageError(
                f"--split-by {self.split_by} cannot be combined with --split: leave out --split {self.split}"
            )
        check_words(self.rating, self.any_tag, self.none_of)
        days(self.since, self.until)
        parse_quotas(self.quota)
        self._check_format()
        if self.scheduler is not None and self.engine != "dask":
            raise UsageError(f"--scheduler {self.scheduler} needs a Dask cluster: add --engine dask")
        if self.scheduler is not None and self.workers is not None:
            raise UsageError(
                "--workers is for this machine, and a cluster has its own: leave out --workers or --scheduler"
            )

    def _check_format(self) -> None:
        if self.area is not None and (self.size, self.fit) != (_RECIPE.size, _RECIPE.fit):
            raise UsageError(f"--area {self.area} takes the place of --size and --fit: leave them out")
        if self.format == "webp" and self.chroma != "4:2:0":
            raise UsageError(f"--chroma {self.chroma}: a WebP is always 4:2:0: leave out --chroma")
        if self.keep_original:
            for one in fields(self):
                if one.name in _RECIPE_OPTIONS and getattr(self, one.name) != one.default:
                    raise UsageError(f"--keep-original keeps the stored bytes: leave out --{one.name}")

    @property
    def address(self) -> Address:
        """Folder or URL of the dataset."""
        return self.dataset if self.url is None else self.url

    @property
    def command(self) -> str:
        """Command line of the build, without folders and options that do not change the content."""
        words = ["alti2v build-shards STORE DATASET"]
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in _NOT_IN_COMMAND or value == one.default:
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


def parse_quotas(quotas: tuple[str, ...]) -> Mapping[Category, int]:
    """Parse quotas such as "general=512".

    Raises:
        UsageError: A quota is malformed, or names an unknown category or one a second time.
    """
    parsed: dict[Category, int] = {}
    for quota in quotas:
        name, _, number = quota.partition("=")
        if name not in [category.value for category in Category] or not number.isdecimal() or not int(number):
            names = ", ".join(category.value for category in Category)
            raise UsageError(f"--quota {quota}: give CATEGORY=N, such as general=512; categories are {names}")
        if Category(name) in parsed:
            raise UsageError(f"--quota contains {name} twice: give it once")
        parsed[Category(name)] = int(number)
    return parsed
