"""A bucket that may be read and not written: searches work, and each change says so in the words of the package."""

from __future__ import annotations

import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from langchain_memvid import MemvidVectorStore
from memvid_core import InvalidInputError, Library, ReadOnlyError
from tests.core.embedders import embed

REFUSED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Reading(http.server.BaseHTTPRequestHandler):
    """Passes requests that read on to the server of a bucket, and refuses others."""

    protocol_version = "HTTP/1.1"
    store = ""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        kept = {name: value for name, value in self.headers.items() if name.lower() in ("range", "authorization")}
        asked = urllib.request.Request(self.store + self.path, headers=kept, method=self.command)
        try:
            with urllib.request.urlopen(asked) as found:
                self._answer(found.status, found.read(), found.headers)
        except urllib.error.HTTPError as refused:
            with refused:
                self._answer(refused.code, refused.read(), refused.headers)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(403, REFUSED, {})

    do_POST = do_DELETE = do_PUT

    def _answer(self, status: int, body: bytes, headers: Any) -> None:
        self.send_response(status)
        for name in ("ETag", "Last-Modified", "Content-Type", "Content-Range"):
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", headers["Content-Length"] if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The options for a library in a bucket, by which it cannot be written."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    store = "http://{}:{}".format(*running.get_host_and_port())
    with urllib.request.urlopen(urllib.request.Request(f"{store}/books", method="PUT")):
        own = {"endpoint_url": store, "key": "ada", "secret": "x", "client_kwargs": {"region_name": "us-east-1"}}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MEMVID_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        with Library.create("s3://books/library", embed, storage_options=own) as library:
            library.add(["a wing", "an engine"], ids=["a", "b"])
            library.add(["more"], ids=["c"])
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("To", (Reading,), {"store": store})) as proxy:
            thread = threading.Thread(target=proxy.serve_forever)
            thread.start()
            yield {**own, "endpoint_url": f"http://127.0.0.1:{proxy.server_port}"}
            proxy.shutdown()
            thread.join()
    running.stop()


CHANGES: dict[str, Callable[[Library], object]] = {
    "add": lambda library: library.add(["x"]),
    "delete": lambda library: library.delete(["a"]),
    "compact": lambda library: library.compact(),
    "vacuum": lambda library: library.vacuum(timedelta(0)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_says_that_the_credentials_do_not_permit_it(options: dict[str, Any], change: str) -> None:
    with Library.open("s3://books/library", embedder=embed, storage_options=options) as library:
        with pytest.raises(ReadOnlyError, match="these credentials do not permit writing it"):
            CHANGES[change](library)
        assert library.search("a wing", k=1)[0].id == "a"
        assert (library.refresh(), library.ids(), library.verify().ok) == (2, ["a", "b", "c"], True)
        assert library.vacuum(timedelta(0), dry_run=True).files == ()


def test_a_store_searches_and_says_that_it_cannot_add(options: dict[str, Any]) -> None:
    with MemvidVectorStore(embed, path="s3://books/library/", storage_options=options) as store:
        with pytest.raises(ReadOnlyError, match="do not permit"):
            store.add_texts(["x"])
        with pytest.raises(ReadOnlyError, match="do not permit"):
            store.delete(["a"])
        assert store.similarity_search("a wing", k=1)[0].page_content == "a wing"


def test_no_library_is_created(options: dict[str, Any]) -> None:
    with pytest.raises(ReadOnlyError, match="do not permit"):
        Library.create("s3://books/another", embed, storage_options=options)


@pytest.mark.parametrize(
    "url",
    ["s3://books/library?versionId=1", "s3://books/library#1", "S3://books/library", "s3://books//library"],
)
def test_a_url_that_names_no_library_is_refused(options: dict[str, Any], url: str) -> None:
    for opened in (Library.open, Library.create):
        with pytest.raises(InvalidInputError):
            opened(url, storage_options=options)
