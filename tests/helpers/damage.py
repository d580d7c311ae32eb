"""Damage to files."""

from __future__ import annotations

from pathlib import Path


def flip(path: Path, *places: int, mask: int = 1) -> None:
    """Change one bit, or those of a mask, of the bytes at some places of a file."""
    content = bytearray(path.read_bytes())
    for place in places:
        content[place] ^= mask
    path.write_bytes(content)
