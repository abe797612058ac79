"""Memories and libraries in a browser of this machine: the viewer's page, what answers its questions, and the videos.

Only GET is answered, only for what was given, by name, and only to a browser that has the cookie. The page gets the
cookie for a token that works once, which the address carries after ``#``, so that it is never part of a request line.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import msgspec

from memvid_core.errors import MemvidError
from memvid_core.memory import Memory
from memvid_core.serving.extras import missing
from memvid_core.serving.viewed import viewed

try:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, PlainTextResponse, Response
    from starlette.routing import Mount, Route
except ImportError as exc:
    raise missing("view", exc) from exc

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from memvid_core.library import Library

__all__ = ["Viewer", "static_page"]

_ASKED: Final = ("info", "history", "records", "record", "search")  # methods of what is viewed
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


class Viewer:
    """Serve the page and the memories.

    Args:
        memories: The memories and libraries by name, open for reading.
        port: The port of the server, which is part of the cookie's name.
    """

    def __init__(self, memories: Mapping[str, Memory | Library], port: int) -> None:
        self._memories = {name: viewed(memory) for name, memory in memories.items()}
        self._token: str | None = secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)
        self._prefix = f"/{secrets.token_hex(8)}"  # a browser sends cookies to every port, but not to other paths
        self._cookie = f"memvid-{port}"
        self._lock = threading.Lock()
        self.path = f"{self._prefix}/#token={self._token}"

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/api/memories", lambda request: _json(list(self._memories))),
            *(Route(f"/api/{name}", self._answer(name)) for name in _ASKED),
            Route("/memory/{name}.mp4", self._film),
            Route("/memory/{name}/{shard}.mp4", self._film),
        ]
        inner = _Session(Starlette(routes=routes), self._cookie, self._session)
        outer = [Route("/", self._page), Route("/api/enter", self._enter), Mount("/", inner)]
        return Starlette(routes=[Mount(self._prefix, routes=outer)])

    def close(self) -> None:
        """Close what was opened to answer."""
        for each in self._memories.values():
            each.close()

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

    def _answer(self, operation: str) -> Callable[[Request], Response]:
        def respond(request: Request) -> Response:
            found = self._memories.get(request.query_params.get("name", ""))
            if found is None:
                return _json({"error": "no memory has this name"}, 404)
            try:
                return _json(getattr(found, operation)(request.query_params))
            except MemvidError as exc:
                return _json({"error": str(exc)}, 400)

        return respond

    def _film(self, request: Request) -> Response:
        found = self._memories.get(request.path_params["name"])
        try:
            path = None if found is None else found.film(request.path_params.get("shard", ""))
        except MemvidError as exc:
            return _json({"error": str(exc)}, 400)
        if path is None:
            return _json({"error": "no memory has this name"}, 404)
        return FileResponse(path, media_type="video/mp4", headers=_HEADERS)


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
