"""Show pages in headless Chromium."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)

# Runs in the page after its own script, and leaves what it saw where --dump-dom shows it.
PROBE = """{
const seen = {title: document.title, images: document.images.length};
seen.handlers = [...document.querySelectorAll("*")].flatMap((e) => [...e.attributes])
  .filter((a) => a.name.startsWith("on")).length;
const names = () => [...document.querySelectorAll("table.tags tbody tr")].filter((row) => !row.hidden)
  .map((row) => row.cells[0].textContent);
const values = (column) => [...document.querySelectorAll("table.tags tbody tr")]
  .map((row) => row.cells[column].dataset.value);
const heads = document.querySelectorAll("table.tags thead button");
seen.names = names();
heads[5].click();
seen.falling = values(5);
heads[5].click();
seen.rising = values(5);
seen.sorted = heads[5].parentElement.getAttribute("aria-sort");
heads[0].click();
seen.alphabet = values(0);
const words = document.getElementById("find-tag");
words.value = "plain 1";
words.dispatchEvent(new Event("input"));
seen.found = names();
seen.count = document.getElementById("tags-shown").textContent;
const picks = () => [...document.querySelectorAll("[data-pick]")].filter((card) => !card.hidden)
  .map((card) => card.dataset.pick);
seen.first = picks();
seen.chosen = {};
for (const button of document.querySelectorAll("[data-choose]")) {
  button.click();
  seen.chosen[button.dataset.choose] = picks();
}
seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const result = document.createElement("pre");
result.id = "seen";
result.textContent = JSON.stringify(seen);
document.body.append(result); }
"""


def seen_in_browser(page: str, folder: Path, probe: str = PROBE, *, width_px: int = 500) -> dict[str, Any]:
    """Load a page with a probe behind its own script, under its own policy; return what the probe saw."""
    found = re.search(r"<script>(.*?)</script>\n</body>", page, re.DOTALL)
    assert found is not None
    script = found[1]
    probed = script + probe
    old, new = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, probed))
    file = folder / "report.html"
    file.write_text(page.replace(script, probed).replace(old, new), encoding="utf-8")
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width_px},900",
        "--dump-dom",
    ]
    done = subprocess.run(
        [*command, file.as_uri()], capture_output=True, text=True, timeout=60, check=True, encoding="utf-8"
    )
    shown = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert shown is not None, done.stdout
    seen: dict[str, Any] = json.loads(unescape(shown[1]))
    return seen
