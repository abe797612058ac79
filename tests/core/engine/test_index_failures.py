"""SQLite fails at any statement, once or for longer, or its folder is deleted: right answers or named errors."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from memvid_core import Memory, StorageError
from memvid_core.system.sqlite_shared_memory import Connection

VECTORS: Final = np.random.default_rng(0).standard_normal((13, 8)).astype(np.float32)
TEXTS: Final = {f"r{i}": f"word{i} common" for i in range(12) if i != 3}


class Failing:
    """Make SQLite fail at the ``at``-th statement."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.seen, self.how, self.code = 0, 0, "once", sqlite3.SQLITE_IOERR
        self.folder = Path()
        self._broken: list[sqlite3.Connection] = []
        for name in ("execute", "executemany"):
            monkeypatch.setattr(Connection, name, self._wrapped(getattr(Connection, name)))

    def arm(self, folder: Path, at: int, how: str, code: int) -> None:
        self.folder, self.at, self.how, self.code, self.seen = folder, at, how, code, 0
        self._broken = []

    def disarm(self) -> None:
        self.at = 0

    def _wrapped(self, execute: Callable[..., sqlite3.Cursor]) -> Callable[..., sqlite3.Cursor]:
        def failing(connection: sqlite3.Connection, *arguments: Any) -> sqlite3.Cursor:
            if self.at:
                self.seen += 1
                self._fail(connection)
            return execute(connection, *arguments)

        return failing

    def _fail(self, connection: sqlite3.Connection) -> None:
        hit = self.seen == self.at
        if self.how == "deleted":
            if hit:
                shutil.rmtree(self.folder, ignore_errors=True)
            return
        if hit:
            self._broken.append(connection)
        burst = self.how == "burst" and 0 <= self.seen - self.at < 12
        if hit or burst or (self.how == "connection" and connection in self._broken):
            raise _io_error(self.code)


def _io_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


def _save(memory: Memory) -> None:
    memory.save(Path(memory.path).with_name("saved.mp4"))


def _exclusive(memory: Memory) -> None:
    with memory.exclusive():
        assert "r12" not in memory
        memory.add(["word12 common"], ids=["r12"], vectors=VECTORS[12:])


READS: Final[dict[str, tuple[Callable[[Memory], Any], Any]]] = {
    "get": (lambda memory: memory.get("r5").text, TEXTS["r5"]),
    "all": (lambda memory: {record.id: record.text for record in memory}, TEXTS),
    "dense": (lambda memory: memory.search(VECTORS[5], k=1, mode="dense")[0].id, "r5"),
    "words": (lambda memory: [hit.id for hit in memory.search("word5", mode="lexical")], ["r5"]),
    "filter": (lambda memory: memory.ids({"n": {"$lt": 5}}), ["r0", "r1", "r2", "r4"]),
    "order": (lambda memory: [r.id for r in memory.select(order_by="n", descending=True, limit=2)], ["r11", "r10"]),
    "verify": (lambda memory: memory.verify().ok, True),
    "history": (lambda memory: len(memory.history()), 4),
}
WRITES: Final[dict[str, tuple[Callable[[Memory], Any], dict[str, str]]]] = {
    "add": (
        lambda memory: memory.add("word12 common", ids="r12", vectors=VECTORS[12:]),
        {**TEXTS, "r12": "word12 common"},
    ),
    "exclusive": (_exclusive, {**TEXTS, "r12": "word12 common"}),
    "delete": (lambda memory: memory.delete(where={"n": {"$lt": 2}}), dict(list(TEXTS.items())[2:])),
    "compact": (lambda memory: memory.compact(), TEXTS),
    "save": (_save, TEXTS),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with Memory.create(folder / "m.mp4", "given") as memory:
        for start in range(0, 12, 4):
            some = range(start, start + 4)
            memory.add(
                [f"word{i} common" for i in some], [{"n": i} for i in some], [f"r{i}" for i in some], VECTORS[some]
            )
        memory.delete(["r3"])
        memory.prepare()
        memory.search("common", mode="lexical")
    return folder


def _asked(memory: Memory) -> dict[str, str]:
    """Return the texts by id, after comparing every way to ask for them."""
    texts = {record.id: record.text for record in memory}
    assert memory.ids() == list(texts)
    for record_id, text in list(texts.items())[-2:]:
        assert memory.search(VECTORS[int(record_id[1:])], k=1, mode="dense")[0].id == record_id
        assert [hit.id for hit in memory.search(text.split()[0], mode="lexical")] == [record_id]
    return texts


@pytest.mark.parametrize("how", ["once", "connection", "burst", "deleted"])
def test_a_statement_that_fails(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch, effort: Callable[[int], int], how: str
) -> None:
    failing, path, rng = Failing(monkeypatch), tmp_path / "m.mp4", random.Random(how)
    for _ in range(effort(12)):
        name = rng.choice([*READS, *WRITES])
        act, expected = READS[name] if name in READS else WRITES[name]
        at, code = rng.randint(1, 24), rng.choice([sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR_SHORT_READ])
        shutil.rmtree(tmp_path)
        shutil.copytree(made, tmp_path)
        allowed = [TEXTS] if name in READS else [TEXTS, WRITES[name][1]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            with Memory.open(path, "a", embedder="given", timeout=5) as memory:
                if rng.random() < 0.5:  # another file and index follow, which are opened while SQLite fails
                    with Memory.open(path, "a", embedder="given") as other:
                        other.compact(keep_history=True)
                failing.arm(Path(f"{path}.index"), at, how, code)
                try:
                    found = act(memory)
                except StorageError:  # not the internal IndexStaleError
                    pass
                else:
                    assert name in WRITES or found == expected, (name, at, code)
                    allowed = allowed[-1:]
                finally:
                    failing.disarm()
                assert _asked(memory) in allowed, (name, at, code)
            with Memory.open(path, embedder="given") as memory:
                assert _asked(memory) in allowed, (name, at, code)


@pytest.mark.parametrize("name", ["open", "mkdir", "listdir"])
def test_a_folder_that_is_deleted_while_it_is_opened(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Another process compacts, and deletes the index between two calls to the system."""
    call, path, left = getattr(os, name), tmp_path / "m.mp4", [0]

    def deleting(target: Any, *arguments: Any, **options: Any) -> Any:
        if "vectors" in str(target):
            left[0] -= 1
            if not left[0]:
                shutil.rmtree(f"{path}.index", ignore_errors=True)
                if name == "mkdir":  # as if the folder was still there, and then was not
                    raise FileExistsError(target)
        return call(target, *arguments, **options)

    monkeypatch.setattr(os, name, deleting)
    for at in range(1, 6):
        left[0] = 0
        shutil.rmtree(tmp_path)
        shutil.copytree(made, tmp_path)
        if name == "mkdir":
            shutil.rmtree(f"{path}.index")
        left[0] = at
        with Memory.open(path, "a", embedder="given") as memory:
            assert memory.search(VECTORS[5], k=1)[0].id == "r5"
            assert _asked(memory) == TEXTS


@pytest.mark.parametrize("mode", ["r", "a"])
@pytest.mark.parametrize("kind", ["folder", "pipe" if hasattr(os, "mkfifo") else "empty folder"])
def test_what_is_no_file_in_place_of_one_of_the_index_is_rebuilt_around(tmp_path: Path, kind: str, mode: str) -> None:
    vectors = np.random.default_rng(0).standard_normal((1_200, 8)).astype(np.float32)
    made = tmp_path / "made.mp4"
    with Memory.create(made, "given") as memory:
        memory.add([f"word{i % 7}" for i in range(1_200)], ids=list(map(str, range(1_200))), vectors=vectors)
        memory.prepare()
    folder = made.with_name("made.mp4.index")
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert {"vectors", "lexical"} <= {part for path in files for part in path.parts}
    for number, name in enumerate(files):
        path = tmp_path / f"{number}.mp4"
        shutil.copy(made, path)
        shutil.copytree(folder, f"{path}.index")
        place = Path(f"{path}.index", name)
        place.unlink()
        if kind == "pipe":
            os.mkfifo(place)
        else:
            place.mkdir()
        if kind == "folder":
            (place / "inside").write_text("another program's", encoding="utf-8")
        with warnings.catch_warnings(record=True), Memory.open(path, mode, embedder="given") as memory:
            assert memory.search(vectors[5], k=1)[0].id == "5"
            assert memory.search("word3", k=1, mode="lexical")[0].text == "word3"
            if mode == "a":
                memory.add("new", ids="new", vectors=-vectors[:1])
                assert memory.search(-vectors[0], k=1)[0].id == "new"
