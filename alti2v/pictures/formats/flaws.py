"""Words for the flaws of a picture, shared by all formats."""

from __future__ import annotations

CUT = "the end of the picture is missing"
CUT_OR_DAMAGED = "the picture is damaged, or its end is missing"
DAMAGED_HEADER = "its header is damaged"
DAMAGED_DATA = "its data is damaged"
