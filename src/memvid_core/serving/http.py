"""HTTP: a server on one address, which answers only requests for its own names and with its token."""

from __future__ import annotations

import hmac
import os
import re
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memvid_core.errors import InvalidInputError, StorageError
from memvid_core.serving.extras import missing

try:
    import uvicorn
    from starlette.datastructures import Headers
    from starlette.responses import PlainTextResponse
except ImportError as exc:
    raise missing("mcp", exc) from exc

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Address", "Guard", "bound", "parse_address", "read_token", "run_guarded", "run_http"]

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_ANY: Final = ("0.0.0.0", "::", "")
_SHORTEST_TOKEN: Final = 16
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_MOST_BYTES: Final = 4 << 20  # of a request


class Address:
    """Where a server listens, and under which names it may be asked.

    Args:
        host: The address to listen on.
        port: The port; 0 lets the system choose.
        names: The names under which clients reach another address than this machine's own, without a port or with one.

    Raises:
        InvalidInputError: The server would listen on all addresses without a name.
    """

    def __init__(self, host: str, port: int, names: Sequence[str] = ()) -> None:
        self.host, self.port, self.names = host, port, tuple(names)
        if host in _ANY and not names:
            raise InvalidInputError(
                f"{host or 'an empty host'} listens on every address: give the names by which clients reach it with "
                "--allow-host"
            )
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:]+\](:\d{1,5})?", name):
                raise InvalidInputError(f"{name!r} is not the name of a host, such as notes.example.org")

    @property
    def local(self) -> bool:
        """Whether only programs on this machine reach it."""
        return self.host in ("127.0.0.1", "localhost", "::1")

    def hosts(self, port: int) -> list[str]:
        """Return the values of the header ``Host`` that are answered."""
        own = _LOOPBACK if self.local else () if self.host in _ANY else (_bracketed(self.host),)
        return [*(f"{name}:{port}" for name in own), *(_with_port(name, port) for name in self.names), *self.names]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _with_port(name: str, port: int) -> str:
    return name if re.search(r":\d{1,5}$", name) and not name.endswith("]") else f"{name}:{port}"


def parse_address(text: str, names: Sequence[str] = ()) -> Address:
    """Return the address that ``[HOST:]PORT`` names; the host is this machine's own by default.

    Raises:
        InvalidInputError: It is not an address.

    Example:
        >>> address = parse_address("8080")
        >>> address.host, address.port, address.local
        ('127.0.0.1', 8080, True)
    """
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise InvalidInputError(f"{text!r} is not an address: give a port, such as 8080, or HOST:PORT")
    return Address(host.strip("[]") if ":" in text else "127.0.0.1", int(port), names)


def read_token(path: Path) -> str:
    """Return the token in a file: one line, which only its owner can read.

    Raises:
        InvalidInputError: It is too short, has other characters than visible ASCII, or others can read the file.
        StorageError: The file cannot be read.
    """
    try:
        if os.name != "nt" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise InvalidInputError(f"{path} can be read by others: run chmod 600 {path}")
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise StorageError(f"the token in {path} cannot be read: {exc}") from exc
    if len(token) < _SHORTEST_TOKEN or not _TOKEN.fullmatch(token):
        raise InvalidInputError(
            f"the token in {path} must have {_SHORTEST_TOKEN} visible ASCII characters or more, on one line"
        )
    return token


class Guard:
    """Refuse a request for a foreign host (421), from a foreign origin (403) or without the token (401).

    Args:
        app: The application behind it.
        hosts: The values of the header ``Host`` that are answered.
        token: The token that ``Authorization: Bearer`` must have; None needs none.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], token: str | None = None) -> None:
        self._app = app
        self._hosts = frozenset(name.lower() for name in hosts)
        self._origins = frozenset(origins_of(hosts))
        self._token = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        refused = self._refused(Headers(scope=scope)) if scope["type"] in ("http", "websocket") else None
        await (self._app if refused is None else refused)(scope, receive, send)

    def _refused(self, headers: Headers) -> PlainTextResponse | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return PlainTextResponse("this server has another name", 421)
        if any(origin.lower() not in self._origins for origin in origins):
            return PlainTextResponse("this origin may not use the server", 403)
        given = headers.getlist("authorization")
        if self._token is not None and not (
            len(given) == 1 and hmac.compare_digest(given[0].encode("utf-8", "surrogateescape"), self._token)
        ):
            return PlainTextResponse("a bearer token is needed", 401, {"WWW-Authenticate": "Bearer"})
        return None


def origins_of(hosts: Sequence[str]) -> list[str]:
    """Return the origins of pages that these hosts serve."""
    return [f"{scheme}://{name.lower()}" for name in hosts for scheme in ("http", "https")]


def bound(address: Address) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        StorageError: The address is in use or not this machine's.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # With the protocol named, asyncio sends answers at once; otherwise each waits 40 ms for an acknowledgment.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt" and sys.platform != "cygwin":  # on Windows, this would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(128)  # the address is printed next, and a client may connect at once
    except OSError as exc:
        listener.close()
        raise StorageError(f"cannot listen on {address.host}:{address.port}: {exc.strerror or exc}") from exc
    return listener


def run_http(
    server: MCPServer[None], listener: socket.socket, address: Address, token: str | None, path: str = "/mcp"
) -> None:
    """Serve until the process is interrupted.

    Raises:
        InvalidInputError: Other machines could reach the server without a token.
    """
    if token is None and not address.local:
        raise InvalidInputError(
            f"{address.host} can be reached from other machines: give a token with --token-file, or use 127.0.0.1"
        )
    from mcp.server.transport_security import TransportSecuritySettings

    hosts = address.hosts(listener.getsockname()[1])
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins_of(hosts)
    )
    app = server.streamable_http_app(
        streamable_http_path=path, transport_security=security, max_request_body_size=_MOST_BYTES
    )
    run_guarded(app, listener, hosts, token)


def run_guarded(app: Starlette, listener: socket.socket, hosts: Sequence[str], token: str | None = None) -> None:
    """Serve an application behind a :class:`Guard` until the process is interrupted."""
    config = uvicorn.Config(
        Guard(app, hosts, token), log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=3
    )
    uvicorn.Server(config).run(sockets=[listener])
