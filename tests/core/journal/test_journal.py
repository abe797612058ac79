"""The journal: commits appended, replayed, and told apart from what never counted."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memvid_core.errors import MemvidError, NotAMemoryError
from memvid_core.journal import Batch, Cursor, Entry, Journal, RecordReader
from memvid_core.video import PcmCodec

SMALL = {"columns": 4, "rows": 4}
CODEC = PcmCodec(**SMALL)


def batch(rows: Sequence[tuple[str, str]], *, dimension: int = 3, tombstones: Sequence[int] = ()) -> Batch:
    """Rows with a vector each."""
    return Batch(
        rows=[msgspec.msgpack.encode((record_id, text, {})) for record_id, text in rows],
        vectors=np.array([[len(text) % 1000] * dimension for _, text in rows], np.float16) if rows else None,
        vector_places=np.arange(len(rows)),
        tombstones=tombstones,
    )


def journal(target: io.BytesIO | None = None) -> Journal:
    return Journal.create(io.BytesIO() if target is None else target, "pcm", SMALL, vectors="float16", embedder="test")


def reopened(data: bytes) -> tuple[Journal, list[Entry]]:
    opened = Journal.open(io.BytesIO(data))
    return opened, list(opened.replay(opened.start))


commits = st.lists(
    st.lists(st.tuples(st.text(max_size=8), st.text(max_size=999)), max_size=6),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40)
@given(commits=commits)
def test_what_was_appended_is_replayed(commits: list[list[tuple[str, str]]]) -> None:
    target = io.BytesIO()
    written = journal(target)
    gone: list[list[int]] = []
    for rows in commits:
        gone.append([written.cursor.row - 1] if written.cursor.row % 2 else [])
        written.append(batch(rows, tombstones=gone[-1]))
    opened, entries = reopened(target.getvalue())
    assert opened.cursor == written.cursor
    assert [[(row[0], row[1]) for row in entry.rows] for entry in entries] == commits
    assert [entry.number for entry in entries] == list(range(1, len(commits) + 1))
    assert [entry.tombstones for entry in entries] == gone
    numbers = [row for entry in entries for row in entry.row_numbers]
    assert numbers == list(range(sum(map(len, commits))))
    for entry in entries:
        lengths = {row: len(text) % 1000 for row, (_, text, _) in zip(entry.row_numbers, entry.rows, strict=True)}
        found = {
            int(row): int(vector[0]) for rows, part in entry.vectors for row, vector in zip(rows, part, strict=True)
        }
        assert found == lengths
    assert not any(entry.damage for entry in entries)


def test_replay_goes_on_from_any_cursor() -> None:
    target = io.BytesIO()
    written = journal(target)
    cursors = [written.cursor, *(written.append(batch([(str(i), "t")])).cursor for i in range(5))]
    for i, cursor in enumerate(cursors):
        opened = Journal.open(io.BytesIO(target.getvalue()))
        assert opened.resume(msgspec.msgpack.decode(msgspec.msgpack.encode(cursor), type=Cursor))
        assert [entry.number for entry in opened.replay(cursor)] == list(range(i + 1, 6))


def test_a_cursor_of_another_journal_is_not_resumed() -> None:
    mine, other = journal(), journal()
    mine.append(batch([("a", "text")]))
    foreign = other.append(batch([("b", "text")])).cursor
    assert not mine.resume(foreign)
    far = msgspec.structs.replace(foreign, offset=10**9)
    assert not mine.resume(far)


def test_a_record_larger_than_many_frames_is_read_at_once_and_alone() -> None:
    target = io.BytesIO()
    written = journal(target)
    large = "".join(random.Random(1).choices("abcdefghijklmnop0123456789", k=200_000))
    entry = written.append(batch([("small", "s"), ("large", large), ("last", "l")]))
    _, (replayed,) = reopened(target.getvalue())
    assert [row[1] for row in replayed.rows] == ["s", large, "l"]
    assert replayed.row_frames == entry.row_frames
    places = {frame.frame: frame for frame in entry.row_frames}
    reader = RecordReader(written.video, places.__getitem__, cache_bytes=1)
    holder = [frame for frame in entry.row_frames if frame.kind == 2 and frame.items and frame.row <= 1][-1]
    assert reader.row(1, holder)[1] == large


def test_a_body_of_many_frames_that_loses_any_of_them_is_named_and_no_other_is_taken_for_it() -> None:
    target = io.BytesIO()
    written = journal(target)
    model = random.Random(2).randbytes(3 * CODEC.capacity)
    vector = np.random.default_rng(3).normal(size=(1, 2 * CODEC.capacity)).astype(np.float16)
    rows = [msgspec.msgpack.encode(("a", "text", {}))]
    written.append(Batch(rows=rows, vectors=vector, vector_places=np.arange(1), model=model))
    data = target.getvalue()
    places = list(written.video.frames())[2:-1]  # behind the header's commit, before the COMMIT frame
    assert len(places) > 8
    for number, place in places:
        damaged = bytearray(data)
        damaged[place.offset + 40] ^= 255
        _, (entry,) = reopened(bytes(damaged))
        assert number in [damage.frame for damage in entry.damage]
        assert entry.model in (model, None)
        assert [row[0] for row in entry.rows] in (["a"], [])
        assert all(np.array_equal(matrix, vector) for _, matrix in entry.vectors)
        assert (entry.model, len(entry.rows), len(entry.vectors)) != (model, 1, 1)


def test_one_record_costs_less_than_four_kilobytes() -> None:
    target = io.BytesIO()
    written = Journal.create(target, vectors="float16", embedder="test")
    before = len(target.getvalue())
    written.append(batch([("an-id-of-thirty-six-characters-in-all", "a text of this memory. " * 22)], dimension=384))
    assert len(target.getvalue()) - before <= 4096


def damaged_commit_frame(target: io.BytesIO, cursor: Cursor) -> bytes:
    """The file with a byte of the COMMIT frame before ``cursor`` changed."""
    data = bytearray(target.getvalue())
    data[cursor.last_offset + 60] ^= 0xFF
    return bytes(data)


def test_a_damaged_commit_frame_at_the_end_counts_and_stays_named() -> None:
    target = io.BytesIO()
    written = journal(target)
    written.append(batch([("a", "first")]))
    last = written.append(batch([("b", "second")]))
    again = io.BytesIO(damaged_commit_frame(target, last.cursor))
    opened, entries = reopened(again.getvalue())
    assert [[row[0] for row in entry.rows] for entry in entries] == [["a"], ["b"]]
    assert entries[1].damage
    assert not opened.unfinished
    assert opened.holds(entries[1].cursor)
    writer = Journal.open(again, "a")
    list(writer.replay(writer.start))
    assert writer.append(batch([("c", "third")])).number == 3
    _, entries = reopened(again.getvalue())
    assert [[row[0] for row in entry.rows] for entry in entries] == [["a"], ["b"], ["c"]]
    assert [bool(entry.damage) for entry in entries] == [False, True, False]


def test_a_damaged_commit_frame_with_a_commit_after_it_loses_nothing() -> None:
    target = io.BytesIO()
    written = journal(target)
    written.append(batch([("a", "first")]))
    middle = written.append(batch([("b", "second")]))
    written.append(batch([("c", "third")]))
    _, entries = reopened(damaged_commit_frame(target, middle.cursor))
    assert [[row[0] for row in entry.rows] for entry in entries] == [["a"], ["b"], ["c"]]
    assert [row for entry in entries for row in entry.row_numbers] == [0, 1, 2]
    assert entries[1].damage


def test_a_commit_cut_out_of_the_middle_is_told() -> None:
    target = io.BytesIO()
    written = journal(target)
    first = written.append(batch([("a", "first")])).cursor.offset
    second = written.append(batch([("b", "second")])).cursor.offset
    written.append(batch([("c", "third")]))
    data = target.getvalue()
    _, entries = reopened(data[:first] + data[second:])
    assert [entry.number for entry in entries] == [1, 3]
    assert [item.records for item in entries[1].damage] == [1]


def test_one_wrong_byte_never_gives_a_wrong_text() -> None:
    target = io.BytesIO()
    written = journal(target)
    rng = random.Random(5)
    texts = {f"{i}": rng.randbytes(40).hex() for i in range(8)}
    for i in range(0, 8, 2):
        written.append(batch([(str(i), texts[str(i)]), (str(i + 1), texts[str(i + 1)])]))
    data = target.getvalue()
    detected = 0
    for position in range(0, len(data), 11):
        broken = bytearray(data)
        broken[position] ^= rng.randrange(1, 256)
        try:
            opened, entries = reopened(bytes(broken))
        except MemvidError:
            detected += 1
            continue
        found = {row[0]: row[1] for entry in entries for row in entry.rows}
        said = bool(opened.unfinished or opened.torn_bytes or any(entry.damage for entry in entries))
        assert all(texts[record_id] == text for record_id, text in found.items())
        assert said or found == texts, position
        assert len(found) >= 6, position
        detected += said
    assert detected > 100


def test_an_mp4_whose_creation_never_finished_is_no_memory() -> None:
    with pytest.raises(NotAMemoryError, match="never finished"):
        Journal.open(io.BytesIO(CODEC.init_segment()))


def test_the_header_keeps_what_it_was_given() -> None:
    target = io.BytesIO()
    made = Journal.create(target, "pcm", SMALL, vectors="int8", embedder="e:1", dimension=7, description="한국어 메모")
    opened, _ = reopened(target.getvalue())
    assert opened.header == made.header
    assert (opened.header.vectors, opened.header.embedder, opened.header.dimension) == ("int8", "e:1", 7)
    assert opened.header.description == "한국어 메모"
