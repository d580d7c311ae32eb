"""Options of `tag`, of its sidecars, and of the relations that `serve` applies, too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alti2v.errors import UsageError
from alti2v.model.options.choices import CATEGORIES, DEFAULT_BATCH_SIZE, Existing, Implications, Rule, Sort
from alti2v.option_bounds import require_between, require_choice
from alti2v.pictures.suffixes import PICTURE_SUFFIXES, UNREAD_SUFFIXES

_OF_TAGS = "_()\\"  # besides letters and digits, these may not occur in a separator
_SURROGATE = re.compile("[\ud800-\udfff]")  # a byte of an argument that is not UTF-8


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationOptions:
    """Options of commands that apply relations.

    Attributes:
        relations: STORE, or a CSV or JSON file; None for no aliases and implications.
        implications: Treatment of implied tags.
        copyright_of: "model", or a DATASET to learn copyrights of characters from; None to add none.
    """

    relations: Path | None = None
    implications: Implications = Implications.OFF
    copyright_of: str | None = None

    def __post_init__(self) -> None:
        if self.relations is None and self.implications is not Implications.OFF:
            raise UsageError(f"--implications {self.implications} needs --relations STORE or a file")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionStyle:
    """Spelling and order of the tags of a caption.

    Attributes:
        separator: Text between tags; its blanks are ignored when captions are read.
        spaces: True to write underscores as spaces, except in faces such as ^_^.
        escape: True to write a backslash before parentheses, which prompts read as emphasis.
        replace: Tag -> text to write instead, unchanged.
        prepend, append: Texts at the start and the end of every caption, unchanged.
        always_first: Tags that come first, in this order, if the picture has them.
    """

    separator: str = ", "
    spaces: bool = False
    escape: bool = False
    replace: Mapping[str, str] = field(default_factory=dict)
    prepend: tuple[str, ...] = ()
    append: tuple[str, ...] = ()
    always_first: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        mark = self.mark
        if not mark or any(character.isalnum() or character in _OF_TAGS for character in mark):
            raise UsageError(f"--separator {self.separator!r} occurs in tags: give a separator such as ', '")
        if mark == " " and self.spaces:
            raise UsageError(
                "--separator ' ' and --spaces together would split tags at their spaces: give one of them"
            )
        for text in (*self.replace.values(), *self.prepend, *self.append):
            if not text.strip() or "\n" in text or _SURROGATE.search(text):
                raise UsageError(
                    f"{text!r} cannot be part of a caption: give at least a word, in one line of UTF-8"
                )

    @property
    def mark(self) -> str:
        """Separator of tags when captions are read: without the blanks around it."""
        return self.separator.strip() or self.separator[:1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarConfig:
    """Options of the text files written beside pictures.

    Attributes:
        suffix: Suffix that replaces the picture's own.
        existing: Action for a picture that already has a sidecar.
        style: Spelling and order of the tags.
    """

    suffix: str = ".txt"
    existing: Existing = Existing.SKIP
    style: CaptionStyle = field(default_factory=CaptionStyle)

    def __post_init__(self) -> None:
        if not self.suffix.startswith(".") or len(self.suffix) < 2 or "/" in self.suffix:
            raise UsageError(f"--suffix {self.suffix!r} is not a suffix: give one such as .txt")
        if self.suffix.lower() in PICTURE_SUFFIXES | UNREAD_SUFFIXES:
            raise UsageError(f"--suffix {self.suffix!r} would replace pictures: give one such as .txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagConfig:
    """Options of `tag_files`.

    Attributes:
        model: Model to load, see `tagger.load_tagger`.
        paths: Files, folders and patterns, see `inputs.find_pictures`.
        rule: Source of the thresholds.
        threshold: Threshold of the rule constant; None for the model's own, of each tag or category if it has
            such, else `selection.DEFAULT_THRESHOLD`.
        by_category: Category -> threshold that replaces `threshold`.
        by_tag: Tag -> threshold that replaces both.
        is_strict: True if probabilities have to be more than these thresholds, False if at least.
        categories: Categories to keep; empty for all but the rating.
        exclude: Tags to leave out.
        top: Maximum number of tags of a picture; None for no limit.
        sort: Order of the tags.
        sidecars: Options of the sidecars; None to write none.
        batch_size: Pictures per forward pass.
        precision: Number format that the layers of a RUN compute in, see `tagger.load_tagger`.
        relations: Aliases, implications and copyrights to apply.
    """

    model: Path
    paths: tuple[str, ...]
    rule: Rule = Rule.CONSTANT
    threshold: float | None = None
    by_category: Mapping[str, float] = field(default_factory=dict)
    by_tag: Mapping[str, float] = field(default_factory=dict)
    is_strict: bool = False
    categories: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    top: int | None = None
    sort: Sort = Sort.SCORE
    sidecars: SidecarConfig | None = None
    batch_size: int = DEFAULT_BATCH_SIZE
    precision: str = "auto"
    relations: RelationOptions = field(default_factory=RelationOptions)

    def __post_init__(self) -> None:
        given = self.threshold is not None or self.by_category or self.by_tag
        if self.rule is not Rule.CONSTANT and given:
            raise UsageError(f"--threshold goes with --threshold-rule constant, not with {self.rule}: give one")
        require_between("--top", self.top, 1)
        require_between("--batch-size", self.batch_size, 1)
        for category in self.categories:
            require_choice("category", category, CATEGORIES)
        require_thresholds(self.by_category, (self.threshold or 0.0, *self.by_tag.values()))


def require_thresholds(by_category: Mapping[str, float], others: Iterable[float]) -> None:
    """Check thresholds of categories, and others.

    Raises:
        UsageError: There is no such category, or a threshold is outside of [0, 1].
    """
    for name in by_category:
        require_choice("category", name, CATEGORIES)
    for value in (*others, *by_category.values()):
        if not 0 <= value <= 1:
            raise UsageError(f"threshold {value} is not in [0, 1]")
