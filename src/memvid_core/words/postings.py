"""Store posting lists in one SQLite file: blocks of rows, and a tail of small commits that grows into a block.

A *posting list* says in which rows a token occurs, how often, and at which positions. Lists are stored per block, a
range of at most 65,536 rows, so that a row number takes two bytes. Inside a block they are sorted by token, so that a
prefix is a range (:mod:`memvid_core.words.chunks`). A commit of a few rows only writes those rows' tokens to the
tail. Eight blocks of about one size are merged into one, up to a size that takes well under a second, so a token is
rewritten only a few times (log-structured merge: O'Neil et al., 1996). SQLite provides atomic changes, snapshots for
readers in other processes, and an open that reads almost nothing.

Any number of processes write and read one file. A change reads everything it depends on inside its own transaction.
Everything in the file has a checksum: chunks in the directory of their block, directories in the state, and each row of
the tail. Damaged data is reported and never used for an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import IndexStaleError
from memvid_core.system.sqlite_files import checked
from memvid_core.words.analyzer import words
from memvid_core.words.chunks import Chunk, Directory, Lists, PostingBlock, checksum, cut, cut_spellings, joined
from memvid_core.words.loaded_store import LoadedStore
from memvid_core.words.near import Vocabulary
from memvid_core.words.posting_block import BLOCK_ROWS, LAST_PLACE, MAX_COUNT, BlockBuilder, Memo
from memvid_core.words.posting_file import WRITE_MARK, WRITE_STATE, State, sum_of_blocks, sum_of_row

__all__ = ["PLACE_BITS", "Matches", "PostingStore"]

TAIL_ROWS: Final = 1 << 9
TAIL_TOKENS: Final = 1 << 14
"""The tail becomes a block at this many rows or tokens. Opening the file reads the whole tail."""

MERGE_COUNT: Final = 8
MERGE_TOKENS: Final = 1 << 20
"""Blocks of fewer than ``MERGE_TOKENS`` tokens are merged, ``MERGE_COUNT`` at a time."""

PLACE_BITS: Final = 17  # one bit more than a position needs, so that a phrase never extends into the next row

KEPT_BYTES: Final = 8 << 20
"""The bytes of verified chunks in RAM, so that those of frequent tokens are read and verified once; half as many for
each block of many."""

_KEPT_LISTS: Final = 64  # tokens of one question
_KEPT_WORDS: Final = 1 << 16  # of prefixes that near words were looked for, about 10 MB

_LAST: Final = b"\xf4\x8f\xbf\xbf"  # UTF-8 of U+10FFFF, the last character


_List = tuple[PostingBlock, int, Chunk, int, int, int]
"""Where rows of a token are listed: block, number of the chunk, chunk, start, stop, and how many lists that is."""


class Matches(NamedTuple):
    """The rows where a token occurs (int64, ascending, unique) and its number of occurrences in each (float32)."""

    rows: NDArray[np.int64]
    counts: NDArray[np.float32]


def _tier(block: PostingBlock) -> int:
    """Return the merge tier of a block; blocks of tier 2 stay as they are. Rows count too: they must fit a block."""
    size = max(block.tokens, block.rows * MERGE_TOKENS * MERGE_COUNT // BLOCK_ROWS)
    return 2 if size >= MERGE_TOKENS else int(size >= MERGE_TOKENS // MERGE_COUNT)


class PostingStore(LoadedStore):
    """The posting lists of a range of rows, in a file or in RAM.

    Args:
        path: The SQLite file; None keeps the store in RAM.
        first: The first row of an empty store.
        writable: Whether the file may be created and changed.

    Attributes:
        rows: The row after the last one.

    Raises:
        IndexStaleError: If the file is damaged, or of another version or analyzer; delete and rebuild it.
        StorageError: If it cannot be opened.
    """

    def __init__(self, path: Path | None = None, *, first: int = 0, writable: bool = True) -> None:
        super().__init__(path, first=first, writable=writable)
        self._memo: Memo | None = None
        self._chunks: dict[tuple[int, int], Chunk] = {}  # by the number, and the block's checksum, which covers it
        self._chunk_bytes = 0
        self._vocabularies: dict[bytes, tuple[list[int], Vocabulary]] = {}  # by prefix, with the checksums of blocks
        self._listed: tuple[list[PostingBlock], dict[bytes, list[_List]]] = [], {}  # by token, for one question

    def append(self, first_row: int, texts: Sequence[str], mark: bytes = b"") -> None:
        """Index the texts of rows from ``first_row`` on, all or none of them; skip rows that are indexed already.

        Args:
            first_row: The row of the first text.
            texts: One text per row.
            mark: What :meth:`mark` returns from then on, unless there are more rows than these.

        Raises:
            IndexStaleError: If the file is damaged or has lost rows; pass those rows again.
        """
        with self._guarded(), self._transaction("BEGIN IMMEDIATE"):
            state = self._load()  # another process may have written the same rows meanwhile, or rebuilt the file
            indexed = self.rows - first_row
            if indexed < 0:
                raise IndexStaleError(f"{self._name} has lost the rows from {self.rows} on; index them again")
            if indexed == len(texts):
                self._sqlite.execute(WRITE_MARK, (mark,))
            texts = texts[indexed:]
            if not texts:
                return
            tail = self._tokens_for_tail(texts)
            if tail is None:
                changed = self._append_blocks(state, texts)
            else:
                changed = self._append_tail(state, tail)
            self._sqlite.execute(WRITE_STATE, (changed.encoded(), mark))
        if tail is None:
            self.sync()
        else:
            self._known = None  # after an interrupt from here on, everything is read again
            self._add_to_tail(tail)
            self._known = changed

    def _tokens_for_tail(self, texts: Sequence[str]) -> list[tuple[list[str], list[bytes]]] | None:
        """Return the tokens and spellings of each text, or None if the texts are too many for the tail."""
        if self._tail.rows + len(texts) >= TAIL_ROWS or sum(map(len, texts)) >= 8 * TAIL_TOKENS:
            return None
        memo = self._memo if self._memo is not None else Memo()
        found = []
        for text in texts:
            surface = words(text)
            tokens = [token for word in surface for token in memo[word][0]]
            found.append((tokens, sorted({spelling for word in surface for spelling in memo[word][1]})))
        return found if self._tail.size + sum(len(tokens) for tokens, _ in found) < TAIL_TOKENS else None

    def _append_tail(self, state: State, added: Sequence[tuple[list[str], list[bytes]]]) -> State:
        encoded = []
        for row, (tokens, spellings) in enumerate(added, self.rows):
            parts = " ".join(tokens), b"\n".join(spellings).decode()
            encoded.append((row, *parts, sum_of_row(row, *parts)))
        self._sqlite.executemany("INSERT INTO tail VALUES (?, ?, ?, ?)", encoded)
        return state._replace(revision=state.revision + 1, rows=self.rows + len(added))

    def _append_blocks(self, state: State, texts: Sequence[str]) -> State:
        """Write the tail and the texts as blocks, and merge small blocks."""
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
            raise IndexStaleError(f"{self._name} lacks rows of its tail; rebuild it")
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

    def _write_built(self, builder: BlockBuilder, base: int) -> PostingBlock:
        lists, tokens = builder.lists(), builder.tokens
        lengths = np.frombuffer(builder.lengths, np.int32).astype("<i4").tobytes()
        return self._write(builder.first, lengths, tokens, lists, builder.spellings, base)

    def _write(
        self, first: int, lengths: bytes, tokens: int, lists: Lists, spellings: Sequence[bytes], base: int
    ) -> PostingBlock:
        """Insert a block and its chunks, numbered from ``base`` on."""
        keys: list[bytes] = []
        spelling_keys: list[bytes] = []
        sums: list[tuple[int, int]] = []
        rows: list[tuple[int, bytes, bytes]] = []
        for key, data, places in cut(lists):
            number = base + len(rows)
            keys.append(key)
            sums.append((checksum(data, number), checksum(places, number)))
            rows.append((number, data, places))
        for key, data in cut_spellings(spellings):
            number = base + len(rows)
            spelling_keys.append(key)
            sums.append((checksum(data, number), checksum(b"", number)))
            rows.append((number, data, b""))
        self._sqlite.executemany("INSERT INTO postings VALUES (?, ?, ?)", rows)
        joined_keys = b"\n".join(keys), b"\n".join(spelling_keys)
        data = msgspec.msgpack.encode(
            Directory(len(lengths) // 4, tokens, base, *joined_keys, np.array(sums, "<u8").tobytes(), lengths)
        )
        check = checksum(data, first)
        self._sqlite.execute("INSERT INTO blocks VALUES (?, ?, ?)", (first, check, data))
        return PostingBlock(first, data, check)

    def _merge(self, blocks: list[PostingBlock], number: int) -> int:
        """Merge the last blocks while there are enough of one size; return the next free chunk number."""
        while True:
            tiers = [_tier(block) for block in blocks]
            small = next((n for n, tier in enumerate(reversed(tiers)) if tier > 1), len(tiers))
            alike = small >= MERGE_COUNT and len(set(tiers[-MERGE_COUNT:])) == 1
            if not alike and small < 4 * MERGE_COUNT:
                return number
            blocks[-MERGE_COUNT:] = [self._merge_blocks(blocks[-MERGE_COUNT:], number)]
            number += blocks[-1].chunks

    def _merge_blocks(self, blocks: Sequence[PostingBlock], number: int) -> PostingBlock:
        first = blocks[0].first
        parts, spellings = [], set[bytes]()
        with checked(self._name):
            for block in blocks:
                for chunk in block.list_chunks:
                    places = self._read(block, chunk, "places")
                    parts.append((block.first - first, Chunk(self._read(block, chunk, "lists")), places))
                for chunk in block.spelling_chunks:
                    spellings.update(self._read(block, chunk, "lists").split(b"\n"))
        lists = joined(parts)
        for block in blocks:
            bounds = (block.base, block.base + block.chunks)
            self._sqlite.execute("DELETE FROM postings WHERE number >= ? AND number < ?", bounds)
            self._sqlite.execute("DELETE FROM blocks WHERE first = ?", (block.first,))
        lengths = b"".join(block.lengths.astype("<i4").tobytes() for block in blocks)
        return self._write(first, lengths, sum(block.tokens for block in blocks), lists, sorted(spellings), number)

    def _chunk(self, block: PostingBlock, number: int) -> Chunk:
        key = block.check, number
        found = self._chunks.get(key)
        if found is None:
            data = self._read(block, number, "lists")
            if self._chunk_bytes + len(data) > KEPT_BYTES * max(2, len(self._blocks)) // 2:
                self._chunks, self._chunk_bytes = {}, 0
            found = self._chunks[key] = Chunk(data)
            self._chunk_bytes += len(data)
        return found

    def frequency(self, token: str, *, limit: int) -> int:
        """Count the rows that contain a token, without joining its lists."""
        with checked(self._name):
            found = sum(stop - start for _, _, _, start, stop, _ in self._lists(token, limit))
            return found + sum(map(len, self._tail_lists(token)))

    def find(self, token: str, *, limit: int) -> tuple[Matches, int]:
        """Find the rows that contain a token, or, with ``*`` at its end, any token that begins so.

        Args:
            token: The token, or a prefix followed by ``*``.
            limit: The maximum number of posting lists to read.

        Returns:
            The matches, and the number of lists read.

        Raises:
            IndexStaleError: If a list that is read is damaged.
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
        found = rows[0] if len(rows) == 1 else np.concatenate(rows)
        often = (counts[0] if len(counts) == 1 else np.concatenate(counts)).astype(np.float32)
        if token[-1] == "*":
            sums = np.bincount(found - self.first, weights=often, minlength=0)
            found = np.flatnonzero(sums)
            return Matches(found + self.first, sums[found].astype(np.float32)), lists
        return Matches(found, often), lists

    def find_among(self, token: str, rows: NDArray[np.int64], *, limit: int) -> Matches:
        """Find which of some rows contain a token; of few rows this is much faster than :meth:`find`.

        Args:
            token: The token, not a prefix.
            rows: (n,) int64, ascending.
            limit: The maximum number of posting lists to read.

        Raises:
            IndexStaleError: If a list that is read is damaged.
        """
        found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        counts: list[NDArray[Any]] = [np.zeros(0, np.float32)]
        with checked(self._name):
            lists = list(self._lists(token, limit))
            bounds = np.array([(block.first, block.first + block.rows) for block, *_ in lists]).reshape(-1, 2)
            for (block, _, chunk, start, stop, _), (first, last) in zip(lists, rows.searchsorted(bounds), strict=True):
                some = rows[first:last]
                there = chunk.rows[start:stop]
                wanted = (some - block.first).astype(there.dtype)
                at = np.minimum(np.searchsorted(there, wanted), len(there) - 1)
                has = there[at] == wanted
                found.append(some[has])
                counts.append(chunk.counts[start:stop][at[has]])
            for places in self._tail_lists(token):
                some = rows[np.isin(rows, np.fromiter(places, np.int64, len(places)))]
                found.append(some)
                counts.append(np.array([min(len(places[row]), MAX_COUNT) for row in some.tolist()], np.uint8))
        return Matches(np.concatenate(found), np.concatenate(counts).astype(np.float32))

    def places(self, token: str, *, limit: int) -> tuple[NDArray[np.int64], int]:
        """Find every position of a token or prefix as ``row << PLACE_BITS | position``, ascending.

        Args:
            token: The token, or a prefix followed by ``*``.
            limit: The maximum number of posting lists to read.

        Returns:
            The positions, (n,) int64, and the number of lists read.

        Raises:
            IndexStaleError: If a list that is read is damaged.
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

    def _lists(self, token: str, limit: int) -> Iterator[_List]:
        """Yield the lists of a token or a prefix."""
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

    def _exact(self, key: bytes) -> list[_List]:
        """Return the lists of a token, which a question asks for several times."""
        if self._listed[0] is not self._blocks:
            self._listed = self._blocks, {}
        known = self._listed[1]
        if (found := known.get(key)) is None:
            found = [*self._looked_up(key)]
            if len(known) < _KEPT_LISTS:
                known[key] = found
        return found

    def _looked_up(self, key: bytes) -> Iterator[_List]:
        for block in self._blocks:
            number = block.chunk_of(key)
            if number is not None:
                chunk = self._chunk(block, number)
                start, stop = chunk.span(key)
                if stop > start:
                    yield block, number, chunk, start, stop, 1

    def _stems(self, prefix: bytes) -> list[bytes]:
        """Find the tokens of the words that begin with a prefix but whose stems do not."""
        found = {spelling for spelling in self._tail.spellings if spelling.startswith(prefix)}
        for block in self._blocks:
            for number in block.spelling_chunks_of(prefix, prefix + _LAST):
                read = self._read(block, number, "lists").split(b"\n")
                found.update(spelling for spelling in read if spelling.startswith(prefix))
        tokens = dict.fromkeys(spelling.partition(b"\t")[2] for spelling in sorted(found))
        return [token for token in tokens if not token.startswith(prefix)]

    def like(self, word: str, *, limit: int) -> tuple[Vocabulary, Vocabulary]:
        """Return the words that begin like one: with its first letter, or more letters if these are too many.

        The words of blocks are kept for the next question.

        Args:
            word: The word.
            limit: The maximum number of chunks to read.

        Returns:
            Tokens, and the spellings of which stemming made other tokens: of the blocks, and of the tail.

        Raises:
            IndexStaleError: If a list that is read is damaged.
        """
        for size in range(1, len(word)):
            low = word[:size].encode(errors="replace")
            spans = low, low + _LAST
            chunks = [(block, number) for block in self._blocks for number in block.chunks_of(*spans)]
            spelled = [(block, number) for block in self._blocks for number in block.spelling_chunks_of(*spans)]
            if len(chunks) + len(spelled) <= limit:
                break
        state = [block.check for block in self._blocks]
        kept = self._vocabularies.pop(low, None)
        if kept is None or kept[0] != state:
            found: list[bytes] = []
            spellings: list[bytes] = []
            with checked(self._name):
                for block, number in chunks[:limit]:
                    found += self._chunk(block, number).tokens
                for block, number in spelled[:limit]:
                    spellings += self._read(block, number, "lists").split(b"\n")
            kept = state, Vocabulary.beginning(low, found, spellings)
        self._vocabularies[low] = kept  # the one that was used last is the last one
        while len(self._vocabularies) > 1 and sum(len(v.words) for _, v in self._vocabularies.values()) > _KEPT_WORDS:
            del self._vocabularies[next(iter(self._vocabularies))]
        recent = [key for token in self._tail.lists if (key := token.encode()).startswith(low)]
        return kept[1], Vocabulary.beginning(low, recent, self._tail.spellings)

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
        """Free the word cache that speeds up large builds, and what the last question looked up."""
        self._memo = None
        self._listed = [], {}
