"""What is refused, in words that say what to do, and never with a credential in them."""

from __future__ import annotations

import socket
import ssl
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from memvid_core import (
    InvalidInputError,
    Memory,
    MemoryNotFoundError,
    MemvidError,
    MissingExtraError,
    NotAMemoryError,
    ReadOnlyError,
    StorageError,
)
from tests.core.remote.web import MARK, Web

SECRET = f"?X-Amz-Signature={MARK}&token={MARK}#{MARK}"
Answer = tuple[int, dict[str, str], bytes]


def refused(kind: type[MemvidError], match: str, *arguments: Any, **options: Any) -> str:
    """The message of the error that opening raises, in which there is no credential, nor in its traceback."""
    with pytest.raises(kind, match=match) as caught:
        Memory.open(*arguments, **options)
    chain = "".join(traceback.format_exception(caught.value))
    seen: BaseException | None = caught.value
    while seen is not None:
        assert MARK not in f"{seen} {seen!r}"
        seen = seen.__cause__ or seen.__context__
    lines = [line for line in chain.splitlines() if "refused(" not in line]
    assert MARK not in "\n".join(lines)
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind", "match"),
    [
        (401, StorageError, "asks for credentials"),
        (403, StorageError, "refuses these credentials"),
        (404, MemoryNotFoundError, "does not exist"),
        (410, MemoryNotFoundError, "does not exist"),
        (429, StorageError, "asks to wait"),
        (500, StorageError, "answers 500"),
        (204, StorageError, "answers 204"),
    ],
)
def test_the_status_of_a_server_is_named_and_no_credential(
    root: Path, status: int, kind: type[MemvidError], match: str
) -> None:
    with Web(root, answer=lambda path: (status, {}, b"" if status == 204 else MARK.encode())) as web:
        url = web.url(query=SECRET).replace("://", f"://ada:{MARK}@")
        options = {"headers": {"Authorization": f"Bearer {MARK}"}} if "ada" not in url else {}
        message = refused(kind, match, url, storage_options=options)
    assert web.url() in message


def test_a_server_that_is_not_there_and_one_that_is_silent(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        import aiohttp

        options = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(sock_read=0.2)}}
        refused(
            StorageError, "does not answer in time", f"http://127.0.0.1:{port}/m.mp4{SECRET}", storage_options=options
        )
    refused(StorageError, "cannot be reached", f"http://127.0.0.1:{port}/m.mp4{SECRET}")


@pytest.mark.parametrize(
    ("answer", "kind", "match"),
    [
        (
            (200, {"Content-Length": "5000"}, b"\0\0\0\x08ftypshort"),
            StorageError,
            "cannot read .*m.mp4: the answer of the server is damaged or cut",
        ),
        ((200, {"Content-Length": str(10**18)}, b"\0\0\0\x08ftyp"), StorageError, "needs 10{18} bytes"),
        ((200, {"Content-Length": "", "Connection": "close"}, b"x" * 99), StorageError, "does not say how large"),
        ((200, {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08\0"), StorageError, "compressed"),
        ((200, {}, b"<html>sign in</html>"), NotAMemoryError, "is not an MP4"),
        ((200, {}, b""), NotAMemoryError, "is empty"),
        ((200, {}, b"\0\0\0\x08ftyp" + b"\0" * 5_000), NotAMemoryError, "m.mp4"),
        ((206, {"Content-Range": "bytes 5-9/10"}, b"12345"), StorageError, "another part"),
        ((206, {}, b"12345"), StorageError, "another part"),
        ((304, {}, b""), StorageError, "answers 304"),
    ],
)
def test_a_hostile_server(root: Path, cache: Path, answer: Answer, kind: type[MemvidError], match: str) -> None:
    with Web(root, answer=lambda path: answer) as web:
        refused(kind, match, web.url(query=SECRET))
    assert [path for path in cache.rglob("*") if path.is_file()] == []


class Lying(AsyncFileSystem):  # type: ignore[misc]
    """A file system that says that an object has 5,000 bytes, and returns something else."""

    protocol = "lying"
    cachable = False
    part: Any = b""

    async def _info(self, path: str, **options: Any) -> dict[str, Any]:
        return {"name": path, "size": 5_000, "type": "file"}

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> Any:
        return self.part


@pytest.mark.parametrize(
    ("part", "match"),
    [
        (b"\0\0\0\x08ftyp" + b"\0" * 4_000, "stopped 992 bytes before the end"),
        (b"", "stopped 5000 bytes before the end"),
        (b"\0\0\0\x08ftyp" + b"\0" * 5_000, "sends more than it was asked for"),
        (None, "returns a NoneType, not bytes"),
        (7, "returns a int, not bytes"),
        ("text", "returns a str, not bytes"),
    ],
)
def test_a_file_system_that_does_not_send_what_it_says(cache: Path, part: object, match: str) -> None:
    fs = Lying()
    fs.part = part
    refused(StorageError, match, "/box/m.mp4", fs=fs)


def test_a_connection_that_breaks_keeps_the_copy(root: Path, published: Path, look: Callable[[Memory], int]) -> None:
    with Web(root) as web, Memory.open(web.url()) as memory:
        with Memory.open(published, "a") as writer:
            writer.add([f"new {i}" for i in range(30)])
        whole = published.read_bytes()
        answer = {"Content-Range": f"bytes 0-{len(whole) - 1}/{len(whole)}", "Content-Length": str(len(whole))}
        web.answer = lambda path: (200, answer, whole[: len(whole) - 500])
        with pytest.raises(StorageError):
            look(memory)
        web.answer = lambda path: None
        assert look(memory) == 68
        assert memory.verify().ok


@pytest.mark.parametrize(
    ("url", "match"),
    [
        (f"ftp://ada:{MARK}@host/m.mp4", "memories are read from https://, http://, s3://, gs://, hf://"),
        (f"simplecache::https://host/m.mp4?{MARK}", "memories are read from"),
        (f"https://host/a::b?{MARK}", "memories are read from"),
        ("file:///tmp/m.mp4", "give its path"),
        (f"https:///m.mp4?{MARK}", "not a valid URL"),
        (f"https://[::/m.mp4?{MARK}", "URL|read from"),
        (f"https://ho st/m.mp4?{MARK}", "not a valid URL"),
        ("ssh://host/m.mp4", "memories are read from"),
    ],
)
def test_other_urls_are_refused_before_anything_is_asked(url: str, match: str) -> None:
    refused(InvalidInputError, match, url)


def test_what_does_not_go_with_a_url(root: Path, published: Path) -> None:
    with Web(root) as web:
        refused(ReadOnlyError, "read-only, as every memory behind a URL", web.url(query=SECRET), "a")
        refused(ReadOnlyError, "read-only", web.url(query=SECRET), "a", create=True)
        refused(InvalidInputError, "a URL", Path(web.url(query=SECRET)))
        refused(
            InvalidInputError, "either fs or storage_options", "m.mp4", fs=MemoryFileSystem(), storage_options={"a": 1}
        )
        refused(InvalidInputError, "a file system of fsspec", "m.mp4", fs=object())
        refused(InvalidInputError, "path is a str", published, fs=MemoryFileSystem())
        refused(InvalidInputError, "storage_options is for", published, storage_options={"key": MARK})
        refused(InvalidInputError, "storage_options do not fit", web.url(), storage_options={"client_kwargs": MARK})
        assert web.requests == 0
    with pytest.raises(InvalidInputError, match="cannot be written") as caught:
        Memory.create(f"https://host/m.mp4?{MARK}")
    assert MARK not in str(caught.value)


def test_an_open_memory_shows_no_credential(root: Path, published: Path, cache: Path) -> None:
    with Web(root) as web:
        url = web.url(query=SECRET).replace("://", f"://ada:{MARK}@")
        memory = Memory.open(url)
        assert memory.path == memory.info().path == web.url()
        assert MARK not in repr(memory)
        memory.close()
        with pytest.raises(MemvidError) as caught:
            memory.search("wing")
        assert MARK not in str(caught.value)
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if MARK in path.name or MARK.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("package", "url", "said"),
    [
        ("fsspec", f"https://127.0.0.1/m.mp4?{MARK}", r"pip install 'memvid-core\[remote\]'"),
        ("gcsfs", f"gs://bucket/m.mp4?{MARK}", "pip install gcsfs"),
        ("huggingface_hub", f"hf://datasets/a/b/m.mp4?{MARK}", "pip install huggingface_hub"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str, url: str, said: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    refused(MissingExtraError, said, url)


def test_redirects_are_followed_but_not_to_an_unencrypted_server(root: Path, published: Path, tmp_path: Path) -> None:
    with Web(root) as plain:
        there = (302, {"Location": plain.url(query=f"?{MARK}")}, b"")
        with Web(root, answer=lambda path: there) as web, Memory.open(web.url(query=SECRET)) as memory:
            assert len(memory) == 38
            assert memory.path == web.url()
        with Web(root, answer=lambda path: there, context=_tls(tmp_path)) as web:
            options = {"ssl": False}  # the certificate is not checked: it is our own
            refused(StorageError, "redirects to http://", web.url(query=SECRET), storage_options=options)


def test_a_memory_is_read_by_https_and_only_with_a_certificate_that_is_trusted(
    root: Path, published: Path, tmp_path: Path
) -> None:
    with Web(root, context=_tls(tmp_path)) as web:
        refused(StorageError, "cannot be reached", web.url(query=SECRET))
        with Memory.open(web.url(query=SECRET), storage_options={"ssl": False}) as memory:
            assert len(memory) == 38
            assert memory.path == web.url()


def _tls(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate of its own."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "server.pem"
    file.write_bytes(secret + made.sign(key, hashes.SHA256()).public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
