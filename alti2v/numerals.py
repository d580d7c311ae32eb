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
