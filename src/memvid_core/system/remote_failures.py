"""Failures of file systems as errors of this package, without URLs of requests, which may hold secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from memvid_core.errors import (
    Action,
    Hint,
    MemoryNotFoundError,
    MemvidError,
    OutOfMemoryError,
    ReadOnlyError,
    StorageError,
)

__all__ = ["asked", "failure", "status_of"]

T = TypeVar("T")

_STATUSES: Final = {
    401: "it asks for credentials (401); pass them with storage_options=",
    403: "it refuses these credentials, or there is no such object (403)",
    407: "a proxy asks for credentials (407)",
    429: "it asks to wait (429); try again later",
}
_ABSENT: Final = (404, 410)
_REFUSED: Final = (401, 403)
_CUT: Final = frozenset(
    {"ChecksumError", "ClientPayloadError", "FlexibleChecksumError", "IncompleteRead", "IncompleteReadError"}
)
"""Exceptions that say that the bytes of an answer are not those that the server announced."""
_CHAIN: Final = 10  # exceptions of a chain that are looked at


def asked(place: str, call: Callable[[], T], to: str = "read") -> T:
    """Return what a call of a file system returns.

    Args:
        place: The object, as it is shown.
        call: The call.
        to: What the call does, for the message: ``"read"``, ``"list"``, ``"write"`` or ``"delete"``.

    Raises:
        MemoryNotFoundError: The object does not exist.
        ReadOnlyError: The credentials do not permit writing it.
        StorageError: The call failed for another reason.
    """
    try:
        return call()
    except MemvidError:
        raise
    except MemoryError:
        found: MemvidError = OutOfMemoryError(f"the process has too little memory to {to} {place}")
    except Exception as exc:  # each file system raises its own
        found = failure(place, exc, to)
    raise found  # outside of the block: the cause would be shown, and may name a signed URL


def failure(place: str, exc: BaseException, to: str = "read") -> MemvidError:
    """Return the error for an exception of a file system, of a call that was ``to`` do something."""
    status = status_of(exc)
    absent = status in _ABSENT or (status is None and isinstance(exc, FileNotFoundError) and not _is_network(exc))
    if absent and to == "write":
        return StorageError(f"cannot write {place}: there is no such bucket or folder")
    if absent:
        return MemoryNotFoundError(f"{place} does not exist")
    if to == "write" and (status in _REFUSED or (status is None and isinstance(exc, PermissionError))):
        return ReadOnlyError(f"{place}: these credentials do not permit writing it", hint=Hint(Action.OPEN_FOR_READING))
    if status is not None:
        reason = _STATUSES.get(status, f"the server answers {status}")
    elif _is_timeout(exc):
        reason = "the server does not answer in time"
    elif any(type(found).__name__ in _CUT for found in _chain(exc)):
        reason = f"the answer of the server is damaged or cut ({_kind(exc)}); try again"
    elif isinstance(exc, PermissionError):
        reason = "it refuses these credentials, or asks for some; pass them with storage_options="
    elif _is_network(exc):
        reason = f"the server cannot be reached ({_kind(exc)})"
    else:
        reason = f"the file system failed ({_kind(exc)})"
    return StorageError(f"cannot {to} {place}: {reason}")


def status_of(exc: BaseException) -> int | None:
    """Return the HTTP status that an exception or its cause holds, if any."""
    for found in _chain(exc):
        response = getattr(found, "response", None)
        status = getattr(found, "status", None)
        if isinstance(response, dict):
            meta = response.get("ResponseMetadata")
            status = meta.get("HTTPStatusCode") if isinstance(meta, dict) else status
        elif response is not None:
            status = getattr(response, "status_code", status)
        if isinstance(status, int) and 100 <= status < 600:
            return status
    return None


def _chain(exc: BaseException) -> list[BaseException]:
    chain: list[BaseException] = [exc]
    while len(chain) < _CHAIN:
        after = chain[-1].__cause__ or chain[-1].__context__
        if after is None:
            break
        chain.append(after)
    return chain


def _kind(exc: BaseException) -> str:
    """Return the name of the innermost exception's class: its message may hold the URL."""
    return type(_chain(exc)[-1]).__name__


def _is_timeout(exc: BaseException) -> bool:
    return any(isinstance(found, TimeoutError) or "Timeout" in type(found).__name__ for found in _chain(exc))


def _is_network(exc: BaseException) -> bool:
    return any(
        isinstance(found, ConnectionError) or type(found).__module__.startswith(("aiohttp", "httpx", "botocore", "ssl"))
        for found in _chain(exc)
    )
