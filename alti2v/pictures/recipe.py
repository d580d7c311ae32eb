"""How the square pictures of a dataset are made, and what is kept to compare them."""

from __future__ import annotations

from dataclasses import dataclass

from alti2v.storage.layout import IMAGE_SUFFIX_OF_FORMAT

ORIGINAL = "original"  # format of a recipe that keeps the bytes of the store
LUMINANCE_SIDE_PX = 64  # of the grey picture that hash and thumbnail are made from
LUMINANCE_BYTES = LUMINANCE_SIDE_PX**2


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecipe:
    """How to make the pictures of a dataset; equal recipes give equal bytes.

    Attributes:
        size: Side of the square, px.
        fit: "letterbox": the whole picture, centred on white; "squash": the whole picture, stretched to the
            square; "crop": the centre of the picture.
        format: "JPEG", "WEBP", or "original": the bytes of the store; then the other fields have no effect.
        quality: JPEG or WebP quality, 1 to 100.
        chroma: Chroma subsampling of a JPEG, "4:2:0" or "4:4:4".
    """

    size: int = 224
    fit: str = "letterbox"
    format: str = "JPEG"
    quality: int = 95
    chroma: str = "4:2:0"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Member suffixes that pictures may have in the shards."""
        known = IMAGE_SUFFIX_OF_FORMAT
        return tuple(known.values()) if self.format == ORIGINAL else (known[self.format],)
