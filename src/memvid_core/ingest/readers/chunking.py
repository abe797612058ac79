"""Splitting texts and documents into chunks at natural boundaries."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from memvid_core.errors import InvalidInputError, TextError
from memvid_core.ingest.readers.boundaries import Level, code_levels, prose_levels, row_levels
from memvid_core.ingest.readers.document import Chunk, Document, Section
from memvid_core.ingest.readers.markdown import markdown_sections

__all__ = ["Chunker", "Tokenizer"]

_SPACE = re.compile(r"\s*")
_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)*")
_LETTERS_A_TOKEN = 4  # first guess of a token limit; does not affect the chunks

Kind = Literal["prose", "markdown", "code", "rows"]


@runtime_checkable
class Tokenizer(Protocol):
    """The common interface of tiktoken's and Hugging Face's tokenizers."""

    def encode(self, text: str, /) -> Any:
        """Return the tokens, as a list or as an object with ``ids``."""
        ...


class Chunker:
    """Split texts into chunks of at most ``chunk_size``, at the strongest boundary that fits.

    A chunk ends at the end of a paragraph. A paragraph that is too long is split between sentences (Latin, Korean and
    CJK marks; abbreviations are known), then between lines, words, graphemes. Code is split at top-level blocks, then
    at blank lines, then at lines; tables are split at rows, and a table of a document that is longer than a chunk
    repeats its header in each. Chunks have no white space at their ends, and every other character of the text is in a
    chunk.

    Args:
        chunk_size: The maximum size of a chunk, in ``unit``.
        overlap: How much of a chunk's end the next one may repeat, in ``unit``: whole sentences if one fits, otherwise
            whole words; less if the next sentence would be split because of it.
        unit: ``"characters"`` (code points) or ``"tokens"``.
        count: For tokens: a function that returns the number of tokens of a text, or a tokenizer with ``encode``.
        language: An ISO 639-1 code, which selects the abbreviations that do not end a sentence.

    Raises:
        InvalidInputError: A size or unit is invalid, or the unit is tokens without ``count``.

    Example:
        >>> chunker = Chunker(chunk_size=40)
        >>> [chunk.text for chunk in chunker.chunk("Dr. Ada wrote it. It ran. Nobody had a machine to run it on.")]
        ['Dr. Ada wrote it. It ran.', 'Nobody had a machine to run it on.']
    """

    def __init__(
        self,
        chunk_size: int = 1000,
        overlap: int = 0,
        *,
        unit: Literal["characters", "tokens"] = "characters",
        count: Callable[[str], int] | Tokenizer | None = None,
        language: str = "en",
    ) -> None:
        for name, value in (("chunk_size", chunk_size), ("overlap", overlap)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise InvalidInputError(f"{name} must be an integer number of {unit}, not {value!r}")
        if chunk_size < 1:
            raise InvalidInputError(f"chunk_size must be at least 1 of {unit}, not {chunk_size}")
        if overlap < 0:
            raise InvalidInputError(f"overlap must be 0 or a positive number below chunk_size, not {overlap}")
        if overlap >= chunk_size:
            raise InvalidInputError(
                f"overlap {overlap} must be below chunk_size {chunk_size}; a tenth of chunk_size is common"
            )
        if unit not in ("characters", "tokens"):
            raise InvalidInputError(f"unit must be 'characters' or 'tokens', not {unit!r}")
        if (unit == "tokens") != (count is not None):
            raise InvalidInputError(
                "unit 'tokens' needs count=: a tokenizer with .encode, or a function such as "
                "lambda text: len(tokenizer.encode(text)); other units do not take count="
            )
        self.chunk_size = chunk_size
        self.overlap = overlap
        self.unit = unit
        self.language = language
        self._count = None if count is None else _counter(count)
        self._counted_by = None if count is None else _name(count)

    def __repr__(self) -> str:  # sync compares it to detect changed settings
        sizes = f"chunk_size={self.chunk_size}, overlap={self.overlap}"
        count = "" if self._counted_by is None else f", count={self._counted_by}"
        return f"Chunker({sizes}, unit={self.unit!r}, language={self.language!r}{count})"

    def chunk(self, text: str, *, kind: Kind = "prose", metadata: dict[str, Any] | None = None) -> list[Chunk]:
        """Split one text.

        Args:
            text: The text.
            kind: ``"markdown"`` never joins text under different headings and stores the path of headings in
                ``heading``; ``"code"`` and ``"rows"`` split at blocks and lines.
            metadata: Metadata for every chunk.

        Returns:
            The chunks in order; none for a text without visible characters.

        Raises:
            TextError: ``text`` is not a str, or not valid Unicode.
        """
        if not isinstance(text, str):
            raise TextError(f"text must be a str, not {type(text).__name__}")
        base = dict(metadata or {})
        if kind == "markdown":
            sections = markdown_sections(text, base)
        elif kind in ("prose", "code", "rows"):
            sections = [Section(text, base, kind)]
        else:
            raise InvalidInputError(f"kind must be 'prose', 'markdown', 'code' or 'rows', not {kind!r}")
        return self._number(sections, {})

    def split_document(self, document: Document) -> list[Chunk]:
        """Split a document; its ``source`` and the metadata of each section are added to the chunks.

        Raises:
            TextError: A section is not valid Unicode.
        """
        return self._number(document.sections, {"source": document.source})

    def _number(self, sections: list[Section], base: dict[str, Any]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for section in sections:
            for start, text, extra in self._cut(section):
                metadata = {**base, **section.metadata, **extra}
                metadata["chunk"] = len(chunks)
                metadata["start"] = section.offset + start
                chunks.append(Chunk(text, metadata))
        return chunks

    def _cut(self, section: Section) -> Iterator[tuple[int, str, dict[str, Any]]]:
        text = section.text
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise TextError(
                f"character {exc.start} of the text is a lone surrogate (U+{ord(text[exc.start]):04X}), not valid "
                "Unicode; decode the file with its real encoding, or with errors='replace'"
            ) from exc
        if any(self._size(text, start, end) > self.chunk_size for start, _, end in section.tables):
            yield from self._cut_tables(section)
            return
        row, counted = section.metadata.get("row"), 0
        for start, end in self._spans(text, section.kind):
            extra: dict[str, Any] = {}
            if section.kind == "rows" and row is not None:
                row += text.count("\n", counted, start)
                counted = start
                extra["row"] = row
            yield start, text[start:end], extra | _times(section, start, end)

    def _cut_tables(self, section: Section) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Split a section around its long tables; each of their chunks begins with the header of the table."""
        text, place = section.text, 0
        for start, header_end, end in section.tables:
            header = text[start:header_end]
            room = self.chunk_size - self._size(header + "\n", 0, len(header) + 1)
            # A header that would take most of every chunk is not repeated.
            if self._size(text, start, end) <= self.chunk_size or 2 * room < self.chunk_size:
                continue
            before = msgspec.structs.replace(section, text=text[place:start], tables=[])
            yield from ((place + at, piece, extra) for at, piece, extra in self._cut(before))
            rows = text[header_end + 1 : end]
            for first, last in self._smaller(room)._spans(rows, "rows"):
                yield header_end + 1 + first, f"{header}\n{rows[first:last]}", {}
            place = end
        rest = msgspec.structs.replace(section, text=text[place:], tables=[])
        yield from ((place + at, piece, extra) for at, piece, extra in self._cut(rest))

    def _smaller(self, size: int) -> Chunker:
        smaller = copy(self)
        smaller.chunk_size, smaller.overlap = size, 0
        return smaller

    def _spans(self, text: str, kind: str) -> Iterator[tuple[int, int]]:
        if not text or text.isspace():
            return
        if kind == "code":
            levels = code_levels(text)
        elif kind == "rows":
            levels = row_levels(text)
        else:
            levels = prose_levels(text, self.language)
        end = len(text.rstrip())
        leading = _BLANK_LINES if kind == "code" else _SPACE
        start, done = self._skip(text, 0, leading), 0
        while done < end:
            cut = self._next_cut(text, levels, start, max(done, start))
            stop = start + len(text[start:cut].rstrip())
            if stop > max(done, start):
                yield start, stop
            done = cut
            if done < end:
                start = self._skip(text, self._overlap_start(text, levels, start, done), leading)
                done = max(done, start)

    def _skip(self, text: str, place: int, leading: re.Pattern[str]) -> int:
        found = leading.match(text, place)
        after = found.end() if found else place
        blank = _SPACE.match(text, after)
        # White space that fills a chunk does not count as indentation.
        return blank.end() if blank and self._size(text, after, blank.end()) >= self.chunk_size else after

    def _next_cut(self, text: str, levels: list[Level], start: int, low: int) -> int:
        """Return the end of the chunk that starts at ``start``; it is beyond ``low``, the end of earlier chunks."""
        limit = max(self._limit(text, start), low + 1)
        while True:
            cut = self._choose(text, levels, start, low, limit)
            stop = start + len(text[start:cut].rstrip())
            # Token counts are not additive: in rare cases, a shorter text has more tokens.
            if stop <= low + 1 or self._size(text, start, stop) <= self.chunk_size:
                return cut
            limit = stop - 1

    def _choose(self, text: str, levels: list[Level], start: int, low: int, limit: int) -> int:
        found = _SPACE.match(text, limit)
        high = found.end() if found else limit  # white space after the chunk does not count
        reach = limit - start
        best = low
        for level in levels[:-1]:
            cut = level.last(best, high)
            if cut == best:
                continue
            best = cut
            # The following unit goes into the next chunk if it fits there; otherwise this chunk takes its beginning.
            if cut == high or self._fits(text, cut, level.unit_end(cut, 2 * reach), reach) or level is levels[-2]:
                return cut
        return best if best > low else levels[-1].last(low, limit)

    def _overlap_start(self, text: str, levels: list[Level], start: int, cut: int) -> int:
        """Return the start of the chunk after ``cut``: up to ``overlap`` before it."""
        if not self.overlap:
            return cut
        # The next chunk must contain something new: the rest of a sentence, a word, a character.
        room = self.chunk_size
        target = min(cut + 1, len(text))
        for level in levels[1:-1]:
            end = level.unit_end(cut, 2 * room * (_LETTERS_A_TOKEN if self._count else 1))
            if end > cut and self._fits(text, cut, end, end - cut):
                target = end
                break
        low = max(self._earliest(text, start + 1, cut, cut, self.overlap), start + 1)
        low = max(self._earliest(text, low, cut, target, room), low)
        for level in levels[1:]:
            place = level.first(low, cut)
            if place < cut:
                return place
        return cut

    def _size(self, text: str, start: int, end: int) -> int:
        return end - start if self._count is None else self._count(text[start:end])

    def _fits(self, text: str, start: int, end: int, reach: int) -> bool:
        if self._count is None:
            return end - start <= self.chunk_size
        return end - start <= 2 * reach and self._count(text[start:end]) <= self.chunk_size

    def _limit(self, text: str, start: int) -> int:
        """Return the furthest end of a chunk from ``start``, at least one character later."""
        if self._count is None:
            return min(start + self.chunk_size, len(text))
        low, step = start + 1, self.chunk_size * _LETTERS_A_TOKEN
        high = min(start + step, len(text))
        while high < len(text) and self._count(text[start:high]) <= self.chunk_size:
            low, step = high, step * 2
            high = min(start + step, len(text))
        if self._count(text[start:high]) <= self.chunk_size:
            return high
        while high - low > 1:
            middle = (low + high) // 2
            if self._count(text[start:middle]) <= self.chunk_size:
                low = middle
            else:
                high = middle
        return low

    def _earliest(self, text: str, low: int, high: int, end: int, size: int) -> int:
        """Return the first place in ``[low, high]`` from which the text up to ``end`` has at most ``size``."""
        if self._count is None:
            return min(max(low, end - size), high)
        low = max(low, high - size * _LETTERS_A_TOKEN * 4)
        while low < high:
            middle = (low + high) // 2
            if self._count(text[middle:end]) <= size:
                high = middle
            else:
                low = middle + 1
        return low


def _times(section: Section, start: int, end: int) -> dict[str, Any]:
    """Return the times of a chunk of a transcript: from its first cue to its last."""
    if not section.times:
        return {}
    first = max(0, bisect_right(section.times, start, key=lambda cue: cue[0]) - 1)
    last = max(first, bisect_left(section.times, end, key=lambda cue: cue[0]) - 1)
    return {"time_start": section.times[first][1], "time_end": section.times[last][2]}


def _name(count: object) -> str:
    """Return the name of a tokenizer (``name_or_path`` of Hugging Face's, ``name`` of tiktoken's) or a function."""
    names = (getattr(count, attribute, None) for attribute in ("name_or_path", "name", "__qualname__"))
    return next((name for name in names if isinstance(name, str) and name), type(count).__qualname__)


def _counter(count: Callable[[str], int] | Tokenizer) -> Callable[[str], int]:
    def by_tokenizer(text: str) -> int:
        tokens = count.encode(text)  # type: ignore[union-attr]
        return len(getattr(tokens, "ids", tokens))

    def by_function(text: str) -> int:
        number = count(text)  # type: ignore[operator]
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise InvalidInputError(f"count must return the number of tokens as an int, not {number!r}")
        return number

    if hasattr(count, "encode"):
        return by_tokenizer
    if callable(count):
        return by_function
    raise InvalidInputError(f"count must be a function or a tokenizer with .encode, not {type(count).__name__}")
