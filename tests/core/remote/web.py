"""A web server for one folder, with or without ranges, that counts what it sends and can misbehave."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

MARK = "s3cr3t"
"""What is in every credential of the tests, and must not be in any message."""


class Sent(NamedTuple):
    """One answer: its status, and the bytes of its body."""

    status: int
    size: int


class Web:
    """Serve the files of a folder on this machine.

    Args:
        root: The folder.
        ranges: Whether it sends parts of files.
        version: What it says of the version of a file: a strong ETag, a weak one, the time in seconds, or nothing.
        delay: The seconds before each answer.
        answer: Called with the path; what it returns is sent instead of the file: status, headers, body.
        context: Serve by TLS.
    """

    def __init__(
        self,
        root: Path,
        *,
        ranges: bool = True,
        version: str = "etag",
        delay: float = 0.0,
        answer: Callable[[str], tuple[int, dict[str, str], bytes] | None] = lambda path: None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.root, self.ranges, self.version, self.delay, self.answer = root, ranges, version, delay, answer
        self.sent: list[Sent] = []
        self.before_body: Callable[[], None] = lambda: None
        self._scheme = "http" if context is None else "https"
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web._get(self)

            def do_HEAD(self) -> None:
                web._get(self, body=False)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def url(self, name: str = "m.mp4", query: str = "") -> str:
        """The URL of a file."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/{name}{query}"

    @property
    def requests(self) -> int:
        """How many requests it has answered since :meth:`forget`."""
        return len(self.sent)

    @property
    def total(self) -> int:
        """How many bytes of bodies it has sent since :meth:`forget`."""
        return sum(sent.size for sent in self.sent)

    def forget(self) -> None:
        """Count from here."""
        self.sent.clear()

    def _get(self, request: BaseHTTPRequestHandler, *, body: bool = True) -> None:
        time.sleep(self.delay)
        path = request.path.partition("?")[0]
        made = self.answer(path)
        user = request.headers.get("Authorization")
        if user and (self.root / user).is_dir():  # each user has files of their own
            path = f"/{user}{path}"
        if made is None:
            made = self._file(path, request.headers.get("Range"), request.headers.get("If-None-Match"))
        status, headers, content = made
        self.sent.append(Sent(status, len(content) if body else 0))
        request.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            if value:
                request.send_header(name, value)
        request.end_headers()
        self.before_body()
        if body:
            try:
                request.wfile.write(content)
            except OSError:  # the client has seen enough
                return
        if headers.get("Content-Length", str(len(content))) != str(len(content)):
            request.wfile.flush()
            request.connection.shutdown(socket.SHUT_RDWR)

    def _file(self, path: str, part: str | None, known: str | None) -> tuple[int, dict[str, str], bytes]:
        file = self.root / path.lstrip("/")
        if not file.is_file():
            return 404, {}, b"no such file"
        content = file.read_bytes()
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        headers = {
            "etag": {"ETag": tag},
            "weak": {"ETag": f'W/{tag[:9]}"'},
            "time": {"Last-Modified": formatdate(file.stat().st_mtime, usegmt=True)},
            "none": {},
        }[self.version]
        if known is not None and known == headers.get("ETag"):
            return 304, {**headers, "Content-Length": ""}, b""
        if part is None or not self.ranges:
            return 200, headers | ({"Accept-Ranges": "bytes"} if self.ranges else {}), content
        first, _, last = part.removeprefix("bytes=").partition("-")
        start, stop = int(first), int(last or len(content)) + (1 if last else 0)
        if start >= len(content):
            return 416, headers, b""
        total, content = len(content), content[start:stop]
        return 206, headers | {"Content-Range": f"bytes {start}-{start + len(content) - 1}/{total}"}, content

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
