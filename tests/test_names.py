"""Names that must stay clear: a public class or type alias is called like no other in the package."""

from __future__ import annotations

import ast
import collections
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "alti2v"


def test_a_public_class_name_occurs_once() -> None:
    """Whoever reads a class name needs not ask which of several is meant."""
    places = collections.defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case ast.ClassDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                    is_type = name[0].isupper() and not name.isupper()
                    if is_type:
                        places[name].append(str(path.relative_to(PACKAGE)))

    assert {name: found for name, found in places.items() if len(found) > 1} == {}
