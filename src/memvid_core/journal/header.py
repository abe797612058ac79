"""The header of a journal: from the first frame, from a copy, or reconstructed if all are lost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, dropwhile
from typing import NamedTuple, get_args

import msgspec

from memvid_core.errors import MemvidError, UnsupportedFormatError
from memvid_core.journal import packing
from memvid_core.journal.entries import CommitFrame, Cursor, Header
from memvid_core.journal.frames import Flag, Kind, decode_vectors, metric_of
from memvid_core.journal.reading import LAST_TIME, MOST_COMMITS, Reading, readings
from memvid_core.model import GIVEN, Damage, Metric
from memvid_core.video import Fragment, Position, TornTail, VideoFile

__all__ = ["NO_CHAIN", "Opening", "after", "open_head", "start_at"]

"""The embedder of a memory whose vectors were passed with its records, or whose header is lost."""
NO_CHAIN = bytes(16)
_LOOKED_AT = 64  # readable commits that are searched for a copy of a lost header
_MOST_DIMENSIONS = 1 << 24
_VECTORS = frozenset({"float16", "float32", "float64", "int8", "none"})
_header_decoder = msgspec.msgpack.Decoder(Header)


class Opening(NamedTuple):
    """The start of a journal: its header, the position after commit 0, and the damage of both."""

    header: Header
    start: Cursor
    damage: list[Damage]
    made_up: bool = False


def start_at(position: Position) -> Cursor:
    """Return the position before commit 0."""
    return Cursor(*position, commit=-1, row=0, chain=NO_CHAIN, last_frame=0, last_offset=0, last_size=0)


def after(fragment: Fragment, commit: CommitFrame) -> Cursor:
    """Return the position after a commit."""
    frame = fragment.first_frame + len(fragment)
    last = (int(fragment.offsets[-1]), int(fragment.sizes[-1])) if len(fragment) else (0, 0)
    return Cursor(
        offset=fragment.end,
        frame=frame,
        fragment=fragment.sequence,
        commit=commit.number,
        row=commit.rows,
        chain=commit.chain,
        last_frame=frame - 1,
        last_offset=last[0],
        last_size=last[1],
    )


def open_head(video: VideoFile) -> Opening | None:
    """Read the start of the journal in a video; return None if nothing of a journal is readable."""
    damage = [] if video.head_damage is None else [Damage(None, 0, 0, video.head_damage)]
    found = _readings(video)
    first = next(found, None)
    if first is None:
        return None
    header = _header(first)
    start = _behind(video, first, header, damage)
    if header is not None:
        return Opening(header, start, damage)
    others = _with_frames(first, found)
    if not others:
        return None
    copy = next(filter(None, map(_copy, others)), None)
    if copy is not None:
        damage.append(Damage(0, 0, 0, "the header is damaged; a copy of it is used"))
        return Opening(copy, start, damage)
    lost = "the header is damaged and has no copy: the embedder and the settings of the memory are lost"
    damage.append(Damage(0, 0, 0, lost))
    return Opening(_made_up(video, others), start, damage, made_up=True)


def _readings(video: VideoFile) -> Iterator[Reading]:
    most = 4 * video.size()
    for found in video.walk(video.start):
        if not isinstance(found, TornTail):
            yield from readings(video, found, most)


def _with_frames(first: Reading, others: Iterator[Reading]) -> list[Reading]:
    """Return the first readings with frames, up to one with a copy of the header."""
    found: list[Reading] = []
    for reading in chain([first], others):
        if reading.pieces:
            found.append(reading)
        if len(found) >= _LOOKED_AT or (found and _copy(found[-1]) is not None):
            break
    return found


def _header(reading: Reading) -> Header | None:
    """Return the header, or None if the first frames of the file do not contain all of it.

    Its frames say in ``items`` how many pictures are before them.
    """
    body = b""
    pieces = dropwhile(lambda piece: piece.header.kind == Kind.PICTURE, reading.pieces)
    for i, piece in enumerate(pieces):
        if piece.header.kind != Kind.HEADER or piece.number != i + piece.header.items:
            return None
        body += piece.body
        if not piece.header.flags & Flag.MORE:
            return _decoded(body)
    return None


def _copy(reading: Reading) -> Header | None:
    copy = b"" if reading.commit is None else reading.commit.copy
    return _decoded(copy) if copy else None


def _decoded(body: bytes) -> Header | None:
    """Decode a header; return None if its numbers are not plausible.

    Raises:
        UnsupportedFormatError: If the metric is unknown.
    """
    try:
        header = _header_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    believable = (
        0 <= header.created <= LAST_TIME
        and 0 <= header.epoch < MOST_COMMITS
        and 0 <= header.history_from < MOST_COMMITS
        and (header.dimension is None or 0 < header.dimension < _MOST_DIMENSIONS)
        and header.vectors in _VECTORS
    )
    if believable and header.metric not in get_args(Metric):
        raise UnsupportedFormatError(
            f"the memory has the metric {header.metric!r}, which needs a newer memvid-core; upgrade it"
        )
    return header if believable else None


def _behind(video: VideoFile, first: Reading, header: Header | None, damage: list[Damage]) -> Cursor:
    """Return the position after commit 0, and append its damage to ``damage``."""
    fragment = first.fragment
    if fragment.first_frame or not (fragment.listed or first.number == 0) or first.number not in (0, None):
        damage.append(Damage(None, 0, 0, "commit 0 is missing, or its boxes are damaged"))
        return after(
            Fragment(0, video.head_size, 0, 0, fragment.offsets[:0], fragment.sizes[:0]), _commit_0(None, first)
        )
    if fragment.damage:
        damage.append(Damage(None, 0, 0, fragment.damage))
    damage += [Damage(number, 0, 0, reason) for number, reason in first.unread]
    commit = first.commit
    if commit is None:
        damage.append(Damage(None, 0, 0, "its COMMIT frame is damaged, and was reconstructed"))
        commit = _commit_0(header, first)
    elif not first.unread and packing.chain(commit, first.digests) != commit.chain:
        damage.append(Damage(None, 0, 0, "its chained checksum does not match its contents"))
    return after(fragment, commit)


def _commit_0(header: Header | None, first: Reading) -> CommitFrame:
    """Reconstruct the COMMIT frame of commit 0; without the header its chain is unknown."""
    made = CommitFrame(0, header.created if header else 0, 0, 0, 0, 0, NO_CHAIN, NO_CHAIN)
    if header is None or not first.whole:
        return made
    return msgspec.structs.replace(made, chain=packing.chain(made, first.digests))


def _made_up(video: VideoFile, others: list[Reading]) -> Header:
    """Reconstruct a lost header as far as the frames show: dtype and metric of the vectors.

    Any embedder may open it.
    """
    vectors, created, metric = "float32", 0, "cosine"
    for reading in reversed(others):
        if reading.commit is not None:
            created = reading.commit.time
        for piece in reading.pieces:
            if piece.header.kind == Kind.COMMIT:
                metric = metric_of(piece.header.flags) or metric
            if piece.header.kind == Kind.VECTORS and not piece.header.flags & Flag.MORE:
                with suppress(MemvidError):
                    vectors = str(decode_vectors(piece.header, piece.body, piece.number)[1].dtype)
    identity = hashlib.blake2b(others[0].pieces[0].digest, digest_size=16).digest()
    header = Header(memory_id=identity, codec=video.codec.name, vectors=vectors, created=created, embedder=GIVEN)
    return msgspec.structs.replace(header, metric=metric)
