"""Options of `demo`; light, because `--help` shows their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alti2v.option_bounds import require_between


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """Configuration of a demo.

    Attributes:
        out: Folder for all files, in which a killed demo continues.
        posts: Number of posts on the stand-in board, at least 100.
        epochs: Number of training epochs; None for the recipe's own.
    """

    out: Path
    posts: int = 1600
    epochs: int | None = None

    def __post_init__(self) -> None:
        require_between("--posts", self.posts, 100)
