"""Memories in a browser of this machine: the viewer's page, its questions answered by :class:`Memory`, and the videos.

Only GET is answered, only for the given memories by name, and only to a browser that has the cookie. The page gets the
cookie for a token that works once, which the address carries after ``#``, so that it is never part of a request line.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import msgspec

from memvid_core.errors import InvalidInputError, MemvidError, RecordNotFoundError
from memvid_core.memory import Memory, memory_video, session_of
from memvid_core.model import Hit, MemoryInfo, Record
from memvid_core.serving.extras import missing

try:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, PlainTextResponse, Response
    from starlette.routing import Mount, Route
except ImportError as exc:
    raise missing("view", exc) from exc

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Viewed", "Viewer", "static_page"]

_MOST_RECORDS: Final = 200  # of an answer
_MOST_PASTS: Final = 3  # earlier commits of a memory that are open
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def static_page() -> str:
    """Return the page that reads a memory itself, without a server."""
    return files("memvid_core.serving").joinpath("viewer.html").read_text(encoding="utf-8")


class Viewed:
    """A memory that is shown, and its earlier commits.

    Args:
        memory: The memory, open for reading.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._pasts: OrderedDict[int, Memory] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def path(self) -> str:
        """The path of the file, or of the copy of a remote memory."""
        return session_of(self._memory).file

    def close(self) -> None:
        """Close the earlier commits."""
        while self._pasts:
            self._pasts.popitem()[1].close()

    def info(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return what the page shows of the memory."""
        info = self._memory.info()
        return {
            **{name: getattr(info, name) for name in ("description", "embedder", "codec", "metric", "dimension")},
            **{name: getattr(info, name) for name in ("records", "deleted", "commits", "frames", "bytes", "lost")},
            "vectors": info.vector_dtype,
            "created": info.created.timestamp(),
            "characters": 0,
            "rate": memory_video.pictures(session_of(self._memory)).rate,
            "verified": False,
            **_damage(info),
        }

    def history(self, given: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the commits, oldest first."""
        return [
            {"number": each.number, "time": each.time.timestamp(), "added": each.added, "deleted": each.deleted}
            for each in self._memory.history()
        ]

    def records(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return records that match a filter, in the order of addition, and the number of all of them."""
        where = _object(given, "where")
        with self._lock:
            memory = self._at(given)
            found = memory.select(where, limit=_count(given, "limit", 50), offset=_count(given, "offset", 0, 1 << 40))
            return {"total": len(memory.ids(where)), "records": self._shown(memory, found)}

    def search(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return the records that answer a question best."""
        with self._lock:
            memory = self._at(given)
            hits = memory.search(given.get("q", ""), _count(given, "k", 50), _object(given, "where"), explain=True)
            return {"total": len(hits), "records": self._shown(memory, hits)}

    def record(self, given: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the record with an id, or None."""
        with self._lock:
            memory = self._at(given)
            try:
                return self._shown(memory, [memory.get(given.get("id", ""))])[0]
            except RecordNotFoundError:
                return None

    def _at(self, given: Mapping[str, str]) -> Memory:
        """Return the memory as of the commit that is asked for."""
        if "as_of" not in given:
            return self._memory
        number = _count(given, "as_of", 0, 1 << 48)
        if number not in self._pasts:
            self._pasts[number] = Memory.open(self.path, embedder=self._memory.embedder, as_of=number)
            if len(self._pasts) > _MOST_PASTS:
                self._pasts.popitem(last=False)[1].close()
        self._pasts.move_to_end(number)
        return self._pasts[number]

    @staticmethod
    def _shown(memory: Memory, found: list[Record] | list[Hit]) -> list[dict[str, Any]]:
        session = session_of(memory)
        ids = [each.id for each in found]
        frames = memory_video.frames_of(session, ids) if memory_video.pictures(session).coding == "pcm" else {}
        shown = memory_video.pictured_frames(session, ids)
        return [
            {"id": each.id, "text": each.text, "frame": frames.get(each.id), "shown": shown.get(each.id)}
            | {"metadata": msgspec.json.encode(each.metadata).decode()}  # a text: in JavaScript, 1.0 would become 1
            | (
                {"score": each.score, "relevance": each.relevance, "explain": each.explain}
                if isinstance(each, Hit)
                else {}
            )
            for each in found
        ]


def _damage(info: MemoryInfo) -> dict[str, Any]:
    return {
        "damage": [{"frame": each.frame, "commit": each.commit, "reason": each.reason} for each in info.damage[:200]],
        "damages": len(info.damage),
        "torn": {"bytes": info.torn_bytes, "records": 0},
    }


def _count(given: Mapping[str, str], name: str, default: int, most: int = _MOST_RECORDS) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) <= most):
        raise InvalidInputError(f"{name} is a number from 0 to {most}")
    return int(text)


def _object(given: Mapping[str, str], name: str) -> dict[str, Any] | None:
    try:
        value = json.loads(given.get(name, "null"))
    except (ValueError, RecursionError) as exc:
        raise InvalidInputError(f"{name} is not JSON: {exc}") from exc
    if value is not None and not isinstance(value, dict):
        raise InvalidInputError(f"{name} is a JSON object")
    return value


class Viewer:
    """Serve the page and the memories.

    Args:
        memories: The memories by name, open for reading.
        port: The port of the server, which is part of the cookie's name.
    """

    def __init__(self, memories: Mapping[str, Memory], port: int) -> None:
        self._memories = {name: Viewed(memory) for name, memory in memories.items()}
        self._token: str | None = secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)
        self._prefix = f"/{secrets.token_hex(8)}"  # a browser sends cookies to every port, but not to other paths
        self._cookie = f"memvid-{port}"
        self._lock = threading.Lock()
        self.path = f"{self._prefix}/#token={self._token}"

    def app(self) -> Starlette:
        """Return the application."""
        asked: dict[str, Callable[[Viewed, Mapping[str, str]], Any]] = {
            "info": Viewed.info,
            "history": Viewed.history,
            "records": Viewed.records,
            "record": Viewed.record,
            "search": Viewed.search,
        }
        routes = [
            Route("/api/memories", lambda request: _json(list(self._memories))),
            *(Route(f"/api/{name}", self._answer(answer)) for name, answer in asked.items()),
            Route("/memory/{name}.mp4", self._film),
        ]
        inner = _Session(Starlette(routes=routes), self._cookie, self._session)
        outer = [Route("/", self._page), Route("/api/enter", self._enter), Mount("/", inner)]
        return Starlette(routes=[Mount(self._prefix, routes=outer)])

    def close(self) -> None:
        """Close what was opened to answer."""
        for viewed in self._memories.values():
            viewed.close()

    def _page(self, request: Request) -> Response:
        page = static_page().replace('data-engine="static"', 'data-engine="served"', 1)
        return Response(page, media_type="text/html", headers=_HEADERS)

    def _enter(self, request: Request) -> Response:
        """Return the cookie for the token, once."""
        given = request.headers.get("authorization", "").encode("utf-8", "surrogateescape")
        with self._lock:
            if self._token is None or not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                return _refused()
            self._token = None
        answer = _json(True)
        answer.set_cookie(self._cookie, self._session, path=f"{self._prefix}/", httponly=True, samesite="strict")
        return answer

    def _answer(self, answer: Callable[[Viewed, Mapping[str, str]], Any]) -> Callable[[Request], Response]:
        def respond(request: Request) -> Response:
            viewed = self._memories.get(request.query_params.get("name", ""))
            if viewed is None:
                return _json({"error": "no memory has this name"}, 404)
            try:
                return _json(answer(viewed, request.query_params))
            except MemvidError as exc:
                return _json({"error": str(exc)}, 400)

        return respond

    def _film(self, request: Request) -> Response:
        viewed = self._memories.get(request.path_params["name"])
        if viewed is None:
            return _json({"error": "no memory has this name"}, 404)
        return FileResponse(viewed.path, media_type="video/mp4", headers=_HEADERS)


class _Session:
    """Refuse requests without the cookie."""

    def __init__(self, app: ASGIApp, cookie: str, value: str) -> None:
        self._app, self._cookie, self._value = app, cookie, value.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Request(scope).cookies.get(self._cookie, "").encode("utf-8", "surrogateescape")
        await (self._app if hmac.compare_digest(given, self._value) else _refused())(scope, receive, send)


def _refused() -> Response:
    return PlainTextResponse("open the address that memvid view printed", 401, headers=_HEADERS)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json", headers=_HEADERS)
