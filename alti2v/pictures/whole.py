"""Check that a file is complete and undamaged, from its structure and checksums, without decoding."""

from __future__ import annotations

from alti2v.pictures.formats import avif, gif, jpeg, png, webp

_FLAW = {"JPEG": jpeg.flaw, "PNG": png.flaw, "GIF": gif.flaw, "WEBP": webp.flaw, "AVIF": avif.flaw}


def flaw(image_format: str, content: bytes | memoryview) -> str:
    """Describe what is missing or damaged; "" if structure and checksums show no fault."""
    return _FLAW[image_format](content)


def needs_decoding(image_format: str, content: bytes | memoryview) -> bool:
    """Return whether only decoding shows if a picture without a `flaw` is whole and undamaged.

    GIF, WebP and AVIF have no checksums, and the last scan of a JPEG without an end marker may be cut.
    """
    return image_format in ("GIF", "WEBP", "AVIF") or (image_format == "JPEG" and not jpeg.has_end(content))
