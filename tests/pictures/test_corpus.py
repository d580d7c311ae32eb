"""Damaged pictures: none that Pillow refuses becomes a sample, and none that looks unchanged is lost."""

from __future__ import annotations

import sys

import pytest

from tests.pictures.helpers.corpus import KINDS, count


@pytest.mark.parametrize("kind", KINDS)
def test_one_bit_flips_and_cuts(kind: str) -> None:
    """A few of each kind; `python -m tests.pictures.test_corpus` prints the counts of many."""
    assert sum(count(kind, pictures=4, damages=40).values()) == 320


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_bit_flips_and_cuts_of_many_pictures(kind: str) -> None:
    """Two hundred of each kind, with five damages of each sort."""
    assert sum(count(kind, pictures=200, damages=5).values()) == 2_000


def main() -> None:
    """Print a line for each kind."""
    names = [f"{damage} {what}" for damage in ("flips", "cuts") for what in OUTCOMES]
    sys.stdout.write(f"| kind | {' | '.join(names)} |\n")
    for kind in KINDS:
        counts = count(kind, pictures=200, damages=5)
        sys.stdout.write(f"| {kind} | {' | '.join(f'{counts[name]:,}' for name in names)} |\n")
        sys.stdout.flush()


OUTCOMES = ("refused", "kept, same pixels", "kept, other pixels")

if __name__ == "__main__":
    main()
