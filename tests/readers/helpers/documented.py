"""The code blocks of docs/READING.md, run as a reader would run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

TEXT = (Path(__file__).parents[3] / "docs" / "READING.md").read_text(encoding="utf-8")
ELSEWHERE = "https://example.org/dataset"


def blocks(language: str, section: str) -> list[str]:
    """Return the blocks of one language in one section, in order."""
    body = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert body is not None, f"docs/READING.md has no section {section}"
    return re.findall(rf"^```{language}\n(.*?)^```$", body[1], re.DOTALL | re.MULTILINE)


def run(code: str) -> dict[str, Any]:
    """Run a block in its folder, and return the names that it defines."""
    names: dict[str, Any] = {"__name__": "documented"}
    exec(compile(code, "docs/READING.md", "exec"), names)
    return names
