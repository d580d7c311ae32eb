"""Self-contained HTML pages and Markdown from dataclasses."""
