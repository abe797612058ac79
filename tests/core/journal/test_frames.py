"""Frame payloads: what is packed comes back, and what was not written by us is refused."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memvid_core.errors import DamagedFrameError, UnsupportedFormatError
from memvid_core.journal import compression, frames
from memvid_core.journal.frames import Flag, FrameHeader, Kind

headers = st.builds(
    FrameHeader,
    kind=st.sampled_from([Kind.HEADER, Kind.RECORDS, Kind.VECTORS, Kind.TOMBSTONES, Kind.COMMIT, Kind.MODEL]),
    flags=st.sampled_from([0, Flag.COMPRESSED, Flag.SKIPPABLE]),
    items=st.integers(0, 2**32 - 1),
    row=st.integers(0, 2**64 - 1),
    commit=st.integers(0, 2**64 - 1),
)


@given(header=headers, body=st.binary(max_size=500), room=st.integers(1, 200))
def test_a_body_of_any_size_is_carried_by_as_many_frames_as_it_takes(
    header: FrameHeader, body: bytes, room: int
) -> None:
    payloads = frames.pack(header, body, frames.HEADER_BYTES + room)
    parsed = [frames.parse(payload, number) for number, payload in enumerate(payloads)]
    assert b"".join(bytes(part) for _, part in parsed) == body
    assert [bool(head.flags & Flag.MORE) for head, _ in parsed] == [True] * (len(parsed) - 1) + [False]
    assert all(head._replace(flags=head.flags & ~Flag.MORE) == header for head, _ in parsed)
    assert all(len(payload) <= frames.HEADER_BYTES + room for payload in payloads)


def test_a_newer_version_kind_or_flag_is_refused_by_name() -> None:
    (payload,) = frames.pack(FrameHeader(Kind.RECORDS, 0, 0, 0, 1), b"", 1000)
    newer = payload[:4] + b"\x04" + payload[5:]
    with pytest.raises(UnsupportedFormatError, match="version 4"):
        frames.parse(newer, 0)
    for kind, flags in [(99, 0), (Kind.BLOBS, 0), (Kind.RECORDS, Flag.ENCRYPTED), (Kind.RECORDS, 1 << 9)]:
        (unknown,) = frames.pack(FrameHeader(kind, flags, 0, 0, 1), b"", 1000)
        with pytest.raises(UnsupportedFormatError, match="newer memvid-core"):
            frames.parse(unknown, 0)


def test_an_unknown_kind_that_may_be_skipped_is_passed_on() -> None:
    (payload,) = frames.pack(FrameHeader(99, Flag.SKIPPABLE, 0, 0, 1), b"later", 1000)
    assert frames.parse(payload, 0)[0].kind == 99


@given(data=st.binary(max_size=80))
def test_bytes_that_are_no_payload_are_damage(data: bytes) -> None:
    with pytest.raises((DamagedFrameError, UnsupportedFormatError)):
        frames.parse(data, 0)


rows = st.lists(
    st.tuples(st.text(max_size=20), st.text(max_size=200), st.dictionaries(st.text(max_size=5), st.integers(-9, 9))),
    min_size=1,
    max_size=40,
)


@given(rows=rows, block_bytes=st.integers(1, 2000))
def test_rows_come_back_from_their_blocks(rows: list[tuple[str, str, dict[str, int]]], block_bytes: int) -> None:
    body = frames.join_blocks(list(frames.encode_blocks([msgspec.msgpack.encode(row) for row in rows], block_bytes)))
    blocks = frames.decode_blocks(body, 0)
    assert sum(block.rows for block in blocks) == len(rows)
    decoded = [msgspec.msgpack.decode(raw) for block in blocks for raw in frames.decode_rows(body, block, 0)]
    assert [tuple(row) for row in decoded] == rows


@given(data=st.binary(max_size=60))
def test_a_record_body_that_is_noise_is_damage(data: bytes) -> None:
    def read() -> list[msgspec.Raw]:
        blocks = frames.decode_blocks(data, 3)
        assert all(block.rows or block.size for block in blocks) or not blocks
        return [raw for block in blocks for raw in frames.decode_rows(data, block, 3)]

    if data[:4] == bytes(4) and len(data) == 4:
        assert read() == []  # an empty table is a body
        return
    with pytest.raises((DamagedFrameError, AssertionError)):
        read()


def test_a_block_that_claims_gigabytes_is_not_believed() -> None:
    bomb = b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little")  # a zstd header with that content size (RFC 8878)
    with pytest.raises(DamagedFrameError, match="claims"):
        compression.decompress(bomb, 0)


matrices = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-100, 100, width=16)
)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@given(matrix=matrices, gap=st.booleans())
def test_vectors_come_back_exactly_in_the_dtype_they_are_stored_in(dtype: str, matrix: np.ndarray, gap: bool) -> None:
    rows = np.arange(len(matrix), dtype=np.int64) * (2 if gap else 1) + 40
    body = frames.encode_vectors(matrix, rows, dtype)
    header = FrameHeader(Kind.VECTORS, 0, len(matrix), int(rows[0]), 1)
    found_rows, found = frames.decode_vectors(header, body, 0)
    assert found_rows.tolist() == rows.tolist()
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found, matrix.astype(dtype))


@given(matrix=matrices)
def test_int8_vectors_come_back_within_half_a_step_and_settle(matrix: np.ndarray) -> None:
    rows = np.arange(len(matrix), dtype=np.int64)
    header = FrameHeader(Kind.VECTORS, 0, len(matrix), 0, 1)
    _, once = frames.decode_vectors(header, frames.encode_vectors(matrix, rows, "int8"), 0)
    step = np.abs(matrix).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(once - matrix) <= step / 2 + 1e-4)
    _, twice = frames.decode_vectors(header, frames.encode_vectors(once, rows, "int8"), 0)
    assert np.allclose(twice, once, rtol=1e-6)


def test_vectors_whose_sizes_do_not_add_up_are_damage() -> None:
    body = frames.encode_vectors(np.ones((2, 3)), np.arange(2), "float16")
    with pytest.raises(DamagedFrameError, match="take"):
        frames.decode_vectors(FrameHeader(Kind.VECTORS, 0, 3, 0, 1), body, 0)
    with pytest.raises(UnsupportedFormatError, match="type 77"):
        frames.decode_vectors(FrameHeader(Kind.VECTORS, 0, 2, 0, 1), b"\x4d" + body[1:], 0)


@given(rows=st.sets(st.integers(0, 2**40), min_size=1, max_size=50))
def test_tombstones_come_back_sorted(rows: set[int]) -> None:
    body = frames.encode_tombstones(rows)
    header = FrameHeader(Kind.TOMBSTONES, 0, len(rows), 0, 1)
    assert frames.decode_tombstones(header, body, 0).tolist() == sorted(rows)
    with pytest.raises(DamagedFrameError):
        frames.decode_tombstones(header._replace(items=len(rows) + 1), body, 0)


def test_packing_many_rows_hardly_runs_the_garbage_collector() -> None:
    rows = [bytes(1000)] * 80_000
    runs: list[str] = []

    def count(phase: str, info: dict[str, Any]) -> None:
        runs.append(phase)

    gc.collect()
    gc.callbacks.append(count)
    try:
        blocks = sum(1 for _ in frames.encode_blocks(rows))
    finally:
        gc.callbacks.remove(count)
    assert blocks > 2000
    assert runs.count("start") <= 1  # a container a block was enough for five
