"""``sync`` of a folder whose files change; after a kill, one full sync must equal a fresh build."""

from __future__ import annotations

import random
from pathlib import Path

from memvid_core import Memory
from memvid_core.ingest.sync import sync
from soak.log import Log, Tail
from soak.model import check
from soak.scenes.core import quietly, write_in_pieces

__all__ = ["Folders"]


class Folders:
    """Write three folders of text files, one for each of up to four writers, and records that no sync wrote."""

    moment = 0.06

    def __init__(self, rng: random.Random) -> None:
        self.torn = 0

    def prepare(self, folder: Path) -> None:
        """Create the memory, with one record of another origin."""
        with Memory.create(folder / "m.mp4") as memory:
            memory.add(["a note that no file holds"], ids=["note"])

    def write(self, folder: Path, log: Path, writer: int, seed: int) -> None:
        """Change files and sync, without end."""
        rng, notes, files = random.Random(seed), Log(log), folder / f"files-{writer}"
        if rng.random() < 0.4:
            write_in_pieces()
        files.mkdir(exist_ok=True)
        memory, number = quietly(folder / "m.mp4", "a", None), 0
        while True:
            number += 1
            _change(files, rng)
            notes.write("begin", writer, number, "private", {}, [])
            sync(memory, files, workers=1)
            notes.write("done", writer, number)
            if rng.random() < 0.1:
                memory.compact()

    def compare(self, folder: Path, log: Path, turn: int) -> int:
        """Sync once more and compare with a freshly built memory."""
        with quietly(folder / "m.mp4", "r", None) as memory:
            self.torn += (report := memory.verify()).torn_bytes > 0
            check(not report.damage, f"{report}")
            check(memory.get("note").text == "a note that no file holds", "sync changed a record that is not its own")
        folders = sorted(folder.glob("files-*"))
        fresh: dict[str, str] = {}
        with quietly(folder / "m.mp4", "a", None) as memory, Memory.create(":memory:") as other:
            for files in folders:
                sync(memory, files, workers=1)
                sync(other, files, workers=1)
            fresh = {record.id: record.text for record in other}
            found = {record.id: record.text for record in memory if record.id != "note"}
            check(memory.verify().ok, f"{memory.verify()}")
        check(found == fresh, f"{len(found)} chunks, and a fresh build has {len(fresh)}")
        return sum(entry[0] == "done" for entry in Tail(log).read())


def _change(files: Path, rng: random.Random) -> None:
    """Write, rewrite or delete a few files."""
    for _ in range(rng.randrange(1, 4)):
        file = files / f"{rng.randrange(12)}.txt"
        if rng.random() < 0.25:
            file.unlink(missing_ok=True)
        else:
            paragraphs = [f"paragraph {n} of {file.name}: {rng.random()} " * 20 for n in range(rng.randrange(1, 5))]
            half = file.with_suffix(".half")
            half.write_text("\n\n".join(paragraphs), encoding="utf-8")
            half.replace(file)
