"""Limits of the size of a picture and of the time of its decoding."""

from __future__ import annotations

from dataclasses import dataclass

# Stored: Pillow's own limit against decompression bombs, twice MAX_IMAGE_PIXELS.
MAX_STORED_PIXELS = 2 * 89_478_485
MAX_FILE_BYTES = 500_000_000  # 50 megapixels of 8 bytes take 400 MB without compression
MAX_PIXELS = 50_000_000  # according to the header, before decoding; 200 MB at 4 bytes each
MIN_SIDE_PX = 16
MAX_ASPECT = 20.0  # a longer strip would be narrower than 12 px in a square of 224


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLimits:
    """Limits of a decoder process.

    Attributes:
        cpu_s: Processor time per picture, s. A picture of 50 megapixels, the largest that is decoded, takes up
            to 4 s. Processor time, so that a busy machine drops the same pictures.
        wall_s: Time per picture, s, for a decoder that waits instead of working.
        memory_bytes: Memory beyond what the process needs at its start. 50 megapixels take up to 0.6 GB (PNG
            with transparency); an animated WebP keeps two more copies.
    """

    cpu_s: float = 20.0
    wall_s: float = 120.0
    memory_bytes: int = 3 << 29
