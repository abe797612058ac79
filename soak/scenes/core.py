"""The core: add, replace, update, delete, clear, compact, refit, save, reopen, with the index sometimes deleted."""

from __future__ import annotations

import random
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

from memvid_core import Memory, RecordNotFoundError, TornTailWarning
from memvid_core.video import file
from soak.ledger import Ledger
from soak.log import Log, Tail
from soak.model import check, embed, metadata_of, put, text_of, versions_in
from soak.questions import ask_everything

__all__ = ["Core", "quietly", "write_in_pieces"]

_IDS, _MOST = 60, 400
_EXPECTED = {"m.mp4", "m.mp4.index", "m.mp4.lock"}


def quietly(path: Path, mode: str, embedder: object, share: float | None = None) -> Memory:
    """Open a memory whose last write may be torn by a kill."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornTailWarning)
        return Memory.open(path, mode, embedder=embedder, auto_compact=share)


def write_in_pieces() -> None:
    """Make this process write the file 512 bytes at a time, so that a kill during a write is likely."""

    def write_all(handle: BinaryIO, data: bytes) -> None:
        for at in range(0, len(data), 512):
            handle.write(data[at : at + 512])
            handle.flush()
            time.sleep(0)

    file._write_all = write_all  # type: ignore[assignment]  # for good: the process will be killed


class Operation(NamedTuple):
    """Describe a call and the ids it changes: "private" ids of this writer, "clear" all, "keep" none."""

    kind: str
    put: dict[str, int]
    gone: list[str]
    call: Callable[[Memory], object]


class Operations:
    """Make the calls of one writer; ids begin with its name, so no two writers change the same record."""

    def __init__(self, rng: random.Random, name: str, path: Path, *, learns: bool) -> None:
        self._rng, self._name, self._path = rng, name, path
        self.mine: dict[str, int] = {}
        self._choices: dict[Callable[[], Operation], int] = {
            self._add: 45,
            self._update: 10,
            self._delete: 10,
            self._delete_where: 6,
            self._replace: 6,
            self._clear: 2,
            self._compact: 9,
            self._save: 3,
        }
        if learns:
            self._choices[self._refit] = 3

    def next(self) -> Operation:
        """Return a random call that is possible now."""
        choices = self._choices if self.mine else {self._add: 1}
        made: Operation = self._rng.choices(list(choices), list(choices.values()))[0]()
        return made

    def done(self, made: Operation) -> None:
        """Record that the call has returned."""
        kept = {} if made.kind == "clear" else {i: v for i, v in self.mine.items() if i not in made.gone}
        self.mine = {**kept, **made.put}

    def _new(self, count: int) -> dict[str, int]:
        version = self._rng.randrange(1, 1 << 40)
        ids = range(_IDS, _IDS + count) if count == _MOST else (self._rng.randrange(_IDS) for _ in range(count))
        return {f"{self._name}-{number}": version for number in ids}

    def _some(self, count: int) -> list[str]:
        return self._rng.sample(list(self.mine), min(len(self.mine), count))

    def _add(self) -> Operation:
        records = self._new(self._rng.choice([1, 1, 1, 2, 40, _MOST]))  # a large one takes several writes
        return Operation("private", records, [], lambda memory: put(memory, records))

    def _update(self) -> Operation:
        (record_id,), version = self._some(1), self._rng.randrange(1, 1 << 40)
        text, metadata = text_of(record_id, version), metadata_of(record_id, version)
        call = lambda memory: memory.update(record_id, text=text, metadata=metadata)  # noqa: E731
        return Operation("private", {record_id: version}, [], call)

    def _delete(self) -> Operation:
        gone = self._some(self._rng.choice([1, 2, 10, _MOST]))
        return Operation("private", {}, gone, lambda memory: memory.delete(gone))

    def _delete_where(self) -> Operation:
        group = self._rng.randrange(10)
        gone = [i for i, v in self.mine.items() if metadata_of(i, v)["group"] == group]
        where = {"owner": self._name, "group": group}
        return Operation("private", {}, gone, lambda memory: memory.delete(where=where))

    def _replace(self) -> Operation:
        records = self._new(1)
        gone = [record_id for record_id in self._some(2) if record_id not in records]
        return Operation("private", records, gone, lambda memory: put(memory, records, delete=gone))

    def _clear(self) -> Operation:
        return Operation("clear", {}, [], lambda memory: memory.clear())

    def _compact(self) -> Operation:
        keep = self._rng.random() < 0.4
        return Operation("keep", {}, [], lambda memory: memory.compact(keep_history=keep))

    def _save(self) -> Operation:
        target = self._path.with_name(f"saved-{self._name}.mp4")
        return Operation("keep", {}, [], lambda memory: memory.save(target))

    def _refit(self) -> Operation:
        return Operation("keep", {}, [], lambda memory: memory.refit())


class Core:
    """Work on a memory with the built-in embedder, or with one that hashes texts."""

    options: ClassVar[dict[str, Any]] = {}
    moment = 0.06
    share: ClassVar[float | None] = None
    """The share of the file that a compaction by itself has to save; None: there is none."""

    def __init__(self, rng: random.Random) -> None:
        self.embedder = rng.choice([None, embed, embed])
        self.ledger = Ledger()
        self.torn = 0

    def prepare(self, folder: Path) -> None:
        """Make an empty memory."""
        Memory.create(folder / "m.mp4", self.embedder, **self.options).close()

    def write(self, folder: Path, log: Path, writer: int, seed: int) -> None:
        """Write without end."""
        rng, notes, path = random.Random(seed), Log(log), folder / "m.mp4"
        if rng.random() < 0.4:
            write_in_pieces()
        operations = Operations(rng, f"w{writer}", path, learns=self.embedder is None)
        if rng.random() < 0.1:
            shutil.rmtree(f"{path}.index", ignore_errors=True)
        memory = quietly(path, "a", self.embedder, self.share)
        operations.mine = {i: v for i, v in versions_in(memory).items() if i.startswith(f"w{writer}-")}
        number = 0
        while True:
            number += 1
            made = operations.next()
            notes.write("begin", writer, number, made.kind, made.put, made.gone)
            try:
                made.call(memory)
            except RecordNotFoundError:  # another writer's clear came first
                notes.write("refused", writer, number)
                operations.mine = {i: v for i, v in versions_in(memory).items() if i.startswith(f"w{writer}-")}
                continue
            notes.write("done", writer, number)
            operations.done(made)
            self.disturb(memory, rng)
            if rng.random() < 0.04:
                memory.close()
                if rng.random() < 0.3:
                    shutil.rmtree(f"{path}.index", ignore_errors=True)
                memory = quietly(path, "a", self.embedder, self.share)

    def disturb(self, memory: Memory, rng: random.Random) -> None:
        """Do more than a writer does, after each of its calls."""

    def compare(self, folder: Path, log: Path, turn: int) -> int:
        """Check it as a reader, then as a writer that commits once more; no leftovers may remain."""
        path, before = folder / "m.mp4", self.ledger.acknowledged
        self.ledger.take(Tail(log).read())
        with quietly(path, "r", self.embedder) as memory:
            found = versions_in(memory)
            report = memory.verify()
        self.torn += report.torn_bytes > 0
        check(not report.damage, f"{report}")
        self.ledger.compare(found)
        with quietly(path, "a", self.embedder) as memory:
            put(memory, {"after-0": turn + 1})
            check(memory.verify().ok, f"after the next commit: {memory.verify()}")
            found = {**{i: v for i, v in found.items() if i != "after-0"}, "after-0": turn + 1}
            check(versions_in(memory) == found, "the next commit changed other records")
            if turn % 5 == 4:
                ask_everything(memory, found, given=self.embedder is not None, sample=20)
        self.ledger.take([["begin", -1, 0, "private", {"after-0": turn + 1}, []], ["done", -1, 0]])
        self.ledger.compare(found)
        left = {item.name for item in folder.iterdir() if item.name.startswith("m.mp4")} - _EXPECTED
        left = {name for name in left if not name.startswith("m.mp4.torn-")}  # copies of writes that never finished
        check(not left, f"left behind: {left}")
        for saved in folder.glob("saved-*.mp4"):
            with Memory.open(saved, embedder=self.embedder) as memory:
                versions_in(memory)
                check(memory.verify().ok, f"{saved.name}: {memory.verify()}")
        return self.ledger.acknowledged - before
