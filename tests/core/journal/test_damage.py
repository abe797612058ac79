"""Damage to the journal: what proves that a commit counts, what redundancy saves, and numbers that are not believed."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from memvid_core.errors import MemvidError, NotAMemoryError, ReadOnlyError, StorageError
from memvid_core.journal import Batch, Entry, Journal, compression, frames, packing, rows_in, torn_copies
from memvid_core.journal.copying import copy_journal
from memvid_core.journal.entries import CommitFrame
from memvid_core.journal.frames import FrameHeader, Kind
from memvid_core.video import PcmCodec, VideoFile, mp4
from memvid_core.video.file import ByteFile
from tests.core.parity_boxes import without_parity

SMALL = {"columns": 4, "rows": 4}
CODEC = PcmCodec(**SMALL)


def record(record_id: str, text: str = "text", metadata: Any = None) -> bytes:
    return msgspec.msgpack.encode((record_id, text, metadata or {}))


def batch(ids: Sequence[str], *, tombstones: Sequence[int] = ()) -> Batch:
    vectors = np.ones((len(ids), 3), np.float16) if ids else None
    return Batch([record(i, f"text of {i}") for i in ids], vectors, np.arange(len(ids)), tombstones)


def made(commits: int = 4) -> tuple[io.BytesIO, Journal, list[Entry]]:
    target = io.BytesIO()
    journal = Journal.create(target, "pcm", SMALL, vectors="float16", embedder="test:1", description="about")
    return target, journal, [journal.append(batch([f"{i}a", f"{i}b"])) for i in range(1, commits + 1)]


def replayed(data: bytes | bytearray, acknowledged: int = 0) -> tuple[Journal, list[Entry]]:
    journal = Journal.open(io.BytesIO(bytes(data)))
    return journal, list(journal.replay(journal.start, acknowledged=acknowledged))


def ids(entries: Sequence[Entry]) -> list[str]:
    return [row[0] for entry in entries for row in entry.rows]


ALL = [f"{i}{half}" for i in range(1, 5) for half in "ab"]


class TestTheHead:
    @pytest.mark.parametrize("size", [5, 100, 700, 1100, 1400])
    def test_without_it_everything_is_read(self, size: int) -> None:
        target, journal, _ = made()
        data = target.getvalue()
        opened, entries = replayed(bytes(size) + data[size:])
        assert ids(entries) == ALL
        assert opened.head_damage
        assert opened.header == journal.header
        assert not opened.made_up

    def test_any_byte_of_head_and_commit_0_may_be_wrong(self) -> None:
        target, journal, entries = made()
        data = target.getvalue()
        for position in range(0, entries[0].start, 7):
            broken = bytearray(data)
            broken[position] ^= 0x40
            opened, found = replayed(broken)
            assert ids(found) == ALL, position
            assert opened.header == journal.header, position
            assert opened.resume(opened.start), position

    def test_without_any_copy_it_is_read_and_not_written(self) -> None:
        target = io.BytesIO()
        video = VideoFile.create(target, CODEC)
        with_copies = made()[0].getvalue()
        source = VideoFile.open(io.BytesIO(with_copies))
        for found in source.walk(source.start):
            payloads = [source.read(number, place) for number, place in found.frames()]  # type: ignore[union-attr]
            header, body = frames.parse(payloads[-1], 0)
            old = msgspec.msgpack.encode(msgspec.msgpack.decode(body)[:8])
            video.append([*payloads[:-1], *frames.pack(header, old, 1 << 20)])
        data = bytearray(target.getvalue())
        opened, entries = replayed(data)
        assert (ids(entries), opened.made_up, opened.head_damage) == (ALL, False, [])
        data[video.head_size + 150] ^= 1
        opened, entries = replayed(data)
        assert (ids(entries), opened.made_up) == (ALL, True)
        assert (opened.header.vectors, opened.header.embedder) == ("float16", "given")
        assert opened.header == replayed(data)[0].header  # an index belongs to it
        with pytest.raises(ReadOnlyError, match="memvid rescue"):
            opened.append(batch(["x"]))

    def test_with_it_gone_more_is_appended(self) -> None:
        target, _, _ = made()
        again = io.BytesIO(bytes(709) + target.getvalue()[709:])
        writer = Journal.open(again, "a")
        list(writer.replay(writer.start))
        writer.append(batch(["more"]))
        assert ids(replayed(again.getvalue())[1]) == [*ALL, "more"]


class TestWhatCounts:
    @pytest.mark.parametrize("size", [1, 5, 18, 20, 21, 24, 100, 5000])
    def test_stray_bytes_between_commits_cost_nothing(self, size: int) -> None:
        target, _, entries = made()
        data, at = target.getvalue(), entries[1].cursor.offset
        for junk in (b"j" * size, bytes(size)):
            _, found = replayed(data[:at] + junk + data[at:])
            assert ids(found) == ALL
            assert sum(item.records for entry in found for item in entry.damage) == 0
            assert any(entry.damage for entry in found)

    def test_damaged_commit_frames_in_a_row(self) -> None:
        target, _, entries = made(8)
        data = bytearray(target.getvalue())
        for entry in entries[1:7]:
            data[entry.cursor.last_offset + 40] ^= 1
        _, found = replayed(data)
        assert [entry.number for entry in found] == list(range(1, 9))
        assert [entry.row_numbers for entry in found] == [[2 * i, 2 * i + 1] for i in range(8)]
        assert found[-1].cursor == entries[-1].cursor

    @pytest.mark.parametrize("kind", ["records", "vectors", "deletions"])
    def test_what_a_damaged_frame_held_is_counted(self, kind: str) -> None:
        target, journal, _ = made()
        deleting = journal.append(batch(["5a", "5b", "5c"], tombstones=[0, 3]))
        journal.append(batch(["6a"]))
        place = {"records": 0, "vectors": 1, "deletions": 2}[kind]
        found = list(journal.video.frames())[deleting.first_frame + place][1]
        data = bytearray(target.getvalue())
        data[found.offset + 60] ^= 1
        entry = replayed(without_parity(data, found.offset))[1][4]
        counts = {
            name: sum(getattr(item, name) for item in entry.damage) for name in ("records", "vectors", "deletions")
        }
        assert counts == {"records": 0, "vectors": 0, "deletions": 0, kind: 2 if kind == "deletions" else 3}

    def test_a_last_commit_with_a_block_that_was_never_written_does_not_count(self) -> None:
        target, journal, entries = made(3)
        at = journal.cursor.offset
        journal.append(Batch([record("new", bytes(3000).hex() + str(list(range(900))))], tombstones=[0]))
        data, hole = bytearray(target.getvalue()), -(-(at + 200) // 512) * 512
        data[hole : hole + 512] = bytes(512)
        opened, found = replayed(data)
        assert ids(found) == ALL[:6]
        assert not [row for entry in found for row in entry.tombstones]
        assert opened.unfinished
        assert opened.cursor.commit == 3
        with pytest.raises(MemvidError, match="drop_damaged"):
            copy_journal(opened, io.BytesIO(), CODEC, opened.header, np.ones(6, np.bool_))
        _, known = replayed(data, acknowledged=len(data))
        assert [entry.number for entry in known] == [1, 2, 3, 4]
        assert sum(item.records for item in known[-1].damage) == 1
        writer = Journal.open(io.BytesIO(data), "a")
        list(writer.replay(writer.start))
        assert writer.append(batch(["again"])).number == 4
        _, found = replayed(writer.video.target.getvalue())  # type: ignore[union-attr]
        assert ids(found) == [*ALL[:6], "again"]
        assert entries[-1].number == 3

    def test_a_file_cut_short_keeps_what_was_acknowledged(self, tmp_path: Path) -> None:
        target, journal, entries = made()
        data, path = target.getvalue(), tmp_path / "m.mp4"
        cut = entries[3].row_frames[-1].offset + 10  # records are there, vectors are not
        opened, found = replayed(data[:cut], acknowledged=len(data))
        assert ids(found) == ALL
        assert sum(item.vectors for item in found[-1].damage) == 2
        opened, found = replayed(data[: entries[3].start + 50], acknowledged=len(data))
        assert opened.unfinished
        lost = opened.missing(journal.cursor)
        assert lost is not None
        assert (lost.commit, lost.records) == (4, 2)
        path.write_bytes(data[:cut])
        writer = Journal.open(path, "a")
        list(writer.replay(writer.start, acknowledged=len(data)))
        writer.append(batch(["more"]))
        writer.close()
        assert path.read_bytes()[:cut] == data[:cut]
        assert ids(replayed(path.read_bytes())[1]) == [*ALL, "more"]

    def test_a_torn_tail_with_records_is_put_aside_before_it_is_cut(self, tmp_path: Path) -> None:
        target, _, entries = made()
        data, path = target.getvalue(), tmp_path / "m.mp4"
        path.write_bytes(data[: entries[3].start + 900])
        writer = Journal.open(path, "a")
        assert ids(list(writer.replay(writer.start))) == ALL[:6]
        assert (writer.torn_bytes, writer.torn_records) == (900, 2)
        writer.append(batch(["more"]))
        writer.close()
        copy = tmp_path / "m.mp4.torn-1"
        assert copy.read_bytes().endswith(data[entries[3].start :][:900])
        assert [row[0] for row in rows_in(copy) or ()] == ALL[6:]
        assert torn_copies(path) == [copy]
        assert ids(replayed(path.read_bytes())[1]) == [*ALL[:6], "more"]

    def test_time_never_runs_backwards(self, monkeypatch: pytest.MonkeyPatch) -> None:
        target, journal, entries = made(1)
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        assert journal.append(batch(["x"])).time == entries[0].time
        again = Journal.open(target, "a")
        assert again.resume(journal.cursor)
        assert again.append(batch(["y"])).time == entries[0].time


def hostile(bodies: Sequence[tuple[FrameHeader, bytes]], **numbers: Any) -> bytes:
    """A memory of one good commit, one that is given, and another good one; every checksum is right."""
    target, journal, _ = made(1)
    said = {"number": 2, "time": 1, "rows": 3, "added": 1, "deleted": 0, **numbers}
    commit = CommitFrame(**said, frames=0, previous=journal.cursor.chain, chain=b"")
    payloads = packing.Payloads(bodies, commit, CODEC.capacity)
    journal.video.append(payloads)
    again = Journal.open(target, "a")
    list(again.replay(again.start))
    again.append(batch(["last"]))
    return target.getvalue()


def rows_body(*rows: bytes, count: int | None = None) -> bytes:
    return frames.join_blocks([(count or n, data) for n, data in frames.encode_blocks(rows)])


GOOD = (FrameHeader(Kind.RECORDS, 0, 1, 2, 2), rows_body(record("good")))
VECTORS = FrameHeader(Kind.VECTORS, 0, 1, 2, 2)
DEEP = record("deep").replace(b"\x80", b"\x81\xa1x" + b"\x91" * 5000 + b"\xc0")


def bomb() -> bytes:
    rows = b"\xdd" + (1 << 24).to_bytes(4, "big") + b"\x93\xa0\xa0\x80" * (1 << 24)
    return frames.join_blocks([(1 << 24, compression.zstd_frame(rows))])


# Each is made by its test alone, not when the tests are collected: some take a second.
HOSTILE: dict[str, Callable[[], tuple[list[tuple[FrameHeader, bytes]], dict[str, int]]]] = {
    "rows-1e9": lambda: ([GOOD], {"rows": 10**9}),
    "rows-1e12": lambda: ([GOOD], {"rows": 10**12, "added": 10**12}),
    "rows-2^63": lambda: ([GOOD], {"rows": 1 << 63}),
    "number-2^63": lambda: ([GOOD], {"number": 1 << 63}),
    "time-2^62": lambda: ([GOOD], {"time": 1 << 62}),
    "deleted": lambda: ([GOOD], {"deleted": 1 << 60}),
    "row-2^63": lambda: ([GOOD, (FrameHeader(Kind.RECORDS, 0, 1, 1 << 63, 2), GOOD[1])], {}),
    "row-0-again": lambda: ([(FrameHeader(Kind.RECORDS, 0, 1, 0, 2), GOOD[1]), GOOD], {}),
    "dimension-2^32": lambda: ([GOOD, (VECTORS._replace(items=0), frames._VECTORS.pack(2, 0, 0, 2**32 - 1))], {}),
    "dimension-0": lambda: ([GOOD, (VECTORS._replace(items=2**32 - 1), frames._VECTORS.pack(2, 0, 0, 0))], {}),
    "other-dimension": lambda: (
        [GOOD, (VECTORS, frames.encode_vectors(np.ones((1, 5)), np.array([2]), "float16"))],
        {},
    ),
    "nan": lambda: ([GOOD, (VECTORS, frames.encode_vectors(np.full((1, 3), np.nan), np.array([2]), "float16"))], {}),
    "nested": lambda: ([GOOD, (FrameHeader(Kind.RECORDS, 0, 1, 3, 2), rows_body(DEEP))], {"rows": 4, "added": 2}),
    "extension": lambda: (
        [GOOD, (FrameHeader(Kind.RECORDS, 0, 1, 3, 2), rows_body(record("x", "", {"e": msgspec.msgpack.Ext(5, b"")})))],
        {"rows": 4, "added": 2},
    ),
    "rows-in-a-block": lambda: ([GOOD, (FrameHeader(Kind.RECORDS, 0, 1 << 24, 3, 2), bomb())], {}),
    "tombstones": lambda: (
        [GOOD, (FrameHeader(Kind.TOMBSTONES, 0, 10**7, 0, 2), frames.encode_tombstones(range(10**7)))],
        {"deleted": 10**7},
    ),
    "gigabyte": lambda: (
        [
            GOOD,
            (FrameHeader(Kind.RECORDS, 0, 1, 3, 2), frames.join_blocks([(1, compression.zstd_frame(bytes(1 << 28)))])),
        ],
        {"rows": 4, "added": 2},
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_number_is_compared_with_what_is_there(name: str) -> None:
    bodies, numbers = HOSTILE[name]()
    data = hostile(bodies, **numbers)
    start = time.monotonic()
    opened, entries = replayed(data)
    assert time.monotonic() - start < 5
    assert ids(entries) == ["1a", "1b", "good", "last"]
    assert opened.cursor.row <= 8
    assert all(0 <= row < opened.cursor.row for entry in entries for row in entry.row_numbers)
    assert all(matrix.shape[1] == 3 for entry in entries for _, matrix in entry.vectors)
    assert any(entry.damage for entry in entries)


def test_boxes_that_claim_the_rest_of_the_file_cost_no_more_than_their_bytes() -> None:
    target, journal, _ = made(1)
    data = target.getvalue()
    size = 4 << 20
    moof = bytearray(mp4.fragment([(b"x", True)], 5, 9, 9)[0][: mp4.MOOF_BYTES])
    tail = bytearray()
    while len(tail) < size - 4096:
        entries = (size - len(tail) - mp4.MOOF_BYTES) // 8
        claimed = mp4.MOOF_BYTES + 8 * entries
        moof[0:4], moof[24:28] = claimed.to_bytes(4, "big"), (claimed - 24).to_bytes(4, "big")
        moof[72:76], moof[84:88] = (claimed - 72).to_bytes(4, "big"), entries.to_bytes(4, "big")
        moof[88:92] = (claimed + 8).to_bytes(4, "big")
        tail += moof
    start = time.monotonic()
    _, entries_ = replayed(data + tail)
    assert time.monotonic() - start < 10
    assert ids(entries_) == ["1a", "1b"]
    assert journal.cursor.commit == 1


def test_a_pipe_or_a_device_is_no_memory(tmp_path: Path) -> None:

    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        for mode in ("r", "a"):
            with pytest.raises(StorageError, match="regular file"):
                Journal.open(tmp_path / "pipe", mode)
        with pytest.raises(StorageError, match="regular file"):
            Journal.open("/dev/zero")


def test_a_write_that_cannot_be_taken_back_is_not_promised_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    journal = Journal.create(tmp_path / "m.mp4", "pcm", SMALL, vectors="float16", embedder="test")
    journal.append(batch(["a"]))
    monkeypatch.setattr(os, "fsync", fail)
    if sys.platform == "darwin":
        monkeypatch.setattr("fcntl.fcntl", fail)
    with pytest.raises(StorageError, match="nothing was kept"):
        journal.append(batch(["b"]))
    monkeypatch.setattr(ByteFile, "_undo", lambda *_: False)
    with pytest.raises(StorageError, match="unknown whether parts were kept"):
        journal.append(batch(["b"]))
    monkeypatch.undo()
    with pytest.raises(StorageError, match="open it again"):
        journal.append(batch(["c"]))
    journal.close()


def test_noise_behind_a_head_is_no_memory() -> None:
    with pytest.raises(NotAMemoryError):
        Journal.open(io.BytesIO(CODEC.init_segment() + np.random.default_rng(1).bytes(20_000)))
