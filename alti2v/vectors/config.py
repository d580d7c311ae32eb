"""Options of `embed` and `search`; light, because `--help` shows their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from alti2v.errors import UsageError
from alti2v.model.options.choices import DEFAULT_BATCH_SIZE
from alti2v.option_bounds import require_between, require_choice
from alti2v.storage.layout import INDEX_SUFFIX


class Form(StrEnum):
    """Form of the numbers of a vector."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"
    BINARY = "binary"  # one bit per unit: 1 if it is active

    @property
    def similarity(self) -> str:
        """Meaning and range of the similarity of two vectors; that of equal vectors is 1."""
        return "share of equal bits, 0 to 1" if self is Form.BINARY else "cosine, -1 to 1"


NUMBERS = (Form.FLOAT16.value, Form.FLOAT32.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedConfig:
    """Options of `embed`.

    Attributes:
        model: Model to load, see `tagger.load_tagger`; it must give vectors.
        inputs: Files as in `inputs.find_pictures`, or one dataset.
        out: Parquet file to write.
        binary: True to store one bit per unit instead of a number.
        dtype: Type of the numbers, "float16" or "float32".
        batch_size: Pictures per forward pass.
        precision: Number format that the layers of a RUN compute in, see `tagger.load_tagger`.
    """

    model: Path
    inputs: tuple[str, ...]
    out: Path
    binary: bool = False
    dtype: str = "float16"
    batch_size: int = DEFAULT_BATCH_SIZE
    precision: str = "auto"

    def __post_init__(self) -> None:
        require_choice("--dtype", self.dtype, NUMBERS)
        require_between("--batch-size", self.batch_size, 1)
        if self.out.suffix != ".parquet":
            raise UsageError(f"--out {self.out} is not a Parquet file: give a name that ends in .parquet")

    @property
    def form(self) -> Form:
        """Form of the stored vectors."""
        return Form.BINARY if self.binary else Form(self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """Options of `search`.

    Attributes:
        vectors: File of `alti2v embed`.
        picture: Picture to search for; needs `model`, the one that made the vectors.
        model: Model to load, see `tagger.load_tagger`.
        tags: Tags to search for, separated by commas.
        count: Number of pictures to find.
        index: Folder of the index; None for the one beside `vectors`.
    """

    vectors: Path
    picture: Path | None = None
    model: Path | None = None
    tags: str = ""
    count: int = 10
    index: Path | None = None

    def __post_init__(self) -> None:
        if (self.picture is None) == (not self.tags.strip()):
            raise UsageError("give either --picture FILE or --tags TAGS to search for")
        if self.picture is not None and self.model is None:
            raise UsageError("--picture needs --model, the model that made the vectors")
        require_between("--count", self.count, 1)

    @property
    def index_dir(self) -> Path:
        """Folder of the index."""
        return self.vectors.with_name(self.vectors.name + INDEX_SUFFIX) if self.index is None else self.index
