"""A small memory with a history, and everything known about it; damage must not change results silently."""

from __future__ import annotations

import random
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

from memvid_core import Memory
from memvid_core.video.mp4 import PARITY_BYTES, parse_parity
from soak.model import State, put, random_change

__all__ = ["Past"]

_IDS = 16


class Past:
    """Hold records that were added, replaced and deleted in some commits.

    Attributes:
        data: The file.
        index: The index folder's files, by their path in it.
        state: What the memory holds.
        versions: Every version that was ever committed, by id.
        ends: Where each commit ends in the file, from the first.
        extents: The bytes of each commit, from the first.
        written: The number of the commit that wrote each live record.
    """

    def __init__(self, folder: Path, seed: int, *, live: bool = False, **options: Any) -> None:
        rng = random.Random(seed)
        self.path = folder / "m.mp4"
        self.given = True
        self.state: State = {}
        self.versions: dict[str, set[int]] = {}
        self.written: dict[str, int] = {}
        with Memory.create(self.path, "given", **options) as memory:
            ends = [0, memory.info().bytes]
            for number in range(1, rng.choice([3, 8, 14]) + 1):
                change = random_change(rng, self.state, _IDS, number)
                if change.put:
                    put(memory, change.put)
                else:
                    memory.delete(change.gone)
                self.state = change.apply(self.state)
                for record_id, version in change.put.items():
                    self.versions.setdefault(record_id, set()).add(version)
                    self.written[record_id] = number
                ends.append(memory.info().bytes)
            memory.search("wing", mode="lexical")  # makes the index of words
            if live:
                self.index = self._read_index()
        if not live:
            self.index = self._read_index()
        self.ends = ends[1:]
        self.extents = list(pairwise(ends))
        self.data = self.path.read_bytes()

    @property
    def _folder(self) -> Path:
        return Path(f"{self.path}.index")

    def _read_index(self) -> dict[str, bytes]:
        files = (file for file in sorted(self._folder.rglob("*")) if file.is_file())
        return {str(file.relative_to(self._folder)): file.read_bytes() for file in files}

    def restore(self, data: bytes, index: dict[str, bytes] | None) -> None:
        """Put a file and an index folder in place; without an index, the folder is deleted."""
        for item in self.path.parent.iterdir():
            if item != self.path:
                shutil.rmtree(item) if item.is_dir() else item.unlink()
        self.path.write_bytes(data)
        for name, content in (index or {}).items():
            target = self._folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def is_older(self, data: bytes) -> bool:
        """Return whether a file is this one after an earlier commit, with or without the parity of that commit."""
        size = len(data)
        return self.data.startswith(data) and (
            size in self.ends or parse_parity(self.data[size : size + PARITY_BYTES]) is not None
        )

    def uncounted(self, touched: list[tuple[int, int]]) -> set[str]:
        """Return the live records of the last consecutive damaged commits; no later commit counts these records."""
        number, hit = len(self.extents) - 1, self._hit(touched)
        while number in hit:
            number -= 1
        return {record_id for record_id in self.state if self.written[record_id] > number}

    def may_lose(self, touched: list[tuple[int, int]]) -> set[str]:
        """Return the live records whose commits have bytes in the damaged ranges."""
        hit = self._hit(touched)
        return {record_id for record_id in self.state if self.written[record_id] in hit}

    def _hit(self, touched: list[tuple[int, int]]) -> set[int]:
        """Return the numbers of the commits that have bytes in the damaged ranges."""
        return {
            number
            for number, (start, stop) in enumerate(self.extents)
            for first, last in touched
            if first < stop and last > start
        }
