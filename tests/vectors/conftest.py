"""A WD folder that gives vectors, and pictures of plain colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model.helpers.tiny_wd import write_picture, write_wd_folder

COLOURS = ("red", "green", "blue", "white")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")
    return write_wd_folder(tmp_path_factory.mktemp("wd"), with_features=True)


@pytest.fixture
def art(tmp_path: Path) -> Path:
    """Four pictures of each of four colours, of different sizes."""
    for number in range(4):
        for colour in COLOURS:
            write_picture(tmp_path / "art" / f"{colour}{number}.png", colour, size=(60 + number, 60))
    return tmp_path / "art"
