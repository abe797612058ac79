"""The viewer over a library: the answers of ``Library``, the video of the shard that has a record, and nothing else."""

from __future__ import annotations

import os
import shutil
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from memvid_core import Library, Memory, Record
from memvid_core.memory import memory_video, session_of
from tests.core.serving.driving import Driven, driven
from tests.core.serving.test_viewer import HOSTILE, READY, fetched, served

pytestmark = pytest.mark.long

TEXTS = ("a wing makes lift", "an engine gives thrust", "날개는 양력을 만든다", "a shield carries the heat off")
SOME = [Record(f"r{n}", f"{TEXTS[n % 4]}, page {n}", {"page": n, "book": f"b{n // 4}"}) for n in range(12)]
UNLISTED = """
  const error = document.getElementById("error");
  while (!error.textContent) await new Promise((resolve) => setTimeout(resolve, 5));
  return error.textContent;
"""

FILM = """
  const film = document.getElementById("film");
  const limit = performance.now() + 20000;
  while (performance.now() < limit && !film.error && !(film.readyState && !film.seeking && film.currentTime)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return [film.error?.message ?? null, film.getAttribute("src"), film.currentTime,
    document.getElementById("caption").textContent];
"""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    with driven(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A library of three shards, without the record r5, and with a new r7 in a fourth shard."""
    path = tmp_path / "books"
    with Library.create(path, partition_by=["book"]) as library:
        library.build(SOME, rows_per_shard=4)
        library.delete(["r5"])
        library.add(["the winglet makes less drag"], [{"page": 2**60, "book": "b1"}], ["r7"])
    return path


def asked(window: Driven, operation: str, **options: object) -> Any:
    return window.run("return memvid.engine.ask(...args)", operation, options)


def name_of(file: str) -> str:
    return file.removeprefix("shards/").removesuffix(".mp4")


def test_a_library_is_searched_and_each_hit_opens_the_video_of_its_shard(
    window: Driven, books: Path, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.mp4"
    with Memory.create(notes) as memory:
        memory.add("a note", ids="n")
    with Library.open(books) as library:
        wanted = {query: library.search(query, 50) for query in ("what lifts a wing", "양력", "heat")}
        where = {"book": "b1"}
        filtered = library.search("page", 50, where)
        before = library.past(1).search("engine", 50)
        files, shards = library.shards_of(library.ids()), library.shards()
        history = library.history()
        with library.open_shard(files["r7"]) as shard:
            frame = memory_video.frames_of(session_of(shard), ["r7"])["r7"]
    names = [each.file for each in shards]
    with served(books, notes) as address:
        window.errors()
        window.go(address)
        assert window.run(READY) == ""
        assert window.run("return memvid.names") == ["books", "notes"]
        for query, hits in wanted.items():
            shown = asked(window, "search", q=query)
            assert [(each["id"], each["score"]) for each in shown["records"]] == [(hit.id, hit.score) for hit in hits]
            for each in shown["records"]:
                assert each["shard"] == name_of(files[each["id"]])
                assert each["number"] == names.index(files[each["id"]]) + 1
            assert shown["warning"] == ""
        found = asked(window, "search", q="page", where=where)
        assert [each["id"] for each in found["records"]] == [hit.id for hit in filtered]
        found = asked(window, "search", q="engine", as_of=1)
        assert [(each["id"], each["score"]) for each in found["records"]] == [(hit.id, hit.score) for hit in before]
        found = asked(window, "records", where=where, limit=2)
        assert ([each["id"] for each in found["records"]], found["total"]) == (["r4", "r6"], 3)
        assert asked(window, "records", limit=200)["total"] == 11
        assert f'"page":{2**60}' in asked(window, "record", id="r7")["metadata"]
        assert asked(window, "record", id="r5") is None
        assert asked(window, "record", id="r5", as_of=1)["frame"] > 0
        told = [(each["number"], each["change"], each["added"], each["deleted"]) for each in asked(window, "history")]
        assert told == [(each.number, each.change, each.added, each.deleted) for each in history]
        info = asked(window, "info")
        assert [(each["shard"], each["records"], each["deleted"], each["bytes"]) for each in info["shards"]] == [
            (name_of(each.file), each.records, each.deleted, each.bytes) for each in shards
        ]

        assert window.run("return document.getElementById('film').getAttribute('src')") is None
        window.run("""
          document.getElementById("query").value = "winglet";
          document.getElementById("form").requestSubmit();
          while (document.querySelector("article .id")?.textContent !== "r7") {
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
          document.querySelector("article .frame").click();
        """)
        film = [f"memory/books/{name_of(files['r7'])}.mp4", pytest.approx((frame + 0.25) / 2)]
        assert window.run(FILM) == [None, *film, f"Shard 4 · Frame {frame} · r7"]
        assert window.run("return document.querySelector('#moment').textContent").startswith("version 3 of 3 · add · ")
        window.run("document.querySelector('#shards button').click()")
        assert name_of(names[0]) in window.run("return document.getElementById('film').src")

        window.run("location.hash = '#id=r5&as_of=1'")
        playing = window.run(
            """
          while (!document.getElementById("caption").textContent.endsWith("r5")) {
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        """
            + FILM
        )
        assert playing[:2] == [None, f"memory/books/{name_of(files['r4'])}.mp4"]
        assert playing[3].startswith("Shard 2 · Frame ")
        for width in (320, 1280):
            window.resize(width, 900)
            assert window.run("return document.documentElement.scrollWidth") <= width
        listed = window.run("return [...document.querySelectorAll('#shards li')].map((item) => item.textContent)")
        assert [text.partition(",")[0] for text in listed] == ["4 records", "2 records (−2)", "4 records", "1 record"]
        window.run("""
          const names = document.getElementById("names");
          names.value = "notes";
          names.dispatchEvent(new Event("change"));
          while (!document.getElementById("heading").textContent.startsWith("notes")) {
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        """)
        assert window.run("return document.getElementById('film').getAttribute('src')") == "memory/notes.mp4"
        assert window.run("return document.getElementById('shards').hidden")
        assert window.errors() == []


def test_only_the_shards_of_the_library_are_sent_and_only_to_the_page(
    window: Driven, books: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    with Library.create(other) as library:
        library.add("elsewhere")
        foreign = name_of(library.shards()[0].file)
    with Library.open(books) as library:
        own = name_of(library.shards()[0].file)
    shutil.copy(other / f"shards/{foreign}.mp4", books / f"shards/{foreign}.mp4")  # no version names it
    with served(books) as address:
        root, _, token = address.partition("#token=")
        for name in ("api/info?name=books", f"memory/books/{own}.mp4"):
            assert fetched(root + name)[0] == 401
            assert fetched(root + name, Cookie="memvid=wrong", Authorization=f"Bearer {token}")[0] == 401
            assert fetched(root + name, Host="evil.example")[0] == 421
            assert fetched(root + name, Origin="https://evil.example")[0] == 403
        window.go(address)
        assert window.run(READY) == ""
        paths = [own, foreign, "0" * 32, "..%2f..%2flibrary", "%2e%2e", f"{own}.mp4.index%2fcatalog", ""]
        status = window.run(
            """
          const got = [];
          for (const path of args[0]) got.push((await fetch(`memory/books/${path}.mp4`)).status);
          got.push((await fetch("memory/books.mp4")).status);
          got.push((await fetch(`memory/books/${args[0][0]}.mp4`, {headers: {Range: "bytes=4-7"}})).status);
          got.push((await fetch(`memory/books/${args[0][0]}.mp4`, {method: "POST"})).status);
          got.push((await fetch("api/search?name=books&q=wing&as_of=99")).status);
          return got;
        """,
            paths,
        )
        assert status == [200, *[404] * 6, 404, 206, 405, 400]


@pytest.mark.parametrize("damage", ["missing", "cut", "swapped"])
def test_a_shard_that_does_not_answer_is_named_beside_the_hits_of_the_others(
    window: Driven, books: Path, damage: str
) -> None:
    with Library.open(books) as library:
        first, second = (each.file for each in library.shards()[:2])
    if damage == "missing":
        (books / second).unlink()
    elif damage == "cut":
        os.truncate(books / second, 100)
    else:
        data = bytearray((books / first).read_bytes())
        os.truncate(books / second, len(data))
        (books / second).write_bytes(data)
    shutil.rmtree(books / f"{second}.index", ignore_errors=True)
    with Library.open(books) as library:
        wanted = [hit.id for hit in library.search("page", 50, partial="allow")]
    with served(books) as address:
        window.go(address)
        assert second in window.run(UNLISTED)
        found = asked(window, "search", q="page")
        assert [each["id"] for each in found["records"]] == wanted
        assert all("shard" in each for each in found["records"])
        seen = window.run("""
          document.getElementById("query").value = "page";
          document.getElementById("form").requestSubmit();
          while (!document.querySelector("article")) await new Promise((resolve) => setTimeout(resolve, 5));
          document.querySelector("article .frame").click();
          return document.getElementById("error").textContent;
        """)
        assert second in seen
        assert "1 of 4 shards with 2 records did not answer" in seen
        assert window.run(FILM)[0] is None
        name = name_of(second)
        assert window.run(f"return (await fetch('memory/books/{name}.mp4')).status") == 400


def test_new_versions_are_shown_and_merged_shards_still_play(window: Driven, books: Path) -> None:
    with served(books) as address:
        window.go(address)
        assert window.run(READY) == ""
        with Library.open(books) as library:
            library.add(HOSTILE[:2], ids=["new", HOSTILE[1]])
            library.compact()
            library.vacuum(timedelta(0))
            files = library.shards_of(library.ids())
        assert asked(window, "search", q="script")["records"][0]["id"] == "new"
        found = window.run(
            """
          const [card] = document.querySelectorAll("article");
          card.querySelector(".frame").click();
          while (!document.getElementById("caption").textContent.endsWith(card.dataset.id)) {
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        """
            + FILM
        )
        assert found[:2] == [None, f"memory/books/{name_of(files['r0'])}.mp4"]
        window.run("location.hash = '#' + new URLSearchParams({id: args[0]})", HOSTILE[1])
        told = window.run(
            """
          const caption = document.getElementById("caption");
          while (!caption.textContent.endsWith(args[0])) await new Promise((resolve) => setTimeout(resolve, 5));
          return [document.querySelectorAll("main img, main script").length, document.body.dataset.ran ?? null];
        """,
            HOSTILE[1],
        )
        assert told == [0, None]


def test_a_library_in_an_object_store_is_shown(window: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "ada",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "us-east-1",
            "MEMVID_CACHE_DIR": str(tmp_path / "cache"),
        }.items():
            monkeypatch.setenv(name, value)
        with urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/shelf", method="PUT")):
            pass
        with Library.create("s3://shelf/books") as library:
            library.build(SOME, rows_per_shard=4)
            wanted = [hit.id for hit in library.search("what lifts a wing", 50)]
            files = library.shards_of(wanted)
        with served("s3://shelf/books/", environment=dict(os.environ)) as address:
            window.go(address)
            assert window.run(READY) == ""
            found = asked(window, "search", q="what lifts a wing")["records"]
            assert [each["id"] for each in found] == wanted
            assert [each["shard"] for each in found] == [name_of(files[each]) for each in wanted]
            window.run("document.querySelector('article .frame').click()")
            assert window.run(FILM)[0] is None
    finally:
        server.stop()
