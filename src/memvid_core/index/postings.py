"""Where posting lists are kept: blocks of rows in one SQLite file, and a tail of small commits that grows into a block.

A *posting list* says in which rows a token occurs, how often, and at which places. Lists are kept per block, a range of
at most 65,536 rows, so that a row takes two bytes; inside a block they lie in the order of the tokens, so that a prefix
is a range. A commit of a few rows only writes those rows' tokens to the tail; eight blocks of about one size are merged
into one, up to a size that takes well under a second, so a token is rewritten a few times in its life (log-structured
merge: O'Neil et al., 1996). SQLite brings what such a file needs: atomic changes, snapshots for readers in other
processes, and an open that reads next to nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from time import time_ns
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import StorageError
from memvid_core.index import wal
from memvid_core.index.block import (
    BLOCK_ROWS,
    INSERT_BLOCK,
    INSERT_LIST,
    INSERT_SPELLING,
    LAST_PLACE,
    MAX_COUNT,
    SCHEMA,
    BlockBuilder,
)
from memvid_core.index.tokens import ANALYSER, analyse, inflected, words

__all__ = ["PLACE_BITS", "Matches", "PostingStore"]

TAIL_ROWS: Final = 1 << 9
TAIL_TOKENS: Final = 1 << 14
"""The tail becomes a block at this many rows or tokens: what an open has to read."""

MERGE_COUNT: Final = 8
MERGE_TOKENS: Final = 1 << 20
"""Blocks are merged so many at a time, those of less than so many tokens."""

PLACE_BITS: Final = 17  # one more than a place takes, so that a phrase never reaches into the next row

_BUSY_SECONDS: Final = 300  # another process may be indexing a large batch

_BLOCKS: Final = "SELECT first, rows, tokens FROM blocks ORDER BY first"
_TABLES: Final = ("meta", "blocks", "postings", "spellings", "tail")


class Matches(NamedTuple):
    """Where something occurs: rows (int64, ascending, each once) and how often in each (float32)."""

    rows: NDArray[np.int64]
    counts: NDArray[np.float32]


class _Block(NamedTuple):
    first: int
    rows: int
    tokens: int

    @property
    def tier(self) -> int:
        """Its size on the scale of merges; 2 and up stay as they are. Rows count too, for they must fit a block."""
        size = max(self.tokens, self.rows * MERGE_TOKENS * MERGE_COUNT // BLOCK_ROWS)
        return 2 if size >= MERGE_TOKENS else int(size >= MERGE_TOKENS // MERGE_COUNT)


class PostingStore:
    """The posting lists of a range of rows, in a file or in RAM.

    Args:
        path: The SQLite file; in RAM without one.
        first: The first row of an empty store.
        writable: Whether the file may be created and changed. One that cannot serve (of another analyser) is then
            emptied, so that its rows are asked for again.

    Attributes:
        rows: The row after the last.
        lengths: Tokens in each row from ``first`` on, (rows - first,), int32.

    Raises:
        StorageError: If the file cannot be opened, is damaged, or is of another analyser and not writable.
    """

    def __init__(self, path: Path | None = None, *, first: int = 0, writable: bool = True) -> None:
        self.first = self.rows = first
        self.lengths: NDArray[np.int32] = np.zeros(0, np.int32)
        self._path = path
        self._generation = -1
        self._blocks: dict[_Block, NDArray[np.int32]] = {}
        self._tail: dict[str, dict[int, list[int]]] = {}
        self._tail_size = (0, 0)
        self._sqlite = _connect(path, writable)
        try:
            with self._guarded():
                self._prepare(writable)
                self.sync()
        except BaseException:
            self._sqlite.close()
            raise

    @property
    def persistent(self) -> bool:
        """Whether it lies in a file."""
        return self._path is not None

    def _prepare(self, writable: bool) -> None:
        """Make the tables if they are not there, or of another analyser; of several that want to, the first does."""
        if self._analyser() == ANALYSER:
            return
        if not writable:
            raise StorageError(f"the lexical index {self._path} is not of analyser {ANALYSER!r}")
        with self._change():
            if self._analyser() == ANALYSER:  # another process made them while this one waited
                return
            for table in _TABLES:
                self._sqlite.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in SCHEMA.split(";"):
                self._sqlite.execute(statement)
            self._sqlite.execute("INSERT INTO meta VALUES ('analyser', ?), ('generation', ?)", (ANALYSER, time_ns()))

    def _analyser(self) -> object:
        """Return the analyser that the tables were made by, or None where there are none."""
        try:
            found = self._sqlite.execute("SELECT value FROM meta WHERE name = 'analyser'").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return None
        return None if found is None else found[0]

    def sync(self) -> bool:
        """Pick up what was written since, by this or another process; tells whether there was anything."""
        if self._sqlite.in_transaction:
            return self._take_in()
        known = self._generation
        with self.snapshot():  # blocks, their lengths and the tail must be of one state of the file
            return self._generation != known

    def _take_in(self) -> bool:
        [(generation,)] = self._sqlite.execute("SELECT value FROM meta WHERE name = 'generation'").fetchall()
        if generation == self._generation:
            return False
        blocks: dict[_Block, NDArray[np.int32]] = {}
        for row in self._sqlite.execute(_BLOCKS):
            block = _Block(*row)
            known = self._blocks.get(block)
            blocks[block] = self._lengths_of(block) if known is None else known
        last = next(reversed(blocks), None)
        self._blocks, self._tail, self._tail_size = blocks, {}, (0, 0)
        self.lengths = np.concatenate([np.zeros(0, np.int32), *blocks.values()])
        self.rows = self.first if last is None else last.first + last.rows
        tail = self._sqlite.execute("SELECT tokens FROM tail ORDER BY row").fetchall()
        self._remember([tokens.split(" ") if tokens else [] for (tokens,) in tail])
        self._generation = generation
        return True

    def _lengths_of(self, block: _Block) -> NDArray[np.int32]:
        [(blob,)] = self._sqlite.execute("SELECT lengths FROM blocks WHERE first = ?", (block.first,)).fetchall()
        return np.frombuffer(blob, "<i4").astype(np.int32)

    def _remember(self, rows: Sequence[Sequence[str]]) -> None:
        """Take rows into the tail in RAM."""
        for tokens in rows:
            for place, token in enumerate(tokens):
                self._tail.setdefault(token, {}).setdefault(self.rows, []).append(place)
            self.rows += 1
        lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        self.lengths = np.concatenate([self.lengths, lengths])
        self._tail_size = (self._tail_size[0] + len(rows), self._tail_size[1] + int(lengths.sum()))

    def append(self, first_row: int, texts: Sequence[str]) -> None:
        """Index the texts of rows from ``first_row`` on, all or none of them; rows that are there are passed over."""
        with self._change():
            self.sync()  # another process may have written the same rows meanwhile
            if self.rows < first_row:
                raise StorageError(
                    f"the lexical index {self._path or 'in RAM'} ends at row {self.rows}, before row {first_row}: "
                    "another process began it anew; feed it from there"
                )
            texts = texts[self.rows - first_row :]
            tail = self._tokens_for_tail(texts)
            if tail is None:
                self._append_blocks(texts)
                self._merge()
            else:
                rows = ((self.rows + number, " ".join(tokens)) for number, tokens in enumerate(tail))
                self._sqlite.executemany("INSERT INTO tail VALUES (?, ?)", rows)
        if tail is None:
            self.sync()
        else:
            self._generation += 1  # nothing else has changed, so there is nothing to read again
            self._remember(tail)

    def _tokens_for_tail(self, texts: Sequence[str]) -> list[list[str]] | None:
        """Analyse the texts if the tail may take them, and note their spellings."""
        rows, tokens = self._tail_size
        if rows + len(texts) >= TAIL_ROWS or sum(map(len, texts)) >= 8 * TAIL_TOKENS:
            return None
        spelt = [words(text) for text in texts]
        analysed = [[token for word in row for token in analyse(word)] for row in spelt]
        if tokens + sum(map(len, analysed)) >= TAIL_TOKENS:
            return None
        self._sqlite.executemany(INSERT_SPELLING, chain.from_iterable(map(inflected, {*chain.from_iterable(spelt)})))
        return analysed

    def _append_blocks(self, texts: Sequence[str]) -> None:
        """Write the tail and the texts as blocks."""
        tail = self._sqlite.execute("SELECT tokens FROM tail ORDER BY row").fetchall()
        self._sqlite.execute("DELETE FROM tail")
        builder = BlockBuilder(self.rows - len(tail))
        for (tokens,) in tail:
            builder.add_tokens(tokens.split(" ") if tokens else [])
        for text in texts:
            if builder.full:
                builder.write(self._sqlite)
                builder = BlockBuilder(builder.first + len(builder.lengths))
            builder.add_text(text)
        builder.write(self._sqlite)

    def _merge(self) -> None:
        """Merge the last blocks while there are enough of one size."""
        while True:
            blocks = [_Block(*row) for row in self._sqlite.execute(_BLOCKS)]
            tiers = [block.tier for block in blocks]
            small = next((n for n, tier in enumerate(reversed(tiers)) if tier > 1), len(tiers))
            alike = small >= MERGE_COUNT and len(set(tiers[-MERGE_COUNT:])) == 1
            if not alike and small < 4 * MERGE_COUNT:
                return
            self._merge_blocks(blocks[-MERGE_COUNT:])

    def _merge_blocks(self, blocks: list[_Block]) -> None:
        first, span = blocks[0].first, (blocks[0].first, blocks[-1].first)
        shifts = {block.first: np.uint16(block.first - first) for block in blocks}
        columns = "token, first, rows, counts, places"
        lists = self._sqlite.execute(
            f"SELECT {columns} FROM postings WHERE first BETWEEN ? AND ? ORDER BY token, first", span
        )
        merged = []
        for token, group in groupby(lists, key=itemgetter(0)):
            parts = [((np.frombuffer(r, "<u2") + shifts[f]).astype("<u2").tobytes(), c, p) for _, f, r, c, p in group]
            rows, counts, places = zip(*parts, strict=True)
            merged.append((first, token, b"".join(rows), b"".join(counts), b"".join(places)))
        lengths = b"".join(self._lengths_of(block).astype("<i4").tobytes() for block in blocks)
        self._sqlite.execute("DELETE FROM postings WHERE first BETWEEN ? AND ?", span)
        self._sqlite.execute("DELETE FROM blocks WHERE first BETWEEN ? AND ?", span)
        self._sqlite.executemany(INSERT_LIST, merged)
        size = (first, sum(block.rows for block in blocks), sum(block.tokens for block in blocks))
        self._sqlite.execute(INSERT_BLOCK, (*size, lengths))

    def frequency(self, token: str, *, limit: int) -> int:
        """Count the rows that have a token, without reading its lists."""
        counts: Iterator[int] = (count for _, count in self._lists(token, "length(p.counts)", limit))
        return sum(counts) + sum(map(len, self._tail_lists(token)))

    def find(self, token: str, *, limit: int) -> tuple[Matches, int]:
        """Find where a token occurs, or with a ``*`` at its end, every token that begins so.

        Args:
            token: What to find.
            limit: The most lists to read.

        Returns:
            Where it occurs, and how many lists were read.
        """
        rows: list[NDArray[np.int64]] = []
        counts: list[NDArray[np.uint8]] = []
        for first, row_blob, count_blob in self._lists(token, "p.rows, p.counts", limit):
            rows.append(np.frombuffer(row_blob, "<u2").astype(np.int64) + first)
            counts.append(np.frombuffer(count_blob, np.uint8))
        for places in self._tail_lists(token):
            rows.append(np.fromiter(places, np.int64, len(places)))
            counts.append(np.fromiter((min(len(p), MAX_COUNT) for p in places.values()), np.uint8, len(places)))
        if not rows:
            return Matches(np.zeros(0, np.int64), np.zeros(0, np.float32)), 0
        found, often = np.concatenate(rows), np.concatenate(counts).astype(np.float32)
        if token[-1] == "*":
            sums = np.bincount(found - self.first, weights=often, minlength=0)
            found = np.flatnonzero(sums)
            return Matches(found + self.first, sums[found].astype(np.float32)), len(rows)
        return Matches(found, often), len(rows)

    def places(self, token: str, *, limit: int) -> tuple[NDArray[np.int64], int]:
        """Find every place of a token (or of what begins with it): ``row << PLACE_BITS | place``, ascending.

        Args:
            token: What to find.
            limit: The most lists to read.

        Returns:
            The places, and how many lists were read.
        """
        keys: list[NDArray[np.int64]] = []
        for first, row_blob, count_blob, place_blob in self._lists(token, "p.rows, p.counts, p.places", limit):
            rows = np.frombuffer(row_blob, "<u2").astype(np.int64) + first
            repeated = np.repeat(rows, np.frombuffer(count_blob, np.uint8))
            keys.append(repeated << PLACE_BITS | np.frombuffer(place_blob, "<u2"))
        for tail in self._tail_lists(token):
            pairs = ((row << PLACE_BITS, place) for row, places in tail.items() for place in places[:MAX_COUNT])
            keys.append(np.fromiter((row | min(place, LAST_PLACE) for row, place in pairs), np.int64))
        joined = np.concatenate([np.zeros(0, np.int64), *keys])
        return np.unique(joined) if token[-1] == "*" else joined, len(keys)

    def _lists(self, token: str, columns: str, limit: int) -> Iterator[Any]:
        """Read (first row of the block, columns) of every list of a token or of what begins so."""
        source = "blocks AS b CROSS JOIN postings AS p ON p.first = b.first"  # CROSS: one look-up a block
        exact = f"SELECT b.first, {columns} FROM {source} AND p.token = ? LIMIT ?"
        if token[-1] != "*":
            return self._sqlite.execute(exact, (token, limit))
        bounds = (token[:-1], token[:-1] + "\U0010ffff")
        within = f"SELECT b.first, {columns} FROM {source} AND p.token >= ? AND p.token < ? LIMIT ?"
        ranges = self._sqlite.execute(within, (*bounds, limit))
        stems = chain.from_iterable(self._sqlite.execute(exact, (other, limit)) for other in self._stems(token[:-1]))
        return islice(chain(ranges, stems), limit)

    def _stems(self, prefix: str) -> list[str]:
        """Find the tokens of the words that begin so, where stemming took the beginning away."""
        bounds = (prefix, prefix + "\U0010ffff")
        found = self._sqlite.execute("SELECT DISTINCT token FROM spellings WHERE word >= ? AND word < ?", bounds)
        return [token for (token,) in found if not token.startswith(prefix)]

    def _tail_lists(self, token: str) -> list[dict[int, list[int]]]:
        if token[-1] != "*":
            return [self._tail[token]] if token in self._tail else []
        prefix = token[:-1]
        stems = [self._tail[other] for other in self._stems(prefix) if other in self._tail]
        return [*stems, *(places for known, places in self._tail.items() if known.startswith(prefix))]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read everything in the block from one state of the file, and be up to date with it."""
        with self._guarded():
            try:
                self._begin("BEGIN")
                self._take_in()
                yield
            finally:
                if self._sqlite.in_transaction:
                    self._sqlite.execute("ROLLBACK")

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._guarded():
            try:
                self._begin("BEGIN IMMEDIATE")
                yield
                self._sqlite.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'")
                self._sqlite.execute("COMMIT")
            except BaseException:
                if self._sqlite.in_transaction:  # SQLite may have rolled back by itself, as when the disk is full
                    self._sqlite.execute("ROLLBACK")
                raise

    def _begin(self, how: str) -> None:
        if self._sqlite.in_transaction:  # an interrupt hit the end of the one before
            self._sqlite.execute("ROLLBACK")
        self._sqlite.execute(how)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(
                f"the lexical index {self._path or 'in RAM'} failed: {error}; it can be deleted, and is then rebuilt"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._sqlite.close()


def _connect(path: Path | None, writable: bool) -> sqlite3.Connection:
    if path is None:
        return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        if writable:
            sqlite = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
            # A power cut may undo the last commits, never damage the file: rows then tell what is missing.
            wal.turn_on(sqlite, _BUSY_SECONDS)
            for pragma in ("synchronous = NORMAL", "journal_size_limit = 4194304"):
                sqlite.execute(f"PRAGMA {pragma}")
        else:
            sqlite = _connect_reader(path)
        sqlite.execute("PRAGMA mmap_size = 1073741824")
    except sqlite3.Error as error:
        raise StorageError(f"cannot open the lexical index {path}: {error}") from error
    return sqlite


def _connect_reader(path: Path) -> sqlite3.Connection:
    """Open for reading; as immutable where the folder is read-only too, for then nobody writes."""
    uri = path.resolve().as_uri()
    for mode in ("mode=ro", "immutable=1"):
        sqlite = sqlite3.connect(f"{uri}?{mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            sqlite.execute("SELECT 1 FROM sqlite_schema").fetchall()
        except sqlite3.OperationalError as error:
            sqlite.close()
            failure = error
        else:
            return sqlite
    raise failure
