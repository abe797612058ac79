"""LoadedStore: the file of a posting store as this process has loaded it, and how it follows what others write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import time_ns

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import IndexStaleError, StorageError
from memvid_core.system.sqlite_files import assert_schema, checked, create_tables, roll_back, whole
from memvid_core.words.analyzer import ANALYZER
from memvid_core.words.chunks import Chunk, PostingBlock
from memvid_core.words.posting_file import SCHEMA, State, Tail, connect, decoded, sum_of_blocks, sum_of_row

__all__ = ["LoadedStore"]


class LoadedStore:
    """The state of a posting file in RAM: the directories of its blocks, its tail, and the length of each row.

    Any number of processes may write the file. :meth:`sync` loads what they wrote; :meth:`snapshot` reads one state.

    Args:
        path: The SQLite file; None keeps the store in RAM.
        first: The first row of an empty store.
        writable: Whether the file may be created and changed.

    Attributes:
        rows: The row after the last one.

    Raises:
        IndexStaleError: If the file is damaged or was written by another version; rebuild it.
        StorageError: If it cannot be opened.
    """

    def __init__(self, path: Path | None = None, *, first: int = 0, writable: bool = True) -> None:
        self.first = self.rows = first
        self._path = path
        self._name = f"the lexical index {path or 'in RAM'}"
        self._known: State | None = None  # the state that was read last
        self._blocks: list[PostingBlock] = []
        self._tail = Tail()
        self._lengths = np.zeros(0, np.int32)  # with spare capacity
        with self._guarded():
            self._sqlite = connect(path, writable)
        try:
            self._prepare(writable)
            self.sync()
        except BaseException:
            self._sqlite.close()
            raise

    @property
    def persistent(self) -> bool:
        """Whether the store is kept in a file."""
        return self._path is not None

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens in each row from ``first`` on, (rows - first,)."""
        return self._lengths[: self.rows - self.first]

    def mark(self) -> bytes:
        """Return what tells the file from others; empty if nothing does."""
        with self._guarded():
            found = self._sqlite.execute("SELECT value FROM meta WHERE name = 'mark'").fetchone()
        return found[0] if found is not None and isinstance(found[0], bytes) else b""

    def _prepare(self, writable: bool) -> None:
        """Create the tables in an empty file. If several processes open a new file, the first one creates them."""
        if writable:
            with self._guarded(), self._transaction("BEGIN IMMEDIATE"):
                if not assert_schema(self._sqlite, SCHEMA):
                    create_tables(self._sqlite, SCHEMA)
                    state = State(time_ns(), self.first, sum_of_blocks([]), 1).encoded()
                    self._sqlite.execute("INSERT INTO meta VALUES ('analyser', ?), ('state', ?)", (ANALYZER, state))
        else:
            with self._guarded():
                if not assert_schema(self._sqlite, SCHEMA):
                    raise IndexStaleError(f"{self._name} is empty; rebuild it")
        with self._guarded():
            found = self._sqlite.execute("SELECT value FROM meta WHERE name = 'analyser'").fetchone()
        if found != (ANALYZER,):
            raise IndexStaleError(f"{self._name} was written by another analyzer than {ANALYZER!r}; rebuild it")

    def sync(self) -> bool:
        """Load what this or another process wrote since the last call; return whether there was anything."""
        known = self._known
        with self.snapshot():  # blocks, their lengths and the tail must be of one state of the file
            return self._known != known

    def _load(self) -> State:
        """Load what the file contains beyond the known state; call it inside a transaction."""
        with checked(self._name):
            [(data,)] = self._sqlite.execute("SELECT value FROM meta WHERE name = 'state'").fetchall() or [(None,)]
            state = decoded(data)
            if state == self._known:
                return state
            before, self._known = self._known, None  # after an interrupt from here on, everything is read again
            if before is None or before.blocks != state.blocks or self.rows > state.rows:
                self._load_blocks(state)
            self._load_tail(state)
            self._known = state
            return state

    def _load_blocks(self, state: State) -> None:
        stored = self._sqlite.execute("SELECT first, sum FROM blocks ORDER BY first").fetchall()
        if sum_of_blocks(stored) != state.blocks:
            raise IndexStaleError(f"the blocks of {self._name} are not those that were written; rebuild it")
        known = {(block.first, block.check): block for block in self._blocks}
        blocks = [known.get((first, check)) or self._read_block(first, check) for first, check in stored]
        row = self.first
        for block in blocks:
            if block.first != row:
                raise IndexStaleError(f"{self._name} lacks the rows from {row} on; rebuild it")
            row += block.rows
        self._blocks, self._tail = blocks, Tail()
        self._lengths = np.concatenate([np.zeros(0, np.int32), *(block.lengths for block in blocks)])
        self.rows = row

    def _read_block(self, first: int, check: int) -> PostingBlock:
        [(data,)] = self._sqlite.execute("SELECT data FROM blocks WHERE first = ?", (first,)).fetchall()
        return PostingBlock(first, data, check)

    def _load_tail(self, state: State) -> None:
        added = [
            (tokens.split(" ") if tokens else [], spellings.encode().split(b"\n") if spellings else [])
            for tokens, spellings in self._tail_rows(self.rows)
        ]
        self._add_to_tail(added)
        if self.rows != state.rows:
            raise IndexStaleError(
                f"{self._name} has {self.rows} of the {state.rows} rows that were written; rebuild it"
            )

    def _tail_rows(self, start: int) -> Iterator[tuple[str, str]]:
        """Read the rows of the tail from ``start`` on."""
        found = self._sqlite.execute(
            "SELECT row, tokens, spellings, sum FROM tail WHERE row >= ? ORDER BY row", (start,)
        )
        for number, (row, tokens, spellings, check) in enumerate(found, start):
            if row != number or sum_of_row(row, tokens, spellings) != check:
                raise IndexStaleError(f"row {number} of {self._name} is damaged; rebuild it")
            yield tokens, spellings

    def _add_to_tail(self, added: Sequence[tuple[Sequence[str], Sequence[bytes]]]) -> None:
        """Add rows to the tail in RAM."""
        used = self.rows - self.first
        if used + len(added) > len(self._lengths):
            grown = np.zeros((used + len(added)) * 5 // 4 + 64, np.int32)
            grown[:used] = self._lengths[:used]
            self._lengths = grown
        for number, (tokens, spellings) in enumerate(added):
            self._lengths[used + number] = len(tokens)
            self._tail.add(self.rows + number, tokens, spellings)
        self.rows += len(added)

    def _read(self, block: PostingBlock, number: int, column: str) -> bytes:
        found = self._sqlite.execute(
            f"SELECT {column} FROM postings WHERE number = ?", (block.base + number,)
        ).fetchone()
        return block.verified(number, int(column == "places"), None if found is None else found[0])

    def counts_of_all(self, exists: NDArray[np.bool_] | None) -> Iterator[tuple[list[str], list[int]]]:
        """Read the numbers of rows of all tokens, those of a token in one or several parts; call it in a snapshot.

        Args:
            exists: The rows that count, by row number; None for all.

        Yields:
            Tokens, and the number of rows of each.

        Raises:
            IndexStaleError: If a list is damaged.
        """
        with checked(self._name):
            for block in self._blocks:
                for number in block.list_chunks:
                    chunk = Chunk(self._read(block, number, "lists"))
                    starts = chunk.starts
                    counts = np.diff(starts)
                    if exists is not None:
                        there = exists[chunk.rows.astype(np.int64) + block.first]
                        counts = np.add.reduceat(there, starts[:-1], dtype=np.int64)
                    yield [token.decode() for token in chunk.tokens], counts.tolist()
            for token, places in self._tail.lists.items():
                yield [token], [sum(exists is None or bool(exists[row]) for row in places)]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read everything in the ``with`` block from one state of the file, after loading that state."""
        with self._guarded():
            try:
                roll_back(self._sqlite)  # an interrupt hit the end of the one before
                self._sqlite.execute("BEGIN")
                self._load()
                yield
            finally:
                roll_back(self._sqlite)

    @contextmanager
    def _transaction(self, how: str) -> Iterator[None]:
        try:
            roll_back(self._sqlite)  # an interrupt hit the end of the one before
            self._sqlite.execute(how)
            yield
            self._sqlite.execute("COMMIT")
        except BaseException:
            roll_back(self._sqlite)  # unless SQLite has done so by itself, as when the disk is full
            raise

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn SQLite's errors into IndexStaleError for damage and StorageError for the rest."""
        try:
            with whole(self._name):
                yield
        except sqlite3.Error as error:
            raise StorageError(f"{self._name} failed: {error}; the file can be deleted, and is then rebuilt") from error

    def close(self) -> None:
        """Close the file."""
        self._sqlite.close()
