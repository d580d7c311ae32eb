"""What Pillow alone makes of a file, with which faster decoders are compared."""

from __future__ import annotations

import io

from PIL import Image, ImageFile


def opened(content: bytes, kind: str) -> ImageFile.ImageFile:
    """The picture before its pixels are read; `kind` is Pillow's name of the format."""
    image = Image.open(io.BytesIO(content), formats=(kind,))
    assert isinstance(image, ImageFile.ImageFile)
    return image


def by_pillow(content: bytes, kind: str) -> Image.Image | None:
    """The picture with its pixels; None if Pillow refuses it."""
    try:
        image = opened(content, kind)
        image.load()
    except Exception:  # noqa: BLE001 - decoders raise nearly anything
        return None
    return image
