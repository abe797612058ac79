"""The file of the words stays or comes back without the rest of its index: it answers for no other state or memory."""

from __future__ import annotations

import gc
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from weakref import ref

import pytest

from memvid_core import Memory
from tests.core.embedders import embed

WORDS = Path("lexical", "lexical.sqlite")


def made(path: Path, topic: str) -> None:
    """A memory with an index of words."""
    with Memory.create(path, embed) as memory:
        memory.add([f"{topic} {n}" for n in range(12)], ids=[f"{topic}{n}" for n in range(12)])
        memory.search(topic, mode="lexical")


def with_more(path: Path, topic: str) -> None:
    """More records, whose words are indexed when they are committed."""
    with Memory.open(path, "a", embedder=embed) as memory:
        memory.add([f"{topic} {n}" for n in range(3)], ids=[f"{topic}{n}" for n in range(3)])


def copied(source: Path, name: str) -> Path:
    """A copy of a memory with its index."""
    target = source.with_name(name)
    shutil.copy2(source, target)
    shutil.copytree(f"{source}.index", f"{target}.index")
    return target


def folder_of(path: Path) -> Path:
    """The folder of the index."""
    [found] = [one for one in Path(f"{path}.index").iterdir() if one.is_dir()]
    return found


def state_of(path: Path) -> bytes:
    """The state of the file of the words, whose revision begins anew when it is made again."""
    with closing(sqlite3.connect(folder_of(path) / WORDS)) as sqlite:
        found: bytes = sqlite.execute("SELECT value FROM meta WHERE name = 'state'").fetchone()[0]
        return found


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory, its later state, one of a copy that went another way, and another memory."""
    folder = tmp_path_factory.mktemp("states")
    made(folder / "before", "wing")
    for name, topic in (("after", "engine"), ("aside", "shock")):
        with_more(copied(folder / "before", name), topic)
    made(folder / "other", "heat")
    return folder


@pytest.mark.parametrize("rest", ["deleted", "kept"])
@pytest.mark.parametrize(
    ("state", "words"), [("before", "after"), ("after", "aside"), ("after", "other"), ("after", "before")]
)
def test_words_of_another_state_are_not_searched(
    states: Path, tmp_path: Path, state: str, words: str, rest: str
) -> None:
    path = tmp_path / "m.mp4"
    shutil.copy2(states / state, path)
    folder = Path(f"{path}.index", folder_of(states / state).name)
    if rest == "kept":
        shutil.copytree(folder_of(states / state), folder)
    (folder / WORDS).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(folder_of(states / words) / WORDS, folder / WORDS)
    with_more(path, "boundary")
    with Memory.open(path, embedder=embed) as memory:
        for topic in ("wing", "engine", "shock", "heat", "boundary"):
            wanted = [record.id for record in memory if record.text.startswith(topic)]
            assert sorted(hit.id for hit in memory.search(topic, 20, mode="lexical")) == sorted(wanted)


def test_a_compaction_takes_no_words_of_another_state_along(states: Path) -> None:
    path = copied(states / "after", "compacted")
    shutil.copy2(folder_of(states / "aside") / WORDS, folder_of(path) / WORDS)
    with Memory.open(path, "a", embedder=embed) as memory:
        memory.compact()
    with Memory.open(path, embedder=embed) as memory:
        assert not memory.search("shock", mode="lexical")
        assert sorted(hit.id for hit in memory.search("engine", mode="lexical")) == ["engine0", "engine1", "engine2"]


def test_words_of_rows_after_the_recorded_commit_are_not_searched(states: Path) -> None:
    """A version that recorded no commit has added them."""
    path = copied(states / "before", "added")
    words = folder_of(path) / WORDS
    with closing(sqlite3.connect(words)) as sqlite:
        mark = sqlite.execute("SELECT value FROM meta WHERE name = 'mark'").fetchone()
    shutil.copy2(folder_of(states / "after") / WORDS, words)
    with closing(sqlite3.connect(words)) as sqlite, sqlite:
        sqlite.execute("UPDATE meta SET value = ? WHERE name = 'mark'", mark)
    with Memory.open(path, "a", embedder=embed) as memory:
        assert len(memory.search("wing", 20, mode="lexical")) == 12
        memory.add([f"boundary {n}" for n in range(3)])
        assert not memory.search("engine", mode="lexical")
        assert len(memory.search("boundary", mode="lexical")) == 3


def test_words_are_trusted_again_after_each_way_in_which_they_are_written(states: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    shutil.copy2(states / "before", path)
    shutil.copytree(f"{states / 'before'}.index", f"{path}.index")
    for step in ("kept", "searched", "deleted", "compacted"):
        with Memory.open(path, "a", embedder=embed) as memory:
            if step == "kept":
                memory.add(["engine one"])
            elif step == "searched":
                memory.add([f"shock {n}" for n in range(1_100)])  # too many to be indexed when they are committed
                memory.search("shock", mode="lexical")
            elif step == "deleted":
                memory.delete(["wing1"])
            else:
                memory.compact()
        before = state_of(path)
        with Memory.open(path, embedder=embed) as memory:
            memory.search("engine", mode="lexical")
        assert (step, state_of(path)) == (step, before)


def test_an_index_goes_with_its_memory_and_does_not_wait_for_the_collector(tmp_path: Path) -> None:
    """Otherwise files of a memory that nobody closed stay open."""
    memory = Memory.create(tmp_path / "m.mp4", embed)
    memory.add(["one"])
    memory.search("one", mode="lexical")
    index = ref(memory._indexed.index)
    gc.disable()
    try:
        memory.close()
        del memory
        assert index() is None
    finally:
        gc.enable()
