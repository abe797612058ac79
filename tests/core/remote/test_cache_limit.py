"""The cache of remote memories keeps its limit: what was not used for longest goes first, and nothing that is open."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from memvid_core import InvalidInputError, Memory
from memvid_core.system.remote_cache import cache_limit, cached_copies, shrink_cache
from tests.core.cli.running import memvid
from tests.core.remote.web import Web
from tests.processes import start

Look = Callable[[Memory], int]


@pytest.fixture
def web(root: Path, published: Path) -> Web:
    for name in "abcd":
        shutil.copy(published, root / f"{name}.mp4")
    return Web(root)


def names() -> set[str]:
    return {copy.url.rpartition("/")[2] for copy in cached_copies()}


def fetched(web: Web, name: str, age: int) -> int:
    """Fetch a memory, and let its copy look as if it was last used ``age`` hours ago; return the bytes of the copy."""
    Memory.open(web.url(name)).close()
    (copy,) = (copy for copy in cached_copies() if copy.url == web.url(name))
    then = copy.used.timestamp() - 3600 * age
    for path in copy.folder.iterdir():
        os.utime(path, (then, then))
    return copy.bytes


def limit_to(monkeypatch: pytest.MonkeyPatch, size: object) -> None:
    monkeypatch.setenv("MEMVID_CACHE_LIMIT", str(size))


def test_what_was_not_used_for_longest_goes_first(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    with web:
        size = max(fetched(web, f"{name}.mp4", age) for name, age in (("a", 3), ("b", 2), ("c", 1)))
        limit_to(monkeypatch, 3 * size + size // 2)
        Memory.open(web.url("d.mp4")).close()
        assert names() == {"b.mp4", "c.mp4", "d.mp4"}
        fetched(web, "d.mp4", 4)
        Memory.open(web.url("b.mp4")).close()  # is used, and fetches nothing
        assert names() == {"b.mp4", "c.mp4", "d.mp4"}
        Memory.open(web.url("a.mp4")).close()
        assert names() == {"a.mp4", "b.mp4", "c.mp4"}
        web.forget()
        Memory.open(web.url("d.mp4")).close()
        assert web.total > size // 4  # it was fetched again


def test_a_copy_that_is_open_in_any_process_stays(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    holds = (
        "import sys; from memvid_core import Memory; m = Memory.open(sys.argv[1]); print(len(m), flush=True);"
        "sys.stdin.read(); print(m.search('engine', k=1)[0].id)"
    )
    with web, Memory.open(web.url("a.mp4")) as memory:
        with start(holds, web.url("b.mp4")) as other:
            assert other.stdout.readline().strip() == "38"
            fetched(web, "c.mp4", 1)
            limit_to(monkeypatch, 0)
            Memory.open(web.url("d.mp4")).close()
            assert names() == {"a.mp4", "b.mp4", "d.mp4"}
            assert memory.search("engine", k=1)[0].id == "hum"
            assert other.communicate("")[0].strip() == "hum"
        assert [copy.url for copy in shrink_cache()] == [web.url("d.mp4"), web.url("b.mp4")]
    assert names() == {"a.mp4"}


def test_the_index_that_is_made_after_the_fetch_counts(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    with web:
        limit_to(monkeypatch, fetched(web, "a.mp4", 1) + (web.root / "b.mp4").stat().st_size + 10_000)
        with Memory.open(web.url("b.mp4")) as memory:
            memory.search("engine", k=1)
            assert names() == {"a.mp4", "b.mp4"}
        assert names() == {"b.mp4"}


def test_new_commits_of_a_copy_count(web: Web, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    with web:
        size = fetched(web, "a.mp4", 2) + fetched(web, "b.mp4", 1)
        limit_to(monkeypatch, size + 10_000)
        with Memory.open(web.url("b.mp4")) as memory:
            with Memory.open(web.root / "b.mp4", "a") as writer:
                writer.add([os.urandom(20_000).hex()])
            assert look(memory) == 39
        assert names() == {"b.mp4"}


def test_two_processes_do_not_both_make_room(web: Web, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrinks = "from memvid_core.system.remote_cache import shrink_cache; print(len(shrink_cache()))"
    with web:
        for name in "abcd":
            fetched(web, f"{name}.mp4", 1)
        limit_to(monkeypatch, sum(copy.bytes for copy in cached_copies()) // 2)
        running = [start(shrinks) for _ in range(3)]
        assert sum(int(process.communicate()[0]) for process in running) == 2
        assert len(names()) == 2


@pytest.mark.parametrize(
    ("given", "bytes_"),
    [
        ("", 10 * 10**9),
        ("20GB", 20 * 10**9),
        ("1.5 tb", 1_500 * 10**9),
        ("500M", 500 * 10**6),
        ("7", 7),
        ("none", None),
    ],
)
def test_the_limit_is_a_size(given: str, bytes_: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_to(monkeypatch, given)
    assert cache_limit() == bytes_


@pytest.mark.parametrize("given", ["-1", "much", "1 PB", "nan", "1e9", "١GB"])
def test_another_limit_is_refused_before_anything_is_fetched(
    given: str, web: Web, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(monkeypatch, given)
    with web:
        with pytest.raises(InvalidInputError, match="MEMVID_CACHE_LIMIT"):
            Memory.open(web.url("a.mp4"))
        assert web.requests == 0
    done = memvid("cache")
    assert done.code == 2
    assert "MEMVID_CACHE_LIMIT" in done.err


def test_no_limit_deletes_nothing(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_to(monkeypatch, "none")
    with web:
        fetched(web, "a.mp4", 1000)
        Memory.open(web.url("b.mp4")).close()
    assert shrink_cache() == []
    assert names() == {"a.mp4", "b.mp4"}
    assert memvid("cache").out.splitlines()[-1].endswith("; limit none")


def test_the_command_shows_the_limit(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    with web:
        size = fetched(web, "a.mp4", 1)
        assert memvid("cache").out.splitlines()[-1].endswith("; limit 10.0 GB")
        limit_to(monkeypatch, "2MB")
        done = memvid("cache", "--json")
        found = json.loads(done.out)
        assert (found["limit"], [copy["bytes"] for copy in found["copies"]]) == (2_000_000, [size])
