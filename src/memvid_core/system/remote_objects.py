"""RemoteObject: one object of a file system of fsspec, read from a position on, in one consistent version."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from memvid_core.errors import (
    Action,
    Hint,
    InvalidInputError,
    MissingExtraError,
    StorageError,
)
from memvid_core.system.remote_failures import asked, failure, status_of
from memvid_core.system.remote_urls import scheme_of, shown_url

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["Answer", "ObjectChangedError", "RemoteObject", "remote_object"]

_PIECE: Final = 8 << 20  # bytes of one request to a file system without streams
_CHUNK: Final = 1 << 20
_CONNECT_SECONDS: Final = 30
_SILENCE_SECONDS: Final = 60
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
# What differs if the content does. Times of whole seconds and weak ETags are not among them.
_PROOFS: Final = (
    "ETag",
    "etag",
    "VersionId",
    "generation",
    "Content-MD5",
    "content_md5",
    "md5Hash",
    "md5",
    "Digest",
    "sha256",
    "blob_id",
    "xet_hash",
)
_SIGNS: Final = (
    *_PROOFS,
    "size",
    "Last-Modified",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
    "modified",
    "created",
    "ino",
)
_PACKAGES: Final = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}


class ObjectChangedError(Exception):
    """The object was replaced while it was read in several requests."""


class Answer(NamedTuple):
    """What the server sends: the bytes of an object from ``start`` to ``total``.

    ``proof`` differs if the content does; None if the server gives nothing like that. ``start`` is 0 if the server
    sends whole files only. ``unsure`` says that the object may have been changed while it was sent, and that another
    look at it costs little.
    """

    start: int
    total: int
    proof: str | None
    body: Iterator[bytes]
    unsure: bool = False


class RemoteObject(Protocol):
    """Read one object."""

    name: str
    """The object, for messages."""

    @contextmanager
    def read(self, start: int, known: str | None) -> Iterator[Answer | None]:
        """Yield the bytes from ``start`` on, or None if the object still has the proof ``known``.

        Yields:
            The answer, whose body raises ``ObjectChangedError`` at its end if it is not of one version. Its ``total``
            is less than ``start`` if the object ends before.
        """


def remote_object(url: str, options: Mapping[str, Any] | None, fs: object) -> tuple[RemoteObject, str]:
    """Return the object behind a URL, and the kind of its file system.

    Args:
        url: The URL, or with ``fs`` a path in that file system.
        options: Options of the file system.
        fs: A file system of fsspec; None makes the one of the URL's scheme.

    Raises:
        MissingExtraError: fsspec, or the package of that scheme, is not installed.
        InvalidInputError: ``fs`` is not such a file system, or the options do not fit it.
    """
    try:
        import fsspec
        from fsspec.asyn import AsyncFileSystem
    except ImportError as exc:
        raise MissingExtraError(
            f"memories behind URLs are read with fsspec, which cannot be imported ({exc})",
            hint=Hint(Action.INSTALL_EXTRA, {"extra": "remote"}),
        ) from exc
    name = shown_url(url)
    if fs is None:
        made = _made(fsspec, url, options or {}, name)
    elif isinstance(fs, fsspec.AbstractFileSystem):
        made = fs
    else:
        raise InvalidInputError(f"fs is a file system of fsspec, not of type {type(fs).__name__}")
    if getattr(made, "asynchronous", False):
        raise InvalidInputError("fs was made with asynchronous=True: pass one made without it")
    try:
        path: str = made._strip_protocol(url)
    except Exception as exc:  # each file system raises its own
        failed = failure(name, exc)
    else:
        kind = ",".join([made.protocol] if isinstance(made.protocol, str) else made.protocol)
        if _is_http(made):
            return _HttpObject(made, path, name), kind
        return _StoredObject(made, path, name, batched=isinstance(made, AsyncFileSystem)), kind
    raise failed


def _made(fsspec: Any, url: str, options: Mapping[str, Any], name: str) -> Any:
    scheme = scheme_of(url)
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ImportError as exc:
        package = _PACKAGES.get(scheme)
        needed = f"the package {package}: pip install {package}" if package else "aiohttp: pip install aiohttp"
        raise MissingExtraError(f"{scheme}:// needs {needed} ({exc})") from exc
    given = dict(options)
    try:
        if scheme in ("http", "https"):
            given["client_kwargs"] = _client_options(given.get("client_kwargs") or {})
        return kind(**given, use_listings_cache=False, skip_instance_cache=True)
    except Exception as exc:  # each file system raises its own
        reason = f"({type(exc).__name__})"
    raise InvalidInputError(f"{name}: these storage_options do not fit {scheme}:// {reason}")


def _client_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options for aiohttp: silence is a failure, a long download is not; no redirect from HTTPS to HTTP."""
    import aiohttp

    async def check_redirect(session: object, context: object, event: Any) -> None:
        target = event.response.headers.get("Location") or event.response.headers.get("URI") or ""
        if event.url.scheme == "https" and urlsplit(target).scheme == "http":
            raise StorageError(
                f"{shown_url(str(event.url))} redirects to http://, which is not encrypted; not followed"
            )

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(check_redirect)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
    return {"timeout": timeout, **given, "trace_configs": [*(given.get("trace_configs") or ()), trace]}


def _is_http(fs: AbstractFileSystem) -> bool:
    from fsspec.asyn import AsyncFileSystem

    if not isinstance(fs, AsyncFileSystem) or "https" not in fs.protocol:
        return False
    from fsspec.implementations.http import HTTPFileSystem

    return isinstance(fs, HTTPFileSystem)


class _HttpObject:
    """An object of a web server: one response is one version of it, and is read as a stream.

    Args:
        fs: The file system.
        url: The URL.
        name: The object, for messages.
    """

    def __init__(self, fs: Any, url: str, name: str) -> None:
        self._fs = fs
        self._url = url
        self.name = name

    @contextmanager
    def read(self, start: int, known: str | None) -> Iterator[Answer | None]:
        """Yield the bytes from ``start`` on; see :class:`RemoteObject`."""
        headers = {**(self._fs.kwargs.get("headers") or {}), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        if known is not None:
            headers["If-None-Match"] = known
        stream = asked(self.name, lambda: self._opened(headers))
        if stream is None:
            yield Answer(start, 0, None, iter(()))
            return
        try:
            answer = None if stream.r.status == 304 and known is not None else self._answer(stream, start)
            yield answer
        finally:
            with suppress(Exception):
                stream.close()

    def _opened(self, headers: Mapping[str, str]) -> Any:
        """Send a request; return None if the object ends before the range."""
        try:
            return self._fs.open(self._url, "rb", block_size=0, size=1, headers=headers)  # size=1: no request for it
        except Exception as exc:
            if status_of(exc) == 416:
                return None
            raise

    def _answer(self, stream: Any, start: int) -> Answer:
        status, headers = stream.r.status, stream.r.headers
        if headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise StorageError(f"{self.name} is sent compressed, so no part of it can be asked for; download it")
        etag = headers.get("ETag", "")
        proof = etag if etag.startswith('"') and len(etag) > 2 else None  # W/"…" is a weak one
        if status == 206:
            found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
            first, last, total = (-1, -1, -1) if found is None else (int(number) for number in found.groups())
            if first != start or last != total - 1:
                raise StorageError(f"cannot read {self.name}: the server sends another part than it was asked for")
            return Answer(start, total, proof, self._body(stream, total - start), unsure=True)
        length = headers.get("Content-Length", "")
        if status != 200 or not length.isdecimal() or len(length) > 19:
            what = f"answers {status}" if status != 200 else "does not say how large the file is"
            raise StorageError(f"cannot read {self.name}: the server {what}; download it")
        ranges = headers.get("Accept-Ranges", "").lower() == "bytes"
        return Answer(0, int(length), proof, self._body(stream, int(length)), unsure=ranges or proof is not None)

    def _body(self, stream: Any, size: int) -> Iterator[bytes]:
        while size > 0:
            data: bytes = asked(self.name, partial(stream.read, min(_CHUNK, size)))
            if not data:
                raise _ended_early(self.name, size)
            size -= len(data)
            yield data


class _StoredObject:
    """An object of any other file system, read in several requests, before and after which its version is compared.

    Args:
        fs: The file system.
        path: The path in it.
        name: The object, for messages.
        batched: Whether ranges are read without opening a file.
    """

    def __init__(self, fs: Any, path: str, name: str, *, batched: bool) -> None:
        self._fs = fs
        self._path = path
        self._batched = batched
        self.name = name

    @contextmanager
    def read(self, start: int, known: str | None) -> Iterator[Answer | None]:
        """Yield the bytes from ``start`` on; see :class:`RemoteObject`."""
        info = asked(self.name, self._info)
        proof = _signs(info, _PROOFS)
        total = info.get("size")
        if info.get("type") == "directory":
            raise StorageError(f"{self.name} is a folder: give the URL of a file")
        if not isinstance(total, int) or total < 0:
            raise StorageError(f"cannot read {self.name}: the file system does not say how large it is")
        unchanged = proof is not None and proof == known
        yield None if unchanged else Answer(start, total, proof, self._body(start, total, _signs(info, _SIGNS)))

    def _info(self) -> Mapping[str, Any]:
        with suppress(Exception):  # a listing may be older than the object
            self._fs.invalidate_cache(self._path)
        found: Mapping[str, Any] = self._fs.info(self._path)
        return found

    def _body(self, start: int, total: int, signs: str | None) -> Iterator[bytes]:
        at = start
        for data in self._ranges(start, total) if self._batched else self._opened(start, total):
            at += len(data)
            yield data
        if _signs(asked(self.name, self._info), _SIGNS) != signs:
            raise ObjectChangedError
        if at < total:
            raise _ended_early(self.name, total - at)

    def _ranges(self, start: int, total: int) -> Iterator[bytes]:
        for at in range(start, total, _PIECE):
            size = min(_PIECE, total - at)
            data = self._part(partial(self._fs.cat_file, self._path, start=at, end=at + size), size)
            if data:
                yield data
            if len(data) < size:
                return

    def _opened(self, start: int, total: int) -> Iterator[bytes]:
        file = asked(self.name, lambda: self._fs.open(self._path, "rb", cache_type="none"))
        try:
            asked(self.name, lambda: file.seek(start))
            while start < total:
                size = min(_PIECE, total - start)
                data = self._part(partial(file.read, size), size)
                if not data:
                    return
                start += len(data)
                yield data
        finally:
            file.close()

    def _part(self, read: Callable[[], object], size: int) -> bytes:
        """Return what a call returns: at most ``size`` bytes, fewer at the end of the object.

        Raises:
            StorageError: It returns more, or no bytes.
        """
        data = asked(self.name, read)
        if not isinstance(data, bytes):
            raise StorageError(f"cannot read {self.name}: the file system returns a {type(data).__name__}, not bytes")
        if len(data) > size:
            raise StorageError(f"cannot read {self.name}: the server sends more than it was asked for")
        return data


def _signs(info: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return those values of an object's description that tell versions apart; None if there are none."""
    found = [(name, str(info[name])) for name in names if info.get(name) not in (None, "")]
    kept = [(name, value) for name, value in found if not value.startswith("W/")]
    return repr(kept) if kept else None


def _ended_early(name: str, missing: int) -> StorageError:
    return StorageError(f"cannot read {name}: the server stopped {missing} bytes before the end; try again")
