"""Recipe of a dataset's pictures, and of the facts that are kept to compare them."""

from __future__ import annotations

from dataclasses import dataclass

from alti2v.storage.layout import IMAGE_SUFFIX_OF_FORMAT

ORIGINAL = "original"  # format of a recipe that keeps the bytes of the store
OWN_SHAPE_FITS = ("within", "area")
_MAX_SIDE_PX = 65_535  # of a JPEG
LUMINANCE_SIDE_PX = 64  # of the grey picture that hash and thumbnail are made from
LUMINANCE_BYTES = LUMINANCE_SIDE_PX**2


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecipe:
    """Recipe of the pictures of a dataset; equal recipes give equal bytes.

    Attributes:
        size: Side of the square, px, 1 to 65,535.
        fit: "letterbox": the whole picture, centred on white; "squash": the whole picture, stretched to the
            square; "crop": the centre of the picture. Two fits keep the picture's shape, and never enlarge it:
            "within": the longer side has at most `size` px; "area": the picture has at most as many pixels as
            the square.
        format: "JPEG", "WEBP", or "original": the bytes of the store; then the other fields have no effect.
        quality: JPEG or WebP quality, 1 to 100.
        chroma: Chroma subsampling of a JPEG, "4:2:0" or "4:4:4".

    Raises:
        ValueError: A field has another value.
    """

    size: int = 224
    fit: str = "letterbox"
    format: str = "JPEG"
    quality: int = 95
    chroma: str = "4:2:0"

    def __post_init__(self) -> None:
        is_known = (
            self.fit in ("letterbox", "squash", "crop", *OWN_SHAPE_FITS)
            and self.format in ("JPEG", "WEBP", ORIGINAL)
            and self.chroma in ("4:2:0", "4:4:4")
        )
        if not (is_known and 1 <= self.size <= _MAX_SIDE_PX and 1 <= self.quality <= 100):
            raise ValueError(f"pictures cannot be made by {self}")

    @property
    def keeps_shape(self) -> bool:
        """True if pictures are made that have their own shapes in place of squares."""
        return self.format != ORIGINAL and self.fit in OWN_SHAPE_FITS

    @property
    def halves_colour(self) -> bool:
        """True if the files hold colour differences at half the resolution of the brightness."""
        return self.size % 2 == 0 and (
            self.format == "WEBP" or (self.format == "JPEG" and self.chroma == "4:2:0")
        )

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Member suffixes that pictures may have in the shards."""
        known = IMAGE_SUFFIX_OF_FORMAT
        return tuple(known.values()) if self.format == ORIGINAL else (known[self.format],)


def size_in_words(image: ImageRecipe) -> str:
    """Describe the sizes of the pictures that a recipe makes."""
    match image.fit:
        case "within":
            return f"their own shape, at most {image.size} px on the longer side"
        case "area":
            return f"their own shape, at most {image.size**2:,} pixels"
    return f"{image.size} × {image.size} px, {image.fit}"
