"""The faults that this program survives: each has a test whose name carries its number (`test_f07_...`)."""

from __future__ import annotations

import re
from pathlib import Path

# What goes wrong, in a word or two; the tests say what has to come of it.
FAULTS = {
    "f01": "connection refused or reset",
    "f02": "body shorter than announced",
    "f03": "slow-loris, hanging answers",
    "f04": "429 with Retry-After of every form",
    "f05": "5xx in bursts and for ever",
    "f06": "404, 410",
    "f07": "403, 451, bans",
    "f08": "a web page, a message or nothing in place of a picture",
    "f09": "redirect loops, redirects elsewhere",
    "f10": "bombs, endless bodies, absurd lengths",
    "f11": "names that do not resolve",
    "f12": "certificates that nobody vouches for",
    "f13": "idle connections that the server closed",
    "f14": "addresses that are not public, other schemes and hosts",
    "f15": "posts that come and go while paging",
    "f16": "an API that is shut",
    "f20": "pictures without their end",
    "f21": "another md5 than the board says",
    "f22": "pixel bombs",
    "f23": "animations and rare colour modes",
    "f24": "extensions that lie",
    "f30": "kill -9 at marked points",
    "f31": "kill -9 at random moments",
    "f32": "Ctrl-C, SIGTERM",
    "f33": "power cuts",
    "f34": "full disks",
    "f35": "disks that refuse",
    "f36": "folders that cannot be used",
    "f37": "two runs on one store",
    "f38": "flipped bits, lost ledgers, edited tables",
    "f39": "leftovers of killed runs",
    "f40": "clocks that jump",
    "f41": "object stores that fail",
    "f42": "another plan for an old store",
    "f50": "killed workers",
    "f51": "a killed driver",
    "f52": "tasks that run twice",
    "f53": "stragglers",
    "f60": "posts that are gone upstream",
    "f61": "robots.txt in all its states",
    "f62": "X-Robots-Tag: noai",
    "f63": "hostile tags",
    "f64": "impossible ids",
}


def test_every_fault_has_a_test() -> None:
    """Every number stands in the name of one at least."""
    here = Path(__file__).parent
    text = "\n".join(path.read_text() for path in here.rglob("test_*.py"))
    names = re.findall(r"^(?:async )?def (test_\w+)", text, re.M)
    tested = {fault for name in names for fault in re.findall(r"(?<=_)f\d\d(?=_)", name)}

    assert set(FAULTS) - tested == set()
