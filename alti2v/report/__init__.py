"""From dataclasses to one self-contained HTML page."""
