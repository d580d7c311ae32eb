"""Numbers as short text for people."""

from __future__ import annotations


def short_number(value: float, *, digits: int) -> str:
    """Write a number with some significant digits, never fewer than before the point: 0.02, 9.5, 1,480.

    Args:
        value: Number; from 0.0001 on it is written without an exponent.
        digits: Number of significant digits.
    """
    is_large = abs(value) >= 10 ** (digits - 1)
    return f"{value:,.0f}" if is_large else f"{value:.{digits}g}"


def counted(number: int, word: str, words: str = "") -> str:
    """Write a number of things with the fitting form of their name: 1 picture, 2 pictures, 3,000 pictures.

    Args:
        number: Number of things.
        word: Name of one of them.
        words: Name of several; "" to add an s.
    """
    return f"{number:,} {word if number == 1 else words or f'{word}s'}"


def duration(seconds: float) -> str:
    """Format seconds as `42 s`, `3 min 20 s`, `5 h 07 min` or `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(number_of_bytes: float) -> str:
    """Format bytes as `512 B`, `3.4 kB`, `18.9 MB` ..., in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if number_of_bytes < 1000:
            return f"{number_of_bytes:.0f} {unit}" if unit == "B" else f"{number_of_bytes:.1f} {unit}"
        number_of_bytes /= 1000
    return f"{number_of_bytes:.1f} TB"
