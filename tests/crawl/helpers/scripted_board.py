"""A board that does exactly what a test scripts: real HTTP on 127.0.0.1, a thread and a loop of its own.

Written from the wire facts, apart from the stand-in board of the demo, so that each checks the other.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

from aiohttp import web
from PIL import Image

TAGS = {  # name -> (type, board count)
    "1girl": (0, 9000),
    "solo": (0, 8000),
    "smile": (0, 700),
    "jack-o'-lantern": (0, 60),
    "hatsune_miku": (4, 500),
    "vocaloid": (3, 600),
    "some_artist": (1, 50),
    "highres": (5, 4000),
}


@functools.cache
def picture(number: int, *, kind: str = "JPEG", width: int = 32, height: int = 24) -> bytes:
    """A small picture that no other number has."""
    image = Image.new("RGB", (width, height), ((number * 37) % 256, (number * 11) % 256, number % 256))
    image.putpixel((0, 0), ((number >> 8) % 256, (number >> 16) % 256, 7))
    out = io.BytesIO()
    image.save(out, kind, **({"quality": 95} if kind == "JPEG" else {}))
    # A comment behind the end makes the bytes unique whatever the encoder rounds away.
    return out.getvalue() + (f"#{number}".encode() if kind == "JPEG" else b"")


def tags_of(number: int) -> list[str]:
    """Every number has its tags."""
    names = list(TAGS)
    return sorted({"1girl", names[number % len(names)], names[number // 3 % len(names)]})


Answer = Callable[[web.Request], Any]


@dataclass
class ScriptedBoard:
    """Posts by id, and what to do instead of answering.

    `script(path_prefix, *answers)`: the next requests whose path starts so get these answers, one each;
    an answer is a function of the request that returns a response, or None for the usual answer.
    """

    dialect: str = "gelbooru"
    ids: list[int] = field(default_factory=list)
    page_cap: int = 1000
    deleted_ids: dict[int, dict[str, Any]] = field(default_factory=dict)
    ignores_cursor: bool = False
    order: Callable[[int], int] | None = None  # of listing, the highest first; None for that of ids
    retagged: dict[int, tuple[int, list[str]]] = field(default_factory=dict)  # when, and the tags since then
    tag_table: dict[str, tuple[int, int]] = field(default_factory=lambda: dict(TAGS))  # of the tag API
    relations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    sorts_by_change: bool = False
    ignores: tuple[str, ...] = ()  # beginnings of terms that change nothing
    wall: int | None = None
    wall_is_empty: bool = False
    old_shape: bool = False
    json_refused: bool = False
    samples: bool = True
    extension: dict[int, str] = field(default_factory=dict)
    md5_lies: set[int] = field(default_factory=set)
    same_bytes: dict[int, int] = field(default_factory=dict)
    orderby_works: bool = True
    count_offset: int = 0
    requests: list[tuple[float, str]] = field(default_factory=list)
    peers: set[Any] = field(default_factory=set)  # every connection that was ever made
    scripts: list[tuple[str, list[Answer | None]]] = field(default_factory=list)
    after: Callable[[ScriptedBoard, str], None] | None = None
    watch: Callable[[web.Request], web.StreamResponse | None] | None = None  # sees every request first
    robots: str | None = None

    created_at: str = "2026-08-01T10:00:00.000-04:00"

    url: str = ""

    # Life -----------------------------------------------------------------------------------------

    def __enter__(self) -> ScriptedBoard:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.run(self._serve_forever(ready))

    async def _serve_forever(self, ready: threading.Event) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await self._done.wait()
        await runner.cleanup()

    def script(self, prefix: str, *answers: Answer | None) -> None:
        """The next requests to this prefix get these answers."""
        self.scripts.append((prefix, list(answers)))

    def asked(self, part: str) -> list[str]:
        """The requests whose path and query contain `part`, in order."""
        return [path for _, path in self.requests if part in path]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path_qs
        self.requests.append((time.monotonic(), path))
        if self.watch is not None and (answered := self.watch(request)) is not None:
            return answered
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        for prefix, answers in self.scripts:
            if path.startswith(prefix) and answers:
                answer = answers.pop(0)
                if answer is not None:
                    given = answer(request)
                    response: web.StreamResponse = await given if asyncio.iscoroutine(given) else given
                    return response
                break
        response = self._answer(request)
        if self.after is not None:
            self.after(self, path)
        return response

    # Answers --------------------------------------------------------------------------------------

    def _answer(self, request: web.Request) -> web.Response:
        if request.path == "/robots.txt" and self.robots is not None:
            return web.Response(text=self.robots)
        if request.path.startswith(("/images/", "/samples/")):
            return self._file(request.path)
        if self.dialect == "gelbooru" and request.path == "/index.php":
            return self._tags(request) if request.query.get("s") == "tag" else self._gelbooru(request)
        if self.dialect == "danbooru" and request.path == "/posts.json":
            return self._danbooru(request)
        if self.dialect == "danbooru" and request.path == "/tags.json":
            return self._danbooru_tags(request)
        if self.dialect == "danbooru" and request.path in ("/tag_aliases.json", "/tag_implications.json"):
            return self._danbooru_relations(request)
        if self.dialect == "danbooru" and request.path == "/counts/posts.json":
            listed = len(self._matching(request.query.get("tags", ""))) + self.count_offset
            return web.json_response({"counts": {"posts": listed}})
        return web.Response(status=404, text="<html><body>not found</body></html>", content_type="text/html")

    def tags_of(self, number: int) -> list[str]:
        """The tags of a post now."""
        return self.retagged[number][1] if number in self.retagged else tags_of(number)

    def changed_at(self, number: int) -> int:
        """When a post was changed last, unix seconds."""
        return self.retagged[number][0] if number in self.retagged else 1_700_000_000 + number * 7919 % 100_000

    def score(self, number: int) -> int | None:
        """The votes of a post; the dialects say differently that there are none."""
        return number % 4 if self.dialect == "danbooru" else None if number % 3 else 5

    def content(self, number: int, *, sample: bool) -> bytes:
        """The bytes of a post's file."""
        number = self.same_bytes.get(number, number)
        kind = {"png": "PNG", "gif": "GIF", "webp": "WEBP"}.get(self.extension.get(number, "jpg"), "JPEG")
        return picture(number, width=16, height=12) if sample else picture(number, kind=kind)

    def _file(self, path: str) -> web.Response:
        number = int(path.rsplit("/", 1)[1].partition(".")[0].removeprefix("sample_").removeprefix("p"))
        sample = path.startswith("/samples/")
        if number not in self.ids:
            return web.Response(status=404, text="<html>gone</html>", content_type="text/html")
        return web.Response(body=self.content(number, sample=sample), content_type="image/jpeg")

    def _matching(self, terms: str) -> list[int]:
        entries = sorted({*self.ids, *self.deleted_ids}, key=self.order, reverse=True)
        for term in terms.split():
            if term.startswith(self.ignores or ("\0",)):
                continue
            if term.startswith("id:>="):
                entries = [number for number in entries if number >= int(term[5:])]
            elif term.startswith("score:>="):
                entries = [number for number in entries if (self.score(number) or 0) >= int(term[8:])]
            elif term.startswith("-"):
                entries = [number for number in entries if term[1:] not in self.tags_of(number)]
            elif term.startswith("id:<") and not self.ignores_cursor:
                entries = [number for number in entries if number < int(term[4:])]
            elif term in ("order:change", "sort:updated:desc"):
                if self.sorts_by_change:
                    entries.sort(key=self.changed_at, reverse=True)
            elif term[:3] == "id:" and (term[3:].isdecimal() or self._is_id_list(term)):
                entries = [number for number in entries if number in map(int, term[3:].split(","))]
            elif not term.startswith("id:"):
                entries = [
                    number for number in entries if number in self.deleted_ids or term in self.tags_of(number)
                ]
        return entries

    def _is_id_list(self, term: str) -> bool:
        """Danbooru obeys a list of ids, Gelbooru boards ignore it."""
        return self.dialect == "danbooru" and term[3:].replace(",", "").isdecimal()

    def _gelbooru(self, request: web.Request) -> web.Response:
        query = request.query
        limit = min(int(query.get("limit", 100)), self.page_cap)
        page = int(query.get("pid", 0))
        is_json = query.get("json") == "1"
        if is_json and self.json_refused:
            return web.Response(text="<error>json is off</error>", content_type="text/html")
        if self.wall is not None and page * limit > self.wall:
            if self.wall_is_empty:
                return web.Response(text="", content_type="text/html")
            return web.Response(
                text='<?xml version="1.0"?><response success="false" '
                'reason="Search error: API limited due to abuse."/>',
                content_type="text/xml",
            )
        found = self._matching(query.get("tags", ""))
        shown = found[page * limit : (page + 1) * limit]
        if is_json:
            posts = [self.deleted_ids.get(number) or self.json_post(number) for number in shown]
            return web.Response(text=json.dumps(posts) if posts else "", content_type="text/html")
        rows = "".join(self._xml_post(number) for number in shown)
        count = len(found) + self.count_offset
        return web.Response(
            text=f'<?xml version="1.0" encoding="UTF-8"?><posts count="{count}" offset="{page * limit}">'
            f"{rows}</posts>",
            content_type="text/xml",
        )

    def json_post(self, number: int) -> dict[str, Any]:
        """A post in the JSON of Gelbooru 0.2."""
        extension = self.extension.get(number, "jpg")
        file_url = f"{self.url}/images/{number % 7}/p{number}.{extension}"
        has_sample = self.samples and extension != "mp4"
        sample_url = f"{self.url}/samples/{number % 7}/sample_p{number}.jpg" if has_sample else file_url
        post = {
            "preview_url": f"{self.url}/thumbnails/{number % 7}/thumbnail_p{number}.jpg",
            "sample_url": sample_url,
            "file_url": file_url,
            "directory": number % 7,
            "hash": self._md5(number),
            "width": 32,
            "height": 24,
            "id": number,
            "image": f"p{number}.{extension}",
            "change": self.changed_at(number),
            "owner": "danbooru",
            "parent_id": 0,
            "rating": "safe" if number % 2 else "general",
            "sample": has_sample,
            "sample_height": 12,
            "sample_width": 16,
            "score": self.score(number),
            "tags": " ".join(
                escape(tag, quote=True).replace("&#x27;", "&#039;") for tag in self.tags_of(number)
            ),
            "source": None if number % 5 else "free text",
            "status": "active",
            "has_notes": False,
            "comment_count": 0,
        }
        if self.old_shape:
            for name in ("preview_url", "sample_url", "file_url", "source", "status", "has_notes"):
                del post[name]
        return post

    def _xml_post(self, number: int) -> str:
        if number in self.deleted_ids:
            return f'<post id="{number}" file_url="{self.url}/images//" tags=""/>'
        post = self.json_post(number)
        attributes = {
            "id": number,
            "file_url": post.get("file_url", f"{self.url}/images/{number % 7}/p{number}.jpg"),
            "sample_url": post.get("sample_url", ""),
            "md5": post["hash"],
            "tags": f" {post['tags']} ",
            "rating": post["rating"][0],
            "score": post["score"] if post["score"] is not None else "",
            "parent_id": "",
            "width": 32,
            "height": 24,
            "change": post["change"],
            "created_at": "Fri Sep 18 21:45:40 +0200 2026",
            "status": "active",
            "source": post.get("source") or "",
        }
        return "<post " + " ".join(f'{k}="{escape(str(v), quote=True)}"' for k, v in attributes.items()) + "/>"

    def _md5(self, number: int) -> str:
        content = b"a lie" if number in self.md5_lies else self.content(number, sample=False)
        return hashlib.md5(content).hexdigest()

    def _tags(self, request: web.Request) -> web.Response:
        query = request.query
        rows = sorted(self.tag_table, key=lambda name: -self.tag_table[name][1])
        if "name" in query:
            asked = query["name"]
            stored = {escape(name, quote=True).replace("&#x27;", "&#039;"): name for name in rows}
            rows = [stored[asked]] if asked in stored else []
        elif not self.orderby_works:
            rows = sorted(rows)
        limit, page = int(query.get("limit", 100)), int(query.get("pid", 0))
        rows = rows[page * limit : (page + 1) * limit]
        cells = "".join(
            f'<tag type="{self.tag_table[name][0]}" count="{self.tag_table[name][1]}" '
            f'name="{escape(escape(name, quote=True).replace("&#x27;", "&#039;"), quote=True)}" '
            f'ambiguous="false" id="{index}"/>'
            for index, name in enumerate(rows)
        )
        return web.Response(text=f'<tags type="array">{cells}</tags>', content_type="text/xml")

    def _danbooru(self, request: web.Request) -> web.Response:
        query = request.query
        free = ("id:", "score:", "rating:")
        if sum(not term.startswith(free) for term in query.get("tags", "").split()) > 2:
            return _danbooru_error(422, "You cannot search for more than 2 tags at a time.")
        found = self._matching(query.get("tags", ""))
        limit, page = min(int(query.get("limit", 20)), 200), query.get("page", "1") or "1"
        if page.startswith("b"):
            shown = [number for number in found if number < int(page[1:])][:limit]
        elif int(page) > 1000:
            return _danbooru_error(410, "You cannot go beyond page 1000.")
        else:
            shown = found[(int(page) - 1) * limit : int(page) * limit]
        return web.json_response([self.danbooru_post(number) for number in shown])

    def _danbooru_tags(self, request: web.Request) -> web.Response:
        query = request.query
        rows = sorted(self.tag_table, key=lambda name: -self.tag_table[name][1])
        if "search[name_comma]" in query:
            rows = [name for name in rows if name in query["search[name_comma]"].split(",")]
        if "search[name]" in query:
            rows = [name for name in rows if name == query["search[name]"]]
        limit, page = int(query["limit"]), int(query.get("page", 1)) - 1
        return web.json_response(
            [
                {"name": name, "category": self.tag_table[name][0], "post_count": self.tag_table[name][1]}
                for name in rows[page * limit : (page + 1) * limit]
            ]
        )

    def _danbooru_relations(self, request: web.Request) -> web.Response:
        page = request.query.get("page", "b1000000")
        rows = [row for row in self.relations[request.path] if row["id"] < int(page[1:])]
        rows = [row for row in rows if row["status"] == request.query.get("search[status]", row["status"])]
        return web.json_response(sorted(rows, key=lambda row: -row["id"])[: int(request.query["limit"])])

    def danbooru_post(self, number: int) -> dict[str, Any]:
        """A post in the JSON of Danbooru 2."""
        groups: dict[int, list[str]] = {0: [], 1: [], 3: [], 4: [], 5: []}
        for tag in self.tags_of(number):
            groups[TAGS[tag][0]].append(tag)
        extension = self.extension.get(number, "jpg")
        file_url = f"{self.url}/images/{number % 7}/p{number}.{extension}"
        has_sample = self.samples and extension != "mp4"
        sample_url = f"{self.url}/samples/{number % 7}/sample_p{number}.jpg" if has_sample else file_url
        post = {
            "id": number,
            "created_at": self.created_at,
            "updated_at": datetime.fromtimestamp(self.changed_at(number), UTC).isoformat(),
            "score": self.score(number),
            "source": "",
            "md5": self._md5(number),
            "rating": "gsqe"[number % 4],
            "image_width": 32,
            "image_height": 24,
            "tag_string": " ".join(self.tags_of(number)),
            "file_ext": extension,
            "parent_id": None,
            "is_deleted": number % 11 == 0,
            "tag_string_general": " ".join(groups[0]),
            "tag_string_artist": " ".join(groups[1]),
            "tag_string_copyright": " ".join(groups[3]),
            "tag_string_character": " ".join(groups[4]),
            "tag_string_meta": " ".join(groups[5]),
            "file_url": file_url,
            "large_file_url": sample_url,
        }
        if number in self.hidden:
            for name in ("md5", "file_url", "large_file_url"):
                del post[name]
            post["is_banned"] = True
        return post


def _danbooru_error(status: int, message: str) -> web.Response:
    return web.json_response(
        {"success": False, "error": "PostQuery::TagLimitError", "message": message, "backtrace": []},
        status=status,
    )
