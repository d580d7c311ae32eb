"""Checks of pictures without checksums, which are decoded if nothing else shows whether they are whole."""

from __future__ import annotations

from alti2v.pictures.formats import png
from alti2v.pictures.formats.flaws import CUT, CUT_OR_DAMAGED
from alti2v.pictures.whole import flaw, needs_decoding


def find_flaw(image_format: str, content: bytes | memoryview) -> str:
    """Describe what is missing or damaged; "" if the picture is intact, or too large to be decoded.

    Raises:
        Alti2vError: A decoder is needed, and does not start.
    """
    found = flaw(image_format, content)
    if not found and image_format == "PNG" and not png.has_all_lines(content):
        return CUT
    if found or not needs_decoding(image_format, content):
        return found
    # numpy and Pillow take 0.2 s to load, and most crawls and imports need neither.
    from alti2v.pictures.decoder_process import process_decoders
    from alti2v.pictures.jobs import CheckJob

    with process_decoders().borrowed() as decoder:
        unusable = decoder.run(CheckJob(), content)
    if unusable is None or unusable.reason == "too_large":
        return ""
    return CUT_OR_DAMAGED if unusable.reason == "damaged" else f"decoding it fails ({unusable.reason})"


def reads_avif() -> bool:
    """Return whether this installation of Pillow has a decoder for AVIF, as its wheels do."""
    from PIL import features

    return bool(features.check("avif"))
