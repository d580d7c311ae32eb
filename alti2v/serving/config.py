"""Options of `serve`; light, because `--help` shows their defaults."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from alti2v.errors import UsageError
from alti2v.model.options.tagging import RelationOptions
from alti2v.option_bounds import require_between
from alti2v.pictures.limits import MAX_PIXELS


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """Size limits of an uploaded picture.

    Attributes:
        megabytes: Largest file, in 10^6 bytes.
        megapixels: Largest decoded picture, in 10^6 pixels.
    """

    megabytes: float = 20.0
    megapixels: float = MAX_PIXELS / 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Options of `serve`.

    Attributes:
        model: Model to load, see `tagger.load_tagger`.
        index: Index of `alti2v search` over vectors of the same model; None to show no similar pictures.
        host: Address to listen on.
        port: Port to listen on, 1 to 65535.
        count: Number of similar pictures to show.
        limits: Size limits of uploads.
        relations: Aliases, implications and copyrights to apply.
        allowed_hosts: Names that lead to the server, besides its own, such as that of a reverse proxy; "*" for
            any name.
    """

    model: Path
    index: Path | None = None
    host: str = "127.0.0.1"
    port: int = 7860
    count: int = 8
    limits: UploadLimits = field(default_factory=UploadLimits)
    relations: RelationOptions = field(default_factory=RelationOptions)
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_between("--port", self.port, 1, 65_535)
        require_between("--count", self.count, 1)
        if not (self.limits.megabytes > 0 and self.limits.megapixels > 0):
            raise UsageError("--max-megabytes and --max-megapixels have to be more than 0")

    @property
    def is_local(self) -> bool:
        """True if only this machine can connect."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
