"""Rebuilding a journal from frame payloads that were found one by one."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from memvid_core.errors import DamagedFrameError, MemoryFileError
from memvid_core.journal import Header
from memvid_core.journal.entries import CommitFrame
from memvid_core.journal.frames import Flag, FrameHeader, Kind, decode_vectors, metric_flags, metric_of, pack, parse
from memvid_core.model import GIVEN
from memvid_core.video import VideoFile
from memvid_core.video.pcm import PcmCodec

__all__ = ["Staged", "stage"]

_MOST_MISSING = 1 << 16  # the maximum number of missing frames in a commit that a symbol may claim
_commit_decoder = msgspec.msgpack.Decoder(CommitFrame)

Parsed = dict[int, tuple[FrameHeader, memoryview]]


class Staged(NamedTuple):
    """Hold a journal of found frames, their original numbers, and the commit whose end was reconstructed."""

    file: io.BytesIO
    numbers: list[int]
    made_up: int | None
    header_made_up: bool = False


def stage(payloads: Mapping[int, bytes]) -> Staged:
    """Build a journal in RAM from payloads in order; a damaged frame replaces each missing frame of a commit.

    The journal's own rules then determine which commits count and what is lost, with two exceptions. If the header is
    lost, it is reconstructed. If the last commit has no COMMIT frame, which a journal takes for an interrupted write,
    one is added: the video was complete before it was damaged.

    Args:
        payloads: The payloads by frame number; those that are not frames of a journal are ignored.
    """
    parsed: Parsed = {}
    for number, payload in payloads.items():
        try:
            parsed[number] = parse(payload, number)
        except MemoryFileError:
            continue
    largest = max((len(payloads[number]) for number in parsed), default=0)
    small = PcmCodec()
    file, numbers = io.BytesIO(), list[int]()
    video = VideoFile.create(file, small if largest <= small.capacity else PcmCodec(64, 64))
    runs = list(_runs(parsed))
    has_header = _has_header(parsed)
    if not has_header:
        runs = [run for run in runs if any(parsed[number][0].commit for number in run if number in parsed)]
        header = _copied_header(parsed) or _made_up_header(parsed)
        video.append(header)
        numbers += range(len(header))
    for run in runs[:-1]:
        video.append([payloads[number] if number in parsed else b"" for number in run])
        numbers += run
    made_up = None
    for run in runs[-1:]:
        last = [payloads[number] if number in parsed else b"" for number in run]
        commit = _made_up_commit(parsed, run)
        if commit is not None:
            made_up = commit.number
            end = FrameHeader(Kind.COMMIT, metric_flags(_metric(parsed)), 0, commit.rows, made_up)
            last += pack(end, msgspec.msgpack.encode(commit), 1 << 30)
        video.append(last)
        numbers += range(run.start, run.start + len(last))
    return Staged(file, numbers, made_up, not has_header)


def _runs(parsed: Parsed) -> Iterator[range]:
    """Yield the frames of each commit, as far as they can be determined."""
    start = 0
    for number in sorted(parsed):
        commit = _commit(parsed, number)
        if commit is None or not 0 < commit.frames <= len(parsed) + _MOST_MISSING:
            continue
        first = max(start, number + 1 - commit.frames)
        yield from _headless(parsed, start, first)
        yield range(first, number + 1)
        start = number + 1
    yield from _headless(parsed, start, max(parsed, default=-1) + 1)


def _headless(parsed: Parsed, start: int, stop: int) -> Iterator[range]:
    """Yield runs of frames whose COMMIT frame is missing, by the commit number in the frames."""
    first = last = -1
    for number in sorted(number for number in parsed if start <= number < stop):
        if first >= 0 and (parsed[number][0].commit != parsed[first][0].commit or number - last > _MOST_MISSING):
            yield range(first, last + 1)
            first = -1
        first, last = number if first < 0 else first, number
    if first >= 0:
        yield range(first, last + 1)


def _commit(parsed: Parsed, number: int) -> CommitFrame | None:
    """Return the content of frame ``number`` if it is a COMMIT frame."""
    header, body = parsed[number]
    if header.kind != Kind.COMMIT:
        return None
    try:
        return _commit_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _made_up_commit(parsed: Parsed, run: range) -> CommitFrame | None:
    """Reconstruct the COMMIT frame of the last run if it has none: its number, and the time of the previous one."""
    seen = [parsed[number][0] for number in run if number in parsed]
    number = next((header.commit for header in seen if header.commit), None)
    if number is None or any(header.kind == Kind.COMMIT for header in seen):
        return None
    before = [commit for place in sorted(parsed) if (commit := _commit(parsed, place)) is not None]
    first = before[-1].rows if before else 0
    rows = max((header.row + header.items for header in seen if header.kind in (Kind.RECORDS, Kind.VECTORS)), default=0)
    return CommitFrame(
        number=number,
        time=before[-1].time if before else 0,
        rows=max(rows, first),
        added=max(rows - first, 0),
        deleted=0,
        frames=len(run) + 1,
        previous=before[-1].chain if before else b"",
        chain=b"",
    )


def _metric(parsed: Parsed) -> str:
    """Return the metric that HEADER and COMMIT frames name."""
    named = (metric_of(header.flags) for header, _ in parsed.values() if header.kind in (Kind.HEADER, Kind.COMMIT))
    return next(filter(None, named), "cosine")


def _has_header(parsed: Parsed) -> bool:
    number = 0
    while number in parsed and parsed[number][0].kind == Kind.PICTURE:
        number += 1
    while number in parsed and parsed[number][0].kind == Kind.HEADER:
        if not parsed[number][0].flags & Flag.MORE:
            return True
        number += 1
    return False


def _copied_header(parsed: Parsed) -> list[bytes] | None:
    """Return the copy of the header in a COMMIT frame, if one was found."""
    copies = (commit.copy for number in sorted(parsed) if (commit := _commit(parsed, number)) is not None)
    copy = next(filter(None, copies), None)
    head = FrameHeader(Kind.HEADER, metric_flags(_metric(parsed)), 0, 0, 0)
    return None if copy is None else pack(head, copy, PcmCodec().capacity)


def _made_up_header(parsed: Parsed) -> list[bytes]:
    """Reconstruct a lost header: with the dtype and metric of the vectors found, without the name of an embedder."""
    vectors, created, metric = "float32", 0, _metric(parsed)
    for number in sorted(parsed):
        header, body = parsed[number]
        commit = _commit(parsed, number)
        if commit is not None and not created:
            created = commit.time
        if header.kind == Kind.VECTORS and not header.flags & Flag.MORE:
            try:
                vectors = str(decode_vectors(header, body, number)[1].dtype)
            except DamagedFrameError:  # part of a body
                continue
    made_up = Header(
        memory_id=uuid.uuid4().bytes, codec="pcm", vectors=vectors, created=created, embedder=GIVEN, metric=metric
    )
    return pack(
        FrameHeader(Kind.HEADER, metric_flags(metric), 0, 0, 0), msgspec.msgpack.encode(made_up), PcmCodec().capacity
    )
