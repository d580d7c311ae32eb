"""Frame of the stand-in board's HTML pages, and the error pages of web servers and bot filters."""

from __future__ import annotations

import html

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 1em;
  color: #222; background: #fff }
a { color: #0b62b8; text-decoration: none } a:hover { text-decoration: underline }
header { border-bottom: 1px solid #ddd; margin-bottom: 1em; padding-bottom: .5em }
header a { font-weight: 600; margin-right: 1.5em } form { display: inline } input[name=tags] { width: 18em }
.thumb { display: inline-block; width: 160px; height: 165px; text-align: center; vertical-align: middle }
.thumb img { max-width: 150px; max-height: 150px }
#content { display: flex; flex-wrap: wrap; gap: 1em } #tag-sidebar { list-style: none; padding: 0; width: 14em }
#tag-sidebar span { color: #888 } #image { max-width: 100%; height: auto } .image { flex: 1 1 20em }
#paginator, .paginator { clear: both; padding: 1em 0 } .pagination > *, .paginator > * { padding: .2em .5em }
.tag-type-artist a { color: #a00 } .tag-type-character a { color: #080 }
.tag-type-copyright a { color: #a0a } .tag-type-metadata a { color: #c60 }
"""


def html_page(title: str, body: str) -> str:
    """A complete page; `title` is plain text, `body` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body>{body}</body></html>\n"
    )


def error_page(status: int, reason: str) -> str:
    """The default error page of nginx."""
    heading = f"{status} {html.escape(reason)}"
    return (
        f"<html>\r\n<head><title>{heading}</title></head>\r\n<body>\r\n"
        f"<center><h1>{heading}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )


def challenge_page() -> str:
    """The page that a bot filter sends in place of the answer (status 403, or 200 for a file)."""
    return html_page(
        "Just a moment...", "<h1>Checking your browser</h1><p>Enable JavaScript and cookies to continue.</p>"
    )
