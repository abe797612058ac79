"""Where posting lists are kept: blocks of rows in one SQLite file, and a tail of small commits that grows into a block.

A *posting list* says in which rows a token occurs, how often, and at which places. Lists are kept per block, a range of
at most 65,536 rows, so that a row takes two bytes; inside a block they lie in the order of the tokens, so that a prefix
is a range (:mod:`memvid_core.index.words.chunks`). A commit of a few rows only writes those rows' tokens to the tail;
eight blocks of about one size are merged into one, up to a size that takes well under a second, so a token is written
a few times in its life (log-structured merge: O'Neil et al., 1996). SQLite brings what such a file needs: atomic
changes, snapshots for readers in other processes, and an open that reads next to nothing.

Any number of processes feed and read one file. Whatever a change depends on is read inside the transaction that makes
it. Everything in the file has a checksum: chunks in the directory of their block, directories in the state, rows of the
tail beside them. So what is not as it was written is told, and never answered from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from time import time_ns
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import StorageError
from memvid_core.index.database import assert_schema, checked, create_tables, roll_back, whole
from memvid_core.index.stale import IndexStaleError
from memvid_core.index.words.analyzer import ANALYSER, words
from memvid_core.index.words.chunks import Block, Chunk, Directory, Lists, checksum, cut, cut_spellings, joined
from memvid_core.index.words.posting_block import BLOCK_ROWS, LAST_PLACE, MAX_COUNT, BlockBuilder, Memo
from memvid_core.index.words.posting_file import (
    SCHEMA,
    State,
    Tail,
    connect,
    decoded,
    sum_of_blocks,
    sum_of_row,
)

__all__ = ["PLACE_BITS", "Matches", "PostingStore"]

TAIL_ROWS: Final = 1 << 9
TAIL_TOKENS: Final = 1 << 14
"""The tail becomes a block at this many rows or tokens: what an open has to read."""

MERGE_COUNT: Final = 8
MERGE_TOKENS: Final = 1 << 20
"""Blocks are merged so many at a time, those of less than so many tokens."""

PLACE_BITS: Final = 17  # one more than a place takes, so that a phrase never reaches into the next row

_LAST: Final = b"\xf4\x8f\xbf\xbf"  # the last character there is


class Matches(NamedTuple):
    """Where something occurs: rows (int64, ascending, each once) and how often in each (float32)."""

    rows: NDArray[np.int64]
    counts: NDArray[np.float32]


def _tier(block: Block) -> int:
    """Its size on the scale of merges; 2 and up stay as they are. Rows count too, for they must fit a block."""
    size = max(block.tokens, block.rows * MERGE_TOKENS * MERGE_COUNT // BLOCK_ROWS)
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

    Raises:
        IndexStaleError: If the file is damaged, or of another version: it has to be made anew.
        StorageError: If it cannot be opened.
    """

    def __init__(self, path: Path | None = None, *, first: int = 0, writable: bool = True) -> None:
        self.first = self.rows = first
        self._path = path
        self._name = f"the lexical index {path or 'in RAM'}"
        self._known: State | None = None  # what the file said when it was read last
        self._blocks: list[Block] = []
        self._tail = Tail()
        self._lengths = np.zeros(0, np.int32)  # with room to grow
        self._memo: Memo | None = None
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
        """Whether it lies in a file."""
        return self._path is not None

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens in each row from ``first`` on, (rows - first,)."""
        return self._lengths[: self.rows - self.first]

    def _prepare(self, writable: bool) -> None:
        """Make the tables in an empty file. Of several processes that open a new one, the first does."""
        if writable:
            with self._guarded(), self._transaction("BEGIN IMMEDIATE"):
                if not assert_schema(self._sqlite, SCHEMA):
                    create_tables(self._sqlite, SCHEMA)
                    state = State(time_ns(), self.first, sum_of_blocks([]), 1).encoded()
                    self._sqlite.execute("INSERT INTO meta VALUES ('analyser', ?), ('state', ?)", (ANALYSER, state))
        else:
            with self._guarded():
                if not assert_schema(self._sqlite, SCHEMA):
                    raise IndexStaleError(f"{self._name} is empty")
        with self._guarded():
            found = self._sqlite.execute("SELECT value FROM meta WHERE name = 'analyser'").fetchone()
        if found != (ANALYSER,):
            raise IndexStaleError(f"{self._name} is of another analyser than {ANALYSER!r}")

    def sync(self) -> bool:
        """Pick up what was written since, by this or another process; tells whether there was anything."""
        known = self._known
        with self.snapshot():  # blocks, their lengths and the tail must be of one state of the file
            return self._known != known

    def _take_in(self) -> State:
        """Read what the file has beyond what is known; inside a transaction."""
        with checked(self._name):
            [(data,)] = self._sqlite.execute("SELECT value FROM meta WHERE name = 'state'").fetchall() or [(None,)]
            state = decoded(data)
            if state == self._known:
                return state
            before, self._known = self._known, None  # an interrupt from here on means that all is read again
            if before is None or before.blocks != state.blocks or self.rows > state.rows:
                self._take_blocks(state)
            self._take_tail(state)
            self._known = state
            return state

    def _take_blocks(self, state: State) -> None:
        there = self._sqlite.execute("SELECT first, sum FROM blocks ORDER BY first").fetchall()
        if sum_of_blocks(there) != state.blocks:
            raise IndexStaleError(f"the blocks of {self._name} are not those that were written")
        known = {(block.first, block.check): block for block in self._blocks}
        blocks = [known.get((first, check)) or self._read_block(first, check) for first, check in there]
        row = self.first
        for block in blocks:
            if block.first != row:
                raise IndexStaleError(f"{self._name} lacks the rows from {row} on")
            row += block.rows
        self._blocks, self._tail = blocks, Tail()
        self._lengths = np.concatenate([np.zeros(0, np.int32), *(block.lengths for block in blocks)])
        self.rows = row

    def _read_block(self, first: int, check: int) -> Block:
        [(data,)] = self._sqlite.execute("SELECT data FROM blocks WHERE first = ?", (first,)).fetchall()
        return Block(first, data, check)

    def _take_tail(self, state: State) -> None:
        added = [
            (tokens.split(" ") if tokens else [], spellings.encode().split(b"\n") if spellings else [])
            for tokens, spellings in self._tail_rows(self.rows)
        ]
        self._remember(added)
        if self.rows != state.rows:
            raise IndexStaleError(f"{self._name} has {self.rows} of the {state.rows} rows that were written")

    def _tail_rows(self, start: int) -> Iterator[tuple[str, str]]:
        """Read the rows of the tail from ``start`` on."""
        found = self._sqlite.execute(
            "SELECT row, tokens, spellings, sum FROM tail WHERE row >= ? ORDER BY row", (start,)
        )
        for number, (row, tokens, spellings, check) in enumerate(found, start):
            if row != number or sum_of_row(row, tokens, spellings) != check:
                raise IndexStaleError(f"row {number} of {self._name} is damaged")
            yield tokens, spellings

    def _remember(self, added: Sequence[tuple[Sequence[str], Sequence[bytes]]]) -> None:
        """Take rows into the tail in RAM."""
        used = self.rows - self.first
        if used + len(added) > len(self._lengths):
            grown = np.zeros((used + len(added)) * 5 // 4 + 64, np.int32)
            grown[:used] = self._lengths[:used]
            self._lengths = grown
        for number, (tokens, spellings) in enumerate(added):
            self._lengths[used + number] = len(tokens)
            self._tail.add(self.rows + number, tokens, spellings)
        self.rows += len(added)

    def append(self, first_row: int, texts: Sequence[str]) -> None:
        """Index the texts of rows from ``first_row`` on, all or none of them; rows that are there are passed over.

        Raises:
            IndexStaleError: The file is damaged, or has lost rows that it had: they must be given again.
        """
        with self._guarded(), self._transaction("BEGIN IMMEDIATE"):
            state = self._take_in()  # another process may have written the same rows meanwhile, or made the file anew
            there = self.rows - first_row
            if there < 0:
                raise IndexStaleError(f"{self._name} has lost the rows from {self.rows} on; they must be indexed again")
            texts = texts[there:]
            if not texts:
                return
            tail = self._tokens_for_tail(texts)
            if tail is None:
                changed = self._append_blocks(state, texts)
            else:
                changed = self._append_tail(state, tail)
            self._sqlite.execute("UPDATE meta SET value = ? WHERE name = 'state'", (changed.encoded(),))
        if tail is None:
            self.sync()
        else:
            self._known = None  # an interrupt from here on means that all is read again
            self._remember(tail)
            self._known = changed

    def _tokens_for_tail(self, texts: Sequence[str]) -> list[tuple[list[str], list[bytes]]] | None:
        """Analyse the texts if the tail may take them: the tokens and spellings of each."""
        if self._tail.rows + len(texts) >= TAIL_ROWS or sum(map(len, texts)) >= 8 * TAIL_TOKENS:
            return None
        memo = self._memo if self._memo is not None else Memo()
        found = []
        for text in texts:
            spelt = words(text)
            tokens = [token for word in spelt for token in memo[word][0]]
            found.append((tokens, sorted({spelling for word in spelt for spelling in memo[word][1]})))
        return found if self._tail.size + sum(len(tokens) for tokens, _ in found) < TAIL_TOKENS else None

    def _append_tail(self, state: State, added: Sequence[tuple[list[str], list[bytes]]]) -> State:
        rows = []
        for row, (tokens, spellings) in enumerate(added, self.rows):
            parts = " ".join(tokens), b"\n".join(spellings).decode()
            rows.append((row, *parts, sum_of_row(row, *parts)))
        self._sqlite.executemany("INSERT INTO tail VALUES (?, ?, ?, ?)", rows)
        return state._replace(revision=state.revision + 1, rows=self.rows + len(added))

    def _append_blocks(self, state: State, texts: Sequence[str]) -> State:
        """Write the tail and the texts as blocks, and merge what has become small beside them."""
        memo = self._memo = Memo() if self._memo is None else self._memo
        first = self.rows - self._tail.rows
        builder = BlockBuilder(first, memo)
        blocks, number = list(self._blocks), state.next_chunk
        with checked(self._name):
            for tokens, spellings in self._tail_rows(first):
                builder.add_tokens(
                    tokens.split(" ") if tokens else [], spellings.encode().split(b"\n") if spellings else []
                )
        if len(builder.lengths) != self._tail.rows:
            raise IndexStaleError(f"{self._name} lacks rows of its tail")
        self._sqlite.execute("DELETE FROM tail")
        for text in texts:
            if builder.full:
                blocks.append(self._write_built(builder, number))
                number += blocks[-1].chunks
                builder = BlockBuilder(builder.first + len(builder.lengths), memo)
            builder.add_text(text)
        blocks.append(self._write_built(builder, number))
        number += blocks[-1].chunks
        number = self._merge(blocks, number)
        check = sum_of_blocks([(block.first, block.check) for block in blocks])
        return State(state.revision + 1, self.rows + len(texts), check, number)

    def _write_built(self, builder: BlockBuilder, base: int) -> Block:
        lists, tokens = builder.lists(), builder.tokens
        lengths = np.frombuffer(builder.lengths, np.int32).astype("<i4").tobytes()
        return self._write(builder.first, lengths, tokens, lists, builder.spellings, base)

    def _write(
        self, first: int, lengths: bytes, tokens: int, lists: Lists, spellings: Sequence[bytes], base: int
    ) -> Block:
        """Insert a block and its chunks, numbered from ``base`` on."""
        keys: list[bytes] = []
        spelt_keys: list[bytes] = []
        sums: list[tuple[int, int]] = []
        rows: list[tuple[int, bytes, bytes]] = []
        for key, data, places in cut(lists):
            number = base + len(rows)
            keys.append(key)
            sums.append((checksum(data, number), checksum(places, number)))
            rows.append((number, data, places))
        for key, data in cut_spellings(spellings):
            number = base + len(rows)
            spelt_keys.append(key)
            sums.append((checksum(data, number), checksum(b"", number)))
            rows.append((number, data, b""))
        self._sqlite.executemany("INSERT INTO postings VALUES (?, ?, ?)", rows)
        joined_keys = b"\n".join(keys), b"\n".join(spelt_keys)
        data = msgspec.msgpack.encode(
            Directory(len(lengths) // 4, tokens, base, *joined_keys, np.array(sums, "<u8").tobytes(), lengths)
        )
        check = checksum(data, first)
        self._sqlite.execute("INSERT INTO blocks VALUES (?, ?, ?)", (first, check, data))
        return Block(first, data, check)

    def _merge(self, blocks: list[Block], number: int) -> int:
        """Merge the last blocks while there are enough of one size; return the next number of a chunk."""
        while True:
            tiers = [_tier(block) for block in blocks]
            small = next((n for n, tier in enumerate(reversed(tiers)) if tier > 1), len(tiers))
            alike = small >= MERGE_COUNT and len(set(tiers[-MERGE_COUNT:])) == 1
            if not alike and small < 4 * MERGE_COUNT:
                return number
            blocks[-MERGE_COUNT:] = [self._merge_blocks(blocks[-MERGE_COUNT:], number)]
            number += blocks[-1].chunks

    def _merge_blocks(self, blocks: Sequence[Block], number: int) -> Block:
        first = blocks[0].first
        parts, spellings = [], set[bytes]()
        with checked(self._name):
            for block in blocks:
                for chunk in block.list_chunks:
                    places = self._read(block, chunk, "places")
                    parts.append((block.first - first, self._chunk(block, chunk), places))
                for chunk in block.spelt_chunks:
                    spellings.update(self._read(block, chunk, "lists").split(b"\n"))
        lists = joined(parts)
        for block in blocks:
            bounds = (block.base, block.base + block.chunks)
            self._sqlite.execute("DELETE FROM postings WHERE number >= ? AND number < ?", bounds)
            self._sqlite.execute("DELETE FROM blocks WHERE first = ?", (block.first,))
        lengths = b"".join(block.lengths.astype("<i4").tobytes() for block in blocks)
        return self._write(first, lengths, sum(block.tokens for block in blocks), lists, sorted(spellings), number)

    def _read(self, block: Block, number: int, column: str) -> bytes:
        found = self._sqlite.execute(
            f"SELECT {column} FROM postings WHERE number = ?", (block.base + number,)
        ).fetchone()
        return block.verified(number, int(column == "places"), None if found is None else found[0])

    def _chunk(self, block: Block, number: int) -> Chunk:
        return Chunk(self._read(block, number, "lists"))

    def frequency(self, token: str, *, limit: int) -> int:
        """Count the rows that have a token, without joining its lists."""
        with checked(self._name):
            found = sum(stop - start for _, _, _, start, stop, _ in self._lists(token, limit))
            return found + sum(map(len, self._tail_lists(token)))

    def find(self, token: str, *, limit: int) -> tuple[Matches, int]:
        """Find where a token occurs, or with a ``*`` at its end, every token that begins so.

        Args:
            token: What to find.
            limit: The most lists to read.

        Returns:
            Where it occurs, and how many lists were read.

        Raises:
            IndexStaleError: What is read is damaged.
        """
        rows: list[NDArray[np.int64]] = []
        counts: list[NDArray[np.uint8]] = []
        lists = 0
        with checked(self._name):
            for block, _, chunk, start, stop, read in self._lists(token, limit):
                rows.append(chunk.rows[start:stop].astype(np.int64) + block.first)
                counts.append(chunk.counts[start:stop])
                lists += read
            for places in self._tail_lists(token):
                rows.append(np.fromiter(places, np.int64, len(places)))
                counts.append(np.fromiter((min(len(p), MAX_COUNT) for p in places.values()), np.uint8, len(places)))
                lists += 1
        if not rows:
            return Matches(np.zeros(0, np.int64), np.zeros(0, np.float32)), 0
        found, often = np.concatenate(rows), np.concatenate(counts).astype(np.float32)
        if token[-1] == "*":
            sums = np.bincount(found - self.first, weights=often, minlength=0)
            found = np.flatnonzero(sums)
            return Matches(found + self.first, sums[found].astype(np.float32)), lists
        return Matches(found, often), lists

    def places(self, token: str, *, limit: int) -> tuple[NDArray[np.int64], int]:
        """Find every place of a token (or of what begins with it): ``row << PLACE_BITS | place``, ascending.

        Args:
            token: What to find.
            limit: The most lists to read.

        Returns:
            The places, and how many lists were read.

        Raises:
            IndexStaleError: What is read is damaged.
        """
        keys: list[NDArray[np.int64]] = []
        lists = 0
        with checked(self._name):
            for block, number, chunk, start, stop, read in self._lists(token, limit):
                low, high = chunk.place_span(start, stop)
                places = np.frombuffer(self._read(block, number, "places"), "<u2")[low:high]
                rows = chunk.rows[start:stop].astype(np.int64) + block.first
                keys.append(np.repeat(rows, chunk.counts[start:stop]) << PLACE_BITS | places)
                lists += read
            for tail in self._tail_lists(token):
                pairs = ((row << PLACE_BITS, place) for row, there in tail.items() for place in there[:MAX_COUNT])
                keys.append(np.fromiter((row | min(place, LAST_PLACE) for row, place in pairs), np.int64))
                lists += 1
        found = np.concatenate([np.zeros(0, np.int64), *keys])
        return np.unique(found) if token[-1] == "*" else found, lists

    def _lists(self, token: str, limit: int) -> Iterator[tuple[Block, int, Chunk, int, int, int]]:
        """Yield block, chunk, where in it, and how many lists that is, for a token or for what begins so."""
        if token[-1] != "*":
            yield from islice(self._exact(token.encode(errors="replace")), limit)
            return
        low = token[:-1].encode(errors="replace")
        for block in self._blocks:
            for number in block.chunks_of(low, low + _LAST):
                if limit <= 0:
                    return
                chunk = self._chunk(block, number)
                start, stop, lists = chunk.range(low, low + _LAST, limit)
                if lists:
                    limit -= lists
                    yield block, number, chunk, start, stop, lists
        yield from islice(chain.from_iterable(map(self._exact, self._stems(low))), limit)

    def _exact(self, key: bytes) -> Iterator[tuple[Block, int, Chunk, int, int, int]]:
        for block in self._blocks:
            number = block.chunk_of(key)
            if number is not None:
                chunk = self._chunk(block, number)
                start, stop = chunk.span(key)
                if stop > start:
                    yield block, number, chunk, start, stop, 1

    def _stems(self, prefix: bytes) -> list[bytes]:
        """Find the tokens of the words that begin so, where stemming took the beginning away."""
        spelt = {spelling for spelling in self._tail.spellings if spelling.startswith(prefix)}
        for block in self._blocks:
            for number in block.spelt_chunks_of(prefix, prefix + _LAST):
                read = self._read(block, number, "lists").split(b"\n")
                spelt.update(spelling for spelling in read if spelling.startswith(prefix))
        tokens = dict.fromkeys(spelling.partition(b"\t")[2] for spelling in sorted(spelt))
        return [token for token in tokens if not token.startswith(prefix)]

    def _tail_lists(self, token: str) -> list[dict[int, list[int]]]:
        lists = self._tail.lists
        if token[-1] != "*":
            return [lists[token]] if token in lists else []
        prefix = token[:-1]
        stems = [
            lists[other] for stem in self._stems(prefix.encode(errors="replace")) if (other := stem.decode()) in lists
        ]
        return [*stems, *(places for known, places in lists.items() if known.startswith(prefix))]

    def forget(self) -> None:
        """Let go of what only speeds up the next rows of a large build."""
        self._memo = None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read everything in the block from one state of the file, and be up to date with it."""
        with self._guarded():
            try:
                roll_back(self._sqlite)  # an interrupt hit the end of the one before
                self._sqlite.execute("BEGIN")
                self._take_in()
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
        """Tell damage from a system that refuses."""
        try:
            with whole(self._name):
                yield
        except sqlite3.Error as error:
            raise StorageError(f"{self._name} failed: {error}; it can be deleted, and is then rebuilt") from error

    def close(self) -> None:
        """Let go of the file."""
        self._sqlite.close()
