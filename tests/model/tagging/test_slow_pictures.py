"""A picture that takes its decoder long costs itself, and holds up nobody: not other pictures, not Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alti2v.model.tagging import preprocess
from alti2v.model.tagging.preprocess import Problem, pixels, prepared_ahead
from alti2v.pictures.decoder_process import DecoderPool
from alti2v.pictures.limits import DecoderLimits
from alti2v.pictures.recipe import ImageRecipe
from tests.dataset.helpers.tiny_store import drawing, encoded
from tests.pictures.helpers.files import with_many_scans

ROOT = Path(__file__).parents[3]
PREPARATION = ImageRecipe(size=32)
SOUND = encoded(drawing(1))


@pytest.fixture(scope="module")
def slow() -> bytes:
    """A JPEG of 16 megapixels in less than half a megabyte that takes minutes to decode."""
    flat = encoded(Image.new("RGB", (4000, 4000), "teal"), progressive=True, optimize=True)
    return with_many_scans(flat, 3000)


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> Iterator[DecoderPool]:
    """Decoders that give up after some seconds."""
    decoders = DecoderPool(limits=DecoderLimits(cpu_s=3.0))
    monkeypatch.setattr(preprocess, "process_decoders", lambda: decoders)
    yield decoders
    decoders.close()


@pytest.mark.usefixtures("decoders")
def test_no_picture_takes_longer_than_its_limit(slow: bytes) -> None:
    """It is a problem like any other, and the pictures around it are tagged."""
    assert len(slow) < 500_000
    pictures = [("a", SOUND), ("slow", slow), ("b", SOUND)]
    prepared = dict(prepared_ahead(pictures, PREPARATION, ahead=3, threads=2))

    assert prepared["slow"] == Problem("too_slow", "decoding it takes too long")
    assert isinstance(prepared["a"], np.ndarray)
    assert np.array_equal(prepared["a"], np.asarray(prepared["b"]))


@pytest.mark.usefixtures("decoders")
def test_others_are_answered_while_a_slow_picture_is_decoded(slow: bytes) -> None:
    """In the same process, from another thread, as the pages of `serve` are."""
    waiting = threading.Thread(target=pixels, args=(slow, PREPARATION))
    waiting.start()
    pixels(SOUND, PREPARATION)  # starts a decoder
    begun_s = time.monotonic()
    assert isinstance(pixels(SOUND, PREPARATION), np.ndarray)

    assert time.monotonic() - begun_s < 2
    assert waiting.is_alive()
    waiting.join()


def test_ctrl_c_does_not_wait_for_a_slow_picture(slow: bytes, tmp_path: Path) -> None:
    """The program ends within two seconds, and leaves no decoder behind."""
    (tmp_path / "slow.jpg").write_bytes(slow)
    program = """
from pathlib import Path
from alti2v.model.tagging.preprocess import prepared_ahead
from alti2v.pictures.recipe import ImageRecipe
pictures = [(number, Path("slow.jpg")) for number in range(3)]
print("begun", flush=True)
for _ in prepared_ahead(pictures, ImageRecipe(size=32), ahead=2, threads=2):
    pass
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    time.sleep(1.5)  # until the decoders have begun
    begun_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert time.monotonic() - begun_s < 2
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith(b"KeyboardInterrupt")
