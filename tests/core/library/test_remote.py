"""Libraries in object stores: the same answers and versions as in a folder; what is damaged in the store is named."""

from __future__ import annotations

import gc
import http.server
import json
import logging
import os
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from langchain_memvid import MemvidVectorStore
from memvid_core import (
    IncompleteSearchError,
    InvalidInputError,
    Library,
    Memory,
    MemoryExistsError,
    NotAMemoryError,
    Record,
    StorageError,
    cached_copies,
    clear_cache,
)
from memvid_core.library.remote import RemoteObjects
from tests.core.cli.running import memvid
from tests.core.embedders import embed
from tests.core.library.libraries import pair, plain, records
from tests.processes import CORE, start

SOME = records(30)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the copies."""
    monkeypatch.setenv("MEMVID_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that answers as S3 does."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, tmp_path: Path) -> dict[str, Any]:
    """The options for s3:// with a new bucket, named as the test's folder."""
    options = {"endpoint_url": server, "key": "ada", "secret": "x", "client_kwargs": {"region_name": "us-east-1"}}
    with urllib.request.urlopen(urllib.request.Request(f"{server}/{_bucket(tmp_path)}", method="PUT")):
        return options


def _bucket(tmp_path: Path) -> str:
    return "b" + "".join(letter for letter in tmp_path.name.lower() if letter.isalnum())[-40:]


@pytest.fixture(params=["memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """A URL for a library, and the options of its file system."""
    if request.param == "memory":
        return f"memory://{tmp_path.name}/library", {}
    return f"s3://{_bucket(tmp_path)}/library", request.getfixturevalue("bucket")


def keys(place: tuple[str, dict[str, Any]]) -> list[str]:
    """The names of all objects, below the library."""
    fs, root = fsspec.core.url_to_fs(place[0], **place[1], use_listings_cache=False)
    return sorted(str(name).rpartition("/library/")[2] for name in fs.find(root))


def test_a_library_is_built_changed_and_read_as_in_a_folder(place: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    url, options = place
    with pair(tmp_path, SOME, 3, embedder=embed) as (memory, local):
        with Library.create(url, embed, storage_options=options) as library:
            assert library.path == url
            assert library.build(SOME, rows_per_shard=10).shards == 3
            for mode in ("lexical", "dense", "hybrid"):
                wanted = plain(memory.search("wing heat", 9, mode=mode))
                assert plain(library.search("wing heat", 9, mode=mode)) == wanted
            library.add(["new text"], ids=["r3"])
            local.add(["new text"], ids=["r3"])
            assert library.delete(["r4"]) == local.delete(["r4"]) == 1
            assert list(library) == list(local)
            assert library.verify().ok
            assert len([name for name in keys(place) if name.endswith(".mp4")]) == 4
        with Library.open(url + "/", "r", embedder=embed, storage_options=options) as again:
            assert list(again) == list(local)
            assert plain(again.search("wing heat", 9)) == plain(local.search("wing heat", 9))
            assert [one.records for one in again.history()] == [30, 30, 29]
        with Library.open(url, as_of=1, embedder=embed, storage_options=options) as past:
            assert list(past) == SOME
        with Library.open(url, embedder=embed, storage_options=options) as last:
            assert last.compact().written == 1
            assert list(last) == list(local)
            assert last.vacuum().files == ()
            assert len(last.vacuum(timedelta(0)).files) == 6  # four shards, two lists of deleted rows
            assert [name for name in keys(place) if name.endswith(".mp4")] == list(last.explain_shards())
            assert [one.change for one in last.history()] == ["compact", "vacuum"]
            assert list(last) == list(local)
            assert last.verify().ok


def test_what_is_fetched_is_kept_in_the_cache(bucket: dict[str, Any], tmp_path: Path, cache: Path) -> None:
    url = f"s3://{_bucket(tmp_path)}/library"
    with Library.create(url, embed, storage_options=bucket) as library:
        library.build(SOME, rows_per_shard=10)
        wanted = plain(library.search("wing", 5))
    [copy] = cached_copies()
    assert copy.url == url
    shards = sorted(copy.folder.glob("shards/*.mp4"))
    assert len(shards) == 3
    before = [path.stat().st_mtime_ns for path in shards]
    with Library.open(url, embedder=embed, storage_options=bucket) as again:
        assert plain(again.search("wing", 5)) == wanted
        assert [path.stat().st_mtime_ns for path in shards] == before
    shards[0].unlink()
    os.truncate(shards[1], 10)
    with Library.open(url, embedder=embed, storage_options=bucket) as again:
        assert plain(again.search("wing", 5)) == wanted
        assert sorted(copy.folder.glob("shards/*.mp4")) == shards


def test_a_cache_that_another_program_deletes_is_made_again(
    bucket: dict[str, Any], tmp_path: Path, cache: Path
) -> None:
    url = f"s3://{_bucket(tmp_path)}/library"
    with Library.create(url, embed, storage_options=bucket) as library:
        library.add(["the wing lifts"], ids=["a"])
        for number, text in enumerate(("the engine hums", "a wing in the wind")):
            with Library.open(url, embedder=embed, storage_options=bucket) as other:
                shutil.rmtree(cache)
                other.add([text], ids=[f"b{number}"])
                shutil.rmtree(cache)
            library.refresh()
            assert {hit.id for hit in library.search("wing", k=9)} == {"a", *(f"b{each}" for each in range(number + 1))}
        assert not library.verify().damage
        assert len(cached_copies()) == 1


def test_a_vacuum_deletes_copies_too(bucket: dict[str, Any], tmp_path: Path, cache: Path) -> None:
    url = f"s3://{_bucket(tmp_path)}/library"

    def copies() -> set[str]:
        return {f"shards/{path.name.partition('.mp4')[0]}.mp4" for path in cache.rglob("shards/*")}

    with (
        Library.create(url, embed, storage_options=bucket) as library,
        Library.open(url, embedder=embed, storage_options=bucket) as other,
    ):
        library.build(SOME, rows_per_shard=10)
        before = set(library.explain_shards())
        assert copies() == before
        library.compact()
        library.add(["one more"])

        def slowly() -> Iterator[Record]:
            yield Record("first", "first")
            other.vacuum(timedelta(0), dry_run=True)
            assert before < copies()
            other.vacuum(timedelta(0))
            assert not before & copies()
            assert len(copies() - set(other.explain_shards())) == 1  # what is being built
            yield Record("second", "second")

        library.build(slowly())
        assert copies() == set(library.explain_shards())
        assert library.search("first", 1)[0].id == "first"


def test_the_cache_stays_within_its_limit(
    bucket: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"s3://{_bucket(tmp_path)}/{name}/library" for name in "ab"]
    for url in urls:
        with Library.create(url, embed, storage_options=bucket) as library:
            library.build(SOME, rows_per_shard=10)
        del library
        gc.collect()
    assert {copy.url for copy in cached_copies()} == {*urls}
    assert [copy.url for copy in clear_cache(urls[1])] == [urls[1]]
    monkeypatch.setenv("MEMVID_CACHE_LIMIT", "1")
    with Library.open(urls[1], embedder=embed, storage_options=bucket) as library:
        assert len(library.search("wing", 5)) == 5
        assert {copy.url for copy in cached_copies()} == {*urls}
    del library
    gc.collect()
    assert {copy.url for copy in cached_copies()} == {urls[1]}


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "swapped"])
def test_a_shard_that_is_damaged_in_the_store(
    place: tuple[str, dict[str, Any]], cache: Path, damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, options = place
    with Library.create(url, embed, storage_options=options) as library:
        library.build(SOME, rows_per_shard=10)
        name, other, _ = library.explain_shards()
    del library
    gc.collect()  # libraries that are open share what is in the cache
    fs, root = fsspec.core.url_to_fs(url, **options, use_listings_cache=False)
    data = fs.cat_file(f"{root}/{name}")
    if damage == "missing":
        fs.rm_file(f"{root}/{name}")
    elif damage == "swapped":
        fs.pipe_file(f"{root}/{name}", fs.cat_file(f"{root}/{other}"))
    else:
        at = len(data) // 2
        fs.pipe_file(
            f"{root}/{name}", data[:at] + (bytes([data[at] ^ 1]) + data[at + 1 :] if damage == "changed" else b"")
        )
    monkeypatch.setenv("MEMVID_CACHE_DIR", str(tmp_path / "another"))
    with Library.open(url, embedder=embed, storage_options=options) as again:
        with pytest.raises(IncompleteSearchError) as caught:
            again.search("wing heat", 60, mode="lexical")
        assert list(caught.value.report.failed) == [name]
        assert caught.value.report.rows_missing == 10
        assert {hit.id for hit in caught.value.hits}.isdisjoint({record.id for record in SOME[:10]})
        assert [(one.name, one.records) for one in again.verify().damage] == [(name, 10)]


@contextmanager
def requests() -> Iterator[list[str]]:
    """The requests that the server answers."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler, log = Handler(logging.INFO), logging.getLogger("werkzeug")
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)


def test_how_many_requests_are_made(bucket: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"s3://{_bucket(tmp_path)}/library"
    with Library.create(url, embed, storage_options=bucket) as library:
        library.build(SOME, rows_per_shard=10)
        with requests() as made:
            library.add(["new"], ids=["new"])
        assert len(made) <= 24
    del library  # and with it, its folder in the cache of this process
    gc.collect()
    for number, shards in (("another", 4), ("another", 0)):  # an empty cache, and what is in it then
        monkeypatch.setenv("MEMVID_CACHE_DIR", str(tmp_path / number))
        with requests() as made:
            again = Library.open(url, embedder=embed, storage_options=bucket)
        assert len(made) == 3, made  # the description, the list of versions, and the newest one
        with again:
            with requests() as made:
                again.search("wing heat", 10)
            assert len(made) == 3 * shards, made  # the size, all bytes, and whether it has changed meanwhile
            with requests() as made:
                for mode in ("lexical", "dense", "hybrid"):
                    again.search("shock", 10, mode=mode)
                again.get("r3")
            assert made == []
            with requests() as made:
                again.refresh()
            assert len(made) == 1
        del again


def test_the_command_takes_a_url(
    place: tuple[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, options = place
    lines = tmp_path / "lines.jsonl"
    if options:
        for name, value in {"FSSPEC_S3_ENDPOINT_URL": "endpoint_url", "FSSPEC_S3_KEY": "key"}.items():
            monkeypatch.setenv(name, options[value])
        monkeypatch.setenv("FSSPEC_S3_SECRET", options["secret"])
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.config.set_conf_env(fsspec.config.conf)
    try:
        lines.write_text('{"id": "a", "text": "the wing lifts"}\n{"id": "b", "text": "an engine"}\n')
        assert memvid("library", "build", url, lines).out.startswith(f"{url}: 2 records added")
        assert memvid("library", "build", url + "/", lines, "--json").json["deleted"] == 2
        assert memvid("library", "search", url, "wing", "-k", "1", "--json").json["hits"][0]["id"] == "a"
        assert memvid("library", "info", url, "--json").json["records"] == 2
        assert "intact" in memvid("library", "verify", url).out
        assert memvid("library", "history", url, "--json").json["versions"][0]["added"] == 2
        assert memvid("library", "compact", url).code == 0
        assert memvid("library", "vacuum", url, "--dry-run").code == 0
        assert "Library.create" in memvid("library", "info", url + "2").err
    finally:
        fsspec.config.conf.pop("s3", None)


STORES = (*CORE, "memvid_core.library.library", "s3fs")
ADD = """if True:
    import json, sys
    from memvid_core import Library
    from tests.core.embedders import embed
    url, options, name = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
    with Library.open(url, embedder=embed, storage_options=options) as library:
        sys.stdin.readline()
        for number in range(int(sys.argv[4])):
            library.add([f"{name} {number}"], ids=[f"{name} {number}"])
            library.delete([f"{name} {number} old"])
"""


class Folder(http.server.SimpleHTTPRequestHandler):
    """Lists and sends the files of a folder."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_library_on_a_web_server_is_read_and_not_changed(tmp_path: Path, cache: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"id": "a", "text": "the wing lifts"}\n{"id": "b", "text": "an engine"}\n')
    local, note = tmp_path / "site" / "library", tmp_path / "site" / "note.mp4"
    local.parent.mkdir()
    with Memory.create(note) as memory:
        memory.add("a note of a wing", ids="n")
    assert memvid("library", "build", local, lines).code == 0
    assert memvid("library", "build", local, note).code == 0
    before = sorted(path.relative_to(local) for path in local.rglob("*"))
    handler = partial(Folder, directory=str(local.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{running.server_port}/library"
            wanted = memvid("library", "search", local, "wing", "--json").json["hits"]
            for given in (url, url + "/"):
                assert memvid("library", "search", given, "wing", "--json").json["hits"] == wanted
            past = memvid("library", "search", url, "wing", "--as-of", "1", "--json").json["hits"]
            assert {hit["id"] for hit in past} == {"a", "b"}
            assert memvid("library", "info", url, "--json").json["records"] == 3
            assert len(memvid("library", "history", url, "--json").json["versions"]) == 2
            assert "intact" in memvid("library", "verify", url).out
            for changing in (["build", url, lines], ["build", url + "2", lines], ["compact", url]):
                refused = memvid("library", *changing)
                assert (refused.code, refused.out) == (9, "")
                assert "is read-only: its file system cannot create an object only if it is new" in refused.err
            assert memvid("library", "info", url + "2").code == 6
            other = tmp_path / "other"
            built = memvid("library", "build", other, url.replace("library", "note.mp4"), "--json")
            assert (built.code, built.json["records"]) == (0, 1)
        finally:
            running.shutdown()
            thread.join()
    unreachable = memvid("library", "search", url, "wing")
    assert unreachable.code == 9
    assert "cannot be reached" in unreachable.err
    assert sorted(path.relative_to(local) for path in local.rglob("*")) == before


def test_no_commit_of_several_processes_is_lost(
    bucket: dict[str, Any], tmp_path: Path, effort: Callable[[int], int], sized: Callable[[int, int], int]
) -> None:
    url = f"s3://{_bucket(tmp_path)}/library"
    names, count = "abcd", effort(sized(1, 2))
    with Library.create(url, embed, storage_options=bucket) as library:
        library.build(Record(f"{name} {n} old", f"old {name} {n}") for name in names for n in range(count))
        writers = [start(ADD, url, json.dumps(bucket), name, count, modules=STORES) for name in names]
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        for writer in writers:
            assert writer.communicate()[1] == ""
        assert library.refresh() == 1 + 2 * len(names) * count
        assert sorted(library.ids()) == sorted(f"{name} {n}" for name in names for n in range(count))
        assert library.verify().ok


def test_what_cannot_be_is_said(
    place: tuple[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, options = place
    with pytest.raises(NotAMemoryError):
        Library.open(url, storage_options=options)
    Library.create(url, embed, storage_options=options).close()
    with pytest.raises(MemoryExistsError):
        Library.create(url, embed, storage_options=options)
    with pytest.raises(InvalidInputError, match="storage_options"):
        Library.open(tmp_path, storage_options={"key": "x"})
    if url.startswith("s3:"):
        with pytest.raises(StorageError, match=r"cannot write s3://no-bucket/library.*: there is no such bucket"):
            Library.create("s3://no-bucket/library", embed, storage_options=options)
    monkeypatch.setattr(RemoteObjects, "create", RemoteObjects.replace)  # a store without conditions
    with pytest.raises(StorageError, match="If-None-Match"):
        Library.create(url + "2", embed, storage_options=options)


def test_a_store_of_langchain_over_a_bucket(bucket: dict[str, Any], tmp_path: Path) -> None:
    url = f"s3://{_bucket(tmp_path)}/library/"
    with MemvidVectorStore(path=url, storage_options=bucket) as store:
        store.add_texts(["the wing lifts", "the engine hums"], ids=["wing", "engine"])
        assert store.similarity_search("a wing", k=1)[0].id == "wing"
    with MemvidVectorStore(path=url, mode="r", storage_options=bucket) as store:
        assert store.similarity_search("an engine", k=1)[0].id == "engine"
        with pytest.raises(InvalidInputError, match="credentials"):
            store.__reduce__()
