"""URLs of memories: which are accepted, how they are shown without secrets, and what identifies their object."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from memvid_core.errors import InvalidInputError

__all__ = ["check_url", "file_name", "is_url", "key_of", "scheme_of", "shown_url"]

SCHEMES: Final = ("https", "http", "s3", "gs", "hf")
# Parameters of signed URLs, which differ each time although the object is the same.
_SIGNING: Final = re.compile(
    r"(x-(amz|goog|oss|cos|ms)-.*|signature|expires|key-pair-id|policy|awsaccesskeyid|googleaccessid|token|sig|se|st|sp|sv"
    r"|sr|spr|ske|sks|skt|sktid|skv|skoid)",
    re.IGNORECASE,
)
_GLOBAL: Final = frozenset({"s3", "gs", "hf"})
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]+)://")


def is_url(path: object) -> bool:
    """Return whether an argument is a URL, and not the path of a file.

    Example:
        >>> is_url("https://example.org/notes.mp4"), is_url("notes.mp4"), is_url("C:/notes.mp4")
        (True, False, False)
    """
    return isinstance(path, str) and _URL.match(path) is not None


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case; ``""`` for a path within a file system."""
    found = _URL.match(url)
    return "" if found is None else found[1].lower()


def shown_url(url: str) -> str:
    """Return a URL for messages: without user, password, query and fragment, which may hold secrets.

    Example:
        >>> shown_url("https://ada:secret@example.org/notes.mp4?X-Amz-Signature=123#page")
        'https://example.org/notes.mp4'
    """
    clean = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme = scheme_of(clean)
    rest = clean[len(scheme) + 3 :] if scheme else clean
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    text = f"{scheme}://{host}{slash}{path}" if scheme else f"{host}{slash}{path}"
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def check_url(url: str) -> None:
    """Check that a URL has a scheme from which memories are read.

    Raises:
        InvalidInputError: It has not; the message names the schemes.
    """
    scheme = scheme_of(url)
    if scheme == "file":
        raise InvalidInputError(f"{shown_url(url)} is a local file: give its path, without file://")
    if scheme not in SCHEMES or "::" in shown_url(url):
        raise InvalidInputError(
            f"memories are read from {', '.join(f'{name}://' for name in SCHEMES)}, not from {shown_url(url)}; for "
            "other places pass a file system of fsspec with fs="
        )
    try:
        named = bool(urlsplit(url).netloc)
    except ValueError:
        named = False
    if not named or any(ord(letter) <= 32 for letter in url):
        raise InvalidInputError(f"{shown_url(url)} is not a valid URL: give one such as {scheme}://host/notes.mp4")


def key_of(url: str, place: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> str | None:
    """Return the name of the cache entry of an object: the same for each signing of its URL, and without secrets.

    Args:
        url: The URL.
        place: The kind of file system.
        arguments: The arguments that the file system was made with.
        options: Its options. In stores whose names are the same for everyone, only the endpoint counts; elsewhere, two
            users may have different objects behind one URL.

    Returns:
        32 hexadecimal digits; None if nothing names the object outside of this process.
    """
    clean = url.partition("#")[0]
    before, _, query = clean.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query, True) if not _SIGNING.fullmatch(name)]
    if _GLOBAL.isdisjoint(place.split(",")):
        made = repr(_named((tuple(arguments), options)))
        if "memory" in place.split(",") or " at 0x" in made:
            return None
    else:
        client = options.get("client_kwargs")
        endpoints = [options.get("endpoint_url"), options.get("endpoint")]
        endpoints += [client.get("endpoint_url")] if isinstance(client, Mapping) else []
        made = repr([str(endpoint) for endpoint in endpoints if endpoint])
    named = repr((place, shown_url(before), kept, made))
    return blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _named(value: Any) -> Any:
    """Return a value with a ``repr`` that is the same in every process, if there is one."""
    if isinstance(value, Mapping):
        return sorted((str(key), repr(_named(item))) for key, item in value.items())
    if isinstance(value, list | tuple):
        return [_named(item) for item in value]
    if hasattr(type(value), "_strip_protocol"):  # a file system inside of another one
        return type(value).__qualname__, _named(value.storage_args), _named(value.storage_options)
    return value


def file_name(url: str) -> str:
    """Return a name for the copy of an object, made from the last part of its URL.

    Example:
        >>> file_name("https://example.org/a/my%20notes.mp4?x=1"), file_name("s3://bucket")
        ('my_20notes.mp4', 'bucket.mp4')
    """
    name = _UNSAFE.sub("_", shown_url(url).rstrip("/").rpartition("/")[2]).strip("._")[:80] or "memory"
    return name if name.endswith(".mp4") else f"{name}.mp4"
