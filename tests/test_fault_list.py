"""The faults that this program survives. Each has tests whose names carry its number, as in `test_f07_...`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

NUMBER = re.compile(r"(?<=_)f\d\d(?=_)")
# Number -> what goes wrong, in a few words; the tests say what must happen then.
FAULTS = {
    "f01": "connection refused or reset",
    "f02": "body shorter than announced",
    "f03": "slow-loris, hanging answers",
    "f04": "429 with Retry-After of every form",
    "f05": "5xx in bursts and without end",
    "f06": "404, 410",
    "f07": "403, 451, bans",
    "f08": "a web page, a message or no bytes instead of a picture",
    "f09": "redirect loops, redirects elsewhere",
    "f10": "bombs, endless bodies, absurd lengths",
    "f11": "names that do not resolve",
    "f12": "certificates that no authority signed",
    "f13": "idle connections that the server closed",
    "f14": "private addresses, other schemes and hosts",
    "f15": "posts that appear and disappear while paging",
    "f16": "an API that is closed",
    "f20": "truncated pictures",
    "f21": "an md5 other than the board's",
    "f22": "pixel bombs",
    "f23": "animations and rare colour modes",
    "f24": "wrong file extensions",
    "f30": "kill -9 at marked points",
    "f31": "kill -9 at random moments",
    "f32": "Ctrl-C, SIGTERM",
    "f33": "power cuts",
    "f34": "full disks",
    "f35": "disks that refuse writes",
    "f36": "folders that cannot be used",
    "f37": "two runs on one store",
    "f38": "flipped bits, lost ledgers, edited tables",
    "f39": "files left over from killed runs",
    "f40": "clocks that jump",
    "f41": "object stores that fail",
    "f42": "other options for an existing store",
    "f50": "killed workers",
    "f51": "a killed driver",
    "f52": "tasks that run twice",
    "f53": "stragglers",
    "f60": "posts that were deleted on the board",
    "f61": "every kind of answer for robots.txt",
    "f62": "X-Robots-Tag: noai",
    "f63": "hostile tags",
    "f64": "impossible ids",
}


def fault_tests() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Find the test functions whose names carry the number of a fault."""
    for path in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and NUMBER.search(node.name):
                yield path, node


def checks_something(test: ast.AST) -> bool:
    """Return whether a test asserts something, or expects an exception."""
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises")
        for node in ast.walk(test)
    )


def test_every_fault_has_a_test() -> None:
    """Each fault's number is in the name of a test, and no test has a number that the list lacks."""
    tested = {number for _, test in fault_tests() for number in NUMBER.findall(test.name)}

    assert tested == set(FAULTS)


def test_tests_of_faults_check_something() -> None:
    """A test of a fault has an assertion of its own, so an empty test does not pass for one."""
    idle = [f"{path.name}: {test.name}" for path, test in fault_tests() if not checks_something(test)]

    assert idle == []
