"""Pixels of still WebP files, from the libwebp that Pillow has loaded.

Pillow decodes every WebP as an animation, whose canvas is copied three times; libwebp can write the pixels of a
still picture into memory of ours. It is the same decoder, and Pillow has checked the structure of the file.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageFile

from alti2v.pictures.formats import webp

_RAW_MODE = {"RGB": "RGBX", "RGBA": "RGBA"}  # by Pillow's mode: that of four bytes a pixel
# WebPDecodeRGBAInto of webp/decode.h: file, its size, pixels, their size, bytes of a line; null if it refuses.
_DecodeInto = Callable[[bytes, int, int, int, int], int | None]


def still_pixels(image: ImageFile.ImageFile, content: bytes) -> Image.Image | None:
    """Decode a WebP that Pillow has opened; None if that is left to Pillow."""
    decode_into, data = _decode_into(), webp.still_image(content)
    is_still = getattr(image, "n_frames", 1) == 1 and image.mode in _RAW_MODE
    if decode_into is None or data is None or not is_still:
        return None
    width, height = image.size
    pixels = np.empty((height, width, 4), np.uint8)
    if decode_into(bytes(data), len(data), pixels.ctypes.data, pixels.nbytes, 4 * width) is None:
        return None
    still = Image.frombytes(image.mode, image.size, pixels, "raw", _RAW_MODE[image.mode])
    still.info = image.info
    return still


@cache
def _decode_into() -> _DecodeInto | None:
    """Find the function in the libraries that Pillow's module is linked with; None if it is not there."""
    try:
        from PIL import _webp  # missing in a Pillow without WebP

        function = ctypes.CDLL(_webp.__file__).WebPDecodeRGBAInto
    except (AttributeError, ImportError, OSError):
        return None
    function.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    function.restype = ctypes.c_void_p
    return function
