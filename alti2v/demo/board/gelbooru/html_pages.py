"""HTML pages of safebooru.org's software: lists, single posts, the front page.

The ids, classes and links that clients look for are those of safebooru-wire.md, section 1.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from alti2v.demo.board.gelbooru.pages import Row, entities, image_urls
from alti2v.demo.board.html_frame import html_page
from alti2v.records import Category, Tag

POSTS_PER_PAGE = 42
TAGS_PER_PAGE = 50
NOTHING_FOUND = "Nobody here but us chickens!"
# Names of the categories in the classes of the sidebar.
_SIDEBAR = (
    (Category.COPYRIGHT, "copyright"),
    (Category.CHARACTER, "character"),
    (Category.ARTIST, "artist"),
    (Category.GENERAL, "general"),
    (Category.META, "metadata"),
)


def front_page(*, count: int, root: str, newest: Iterable[Row]) -> str:
    """The front page: the number of posts, a search form, and the newest pictures."""
    body = (
        f"{_header('')}<p>A stand-in board with {count:,} drawn posts, for trying crawlers. "
        f'<a href="/index.php?page=post&amp;s=list&amp;tags=all">All posts</a>, '
        '<a href="/index.php?page=dapi&amp;s=post&amp;q=index&amp;limit=5">XML</a>, '
        '<a href="/index.php?page=dapi&amp;s=post&amp;q=index&amp;json=1&amp;limit=5">JSON</a>, '
        '<a href="/index.php?page=dapi&amp;s=tag&amp;q=index&amp;orderby=count">tags</a>.</p>'
        f"<div>{''.join(_thumb(root, row) for row in newest)}</div>"
    )
    return html_page("Stand-in board", body)


def list_page(rows: Iterable[Row], *, root: str, tags: str, offset: int, count: int) -> str:
    """A page of 42 thumbnails with links to the others; `offset` counts posts, not pages as in the API."""
    thumbs = "".join(_thumb(root, row) for row in rows)
    content = f"<div>{thumbs}</div>{_paginator(tags, offset, count)}" if thumbs else f"<h1>{NOTHING_FOUND}</h1>"
    return html_page(f"{tags} - Stand-in board", f"{_header(tags)}{content}")


def view_page(row: Row, *, root: str, counted: Sequence[Tag]) -> str:
    """A page for one post: tags by category with their counts, the picture, a link to the original."""
    post = row.post
    _, sample, original = image_urls(root, post)
    by_name = {tag.name: tag for tag in counted}
    sidebar = "".join(
        _sidebar_tag(class_name, by_name[name])
        for category, class_name in _SIDEBAR
        for name in post.shown.tags.of(category)
    )
    score = "" if post.shown.score is None else post.shown.score
    facts = (
        f"<li>Id: {post.id}</li><li>Size: {post.shown.width}x{post.shown.height}</li>"
        f"<li>Source: {html.escape(post.shown.source)}</li>"
        f"<li>Rating: {row.text.rating.capitalize()}</li><li>Score: {score}</li>"
    )
    body = (
        f'{_header("")}<div id="content"><ul id="tag-sidebar">{sidebar}</ul><div class="image">'
        f'<img alt="{row.text.tags}" src="{html.escape(sample)}" id="image"/>'
        f'<ul>{facts}<li><a href="{html.escape(original)}">Original image</a></li></ul></div></div>'
    )
    return html_page(f"Post {post.id} - Stand-in board", body)


def tag_list_page(tags: Iterable[Tag]) -> str:
    """The page of all tags: a table of counts, linked names and types."""
    types = dict(_SIDEBAR)
    rows = "".join(
        f'<tr><td>{tag.count}</td><td><span class="tag-type-{types[tag.category]}"><a href="/index.php?'
        f'page=post&amp;s=list&amp;tags={quote(tag.name, safe="")}">{entities(tag.name)}</a></span></td>'
        f"<td>{types[tag.category]} (edit)</td></tr>\n"
        for tag in tags
    )
    head = "<tr><th>Posts</th><th>Name</th><th>Type</th></tr>"
    return html_page("Tags - Stand-in board", f'{_header("")}<table class="highlightable">{head}{rows}</table>')


def _header(tags: str) -> str:
    return (
        '<header><a href="/index.php">Stand-in board</a>'
        '<a href="/index.php?page=post&amp;s=list&amp;tags=all">Posts</a>'
        '<form action="/index.php" method="get"><input type="hidden" name="page" value="post"/>'
        '<input type="hidden" name="s" value="list"/>'
        f'<input type="text" name="tags" placeholder="tags" value="{entities(tags)}"/> '
        '<input type="submit" value="Search"/></form></header>'
    )


def _thumb(root: str, row: Row) -> str:
    post = row.post
    score = "" if post.shown.score is None else post.shown.score
    title = f" {row.text.tags}  score:{score} rating:{row.text.rating}"
    return (
        f'<span id="s{post.id}" class="thumb"><a id="p{post.id}" '
        f'href="/index.php?page=post&amp;s=view&amp;id={post.id}">'
        f'<img src="{html.escape(image_urls(root, post)[0])}" alt="" title="{title}" class="preview"/>'
        "</a></span>\n"
    )


def _sidebar_tag(class_name: str, tag: Tag) -> str:
    return (
        f'<li class="tag-type-{class_name} tag"><a href="/index.php?page=post&amp;s=list&amp;'
        f'tags={quote(tag.name, safe="")}">{entities(tag.name.replace("_", " "))}</a>'
        f" <span>{tag.count}</span></li>\n"
    )


def _paginator(tags: str, offset: int, count: int) -> str:
    """Links to the pages around this one, in the two elements in which clients look for them."""
    this, last = offset // POSTS_PER_PAGE, max(0, (count - 1) // POSTS_PER_PAGE)

    def link(page: int, text: str, alt: str = "") -> str:
        address = f"?page=post&s=list&tags={quote(tags, safe='')}&pid={page * POSTS_PER_PAGE}"
        mark = f' alt="{alt}"' if alt else ""
        return f'<a href="{html.escape(address)}"{mark}>{text}</a>'

    links = [
        f"<b>{page + 1}</b>" if page == this else link(page, str(page + 1))
        for page in range(max(0, this - 5), min(last, this + 5) + 1)
    ]
    if this > 0:
        links = [link(0, "&lt;&lt;", "first page"), link(this - 1, "&lt;", "back"), *links]
    if this < last:
        links = [*links, link(this + 1, "&gt;", "next"), link(last, "&gt;&gt;", "last page")]
    return f'<div id="paginator"><div class="pagination">{" ".join(links)}</div></div>'
