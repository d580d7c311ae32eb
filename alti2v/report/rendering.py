"""Rendering of templates to self-contained pages. Pure: returns strings.

All values go through Jinja's autoescape, because tags come from the internet. A page's own script is allowed by
its hash, so that nothing else runs even if the escaping failed (Content Security Policy
Level 3, section 2.3.1); a page fetches nothing.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alti2v.numerals import counted


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever the template shows
    """Render a page from a file in `templates/`, which extends `base.html`; a missing value is an error."""
    environment = Environment(
        loader=PackageLoader("alti2v.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "error": small_figure,
        "percent": percent,
        "data_uri": data_uri,
        "count": lambda number: f"{number:,}",
        "counted": counted,
        "named": picture_name,
    }
    script = _source(environment, "page.js")
    return environment.get_template(template).render(
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=_source(environment, "page.css"),
        **values,
    )


def figure(value: float | None) -> str:
    """Format a metric with three decimals; a dash for None and NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:z.3f}"


def small_figure(value: float) -> str:
    """Format a small number with three significant digits, without exponent."""
    if not value:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def percent(value: float) -> str:
    """Format a share as a CSS length, clipped to [0 %, 100 %]."""
    return f"{min(max(value, 0.0), 1.0) * 100:.1f}%"


def picture_name(post_id: int, file_names: Mapping[int, str]) -> str:
    """Return the file name of an imported picture, or "post 123" for a picture of a board."""
    return file_names.get(post_id) or f"post {post_id}"


def data_uri(jpeg: bytes) -> str:
    """Encode a picture as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _source(environment: Environment, name: str) -> Markup:
    """Read one of the page's own files, unescaped."""
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, name)
    return Markup(source)  # noqa: S704 - ours, not the internet's
