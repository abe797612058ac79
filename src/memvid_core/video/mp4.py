"""ISO base media file format (ISO/IEC 14496-12): the boxes of an append-only fragmented MP4.

The head of the file (``ftyp`` and ``moov``) is written once by FFmpeg's muxer through PyAV. Each commit adds one
fragment, which is written here, so that the locations of its frames are known::

    moof( mfhd(sequence) traf( tfhd tfdt(first picture) trun(size, flags ...) ) )  mdat(...)  free(footer)  free(parity)

Players skip ``free`` boxes. The footer shows that a fragment was written completely, even if it was damaged later. The
parity, which small fragments do not have, restores one damaged sector of the boxes before it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.video.codec import Sample, SampleEntry

if TYPE_CHECKING:
    import av

__all__ = [
    "ENTRY_BYTES",
    "FIRST_TIMESCALE",
    "FOOTER_BYTES",
    "FOOTER_MARK",
    "MOOF_BYTES",
    "PARITY_BYTES",
    "PARITY_MARK",
    "TIMESCALE",
    "Box",
    "FragmentHead",
    "about_box",
    "boxes",
    "deltas",
    "fragment",
    "init_segment",
    "mdat_header",
    "parity_box",
    "parity_fits",
    "parse_about",
    "parse_entries",
    "parse_few_entries",
    "parse_footer",
    "parse_moof",
    "parse_parity",
    "parse_sample_entry",
    "parse_timescale",
    "parse_title",
    "sequence_of",
    "with_timescale",
    "with_user_data",
]

TIMESCALE = 2
"""Pictures per second: each picture lasts one tick. At one a second, VLC drops pictures as too late."""
FIRST_TIMESCALE = 30
"""That of files without a checksum of their head."""

_SAMPLE_IS_KEY = 0x02000000  # sample_depends_on = 2: depends on no other
_SAMPLE_IS_DELTA = 0x01010000  # sample_depends_on = 1, sample_is_non_sync_sample
_KINDS = (_SAMPLE_IS_KEY, _SAMPLE_IS_DELTA)
_ENTRY = struct.Struct(">II")
_TRUN_FLAGS = 0x000001 | 0x000200 | 0x000400  # data offset; size and flags of each sample
_TFHD_FLAGS = 0x020000 | 0x000008  # default-base-is-moof; default sample duration
_FOOTER = struct.Struct(">I4s4sIQ")
_FOOTER_MAGIC = b"mvid"
FOOTER_BYTES = _FOOTER.size
FOOTER_MARK = b"free" + _FOOTER_MAGIC
"""A footer from its fifth byte on."""
_PARITY = struct.Struct(">I4s4sQQ")
_PARITY_MAGIC = b"mvpa"
PARITY_BYTES = _PARITY.size
"""Size of a parity box without its parity."""
PARITY_MARK = b"free" + _PARITY_MAGIC
"""A parity box from its fifth byte on."""
_MOST_PARITY = 1 << 16
_TITLE = b"\xa9nam"
_UTF_8, _PNG = 1, 14  # well-known types of metadata values
_MOOF = struct.Struct(">I4sI4sIII4sI4sIIII4sIQI4sIIi")
MOOF_BYTES = _MOOF.size
"""Size of a ``moof`` without its table of pictures."""
_REST = struct.Struct(">16xII16xIII8xI")
_REST_AS_WRITTEN = (0, _TFHD_FLAGS, 1, 1, 1 << 24)
_TRUN_AT = MOOF_BYTES - 20
ENTRY_BYTES = 8
"""Size of a picture's entry in the table."""


class Box(NamedTuple):
    """Describe a box: its four-character type, its start, the start of its content, and its end."""

    type: bytes
    start: int
    content: int
    end: int


class FragmentHead(NamedTuple):
    """Hold the values in the fixed part of a ``moof``.

    They are its size in bytes, the number of its first picture, the number of pictures, and the offset of the first
    picture from the start of the box.
    """

    size: int
    first_picture: int
    pictures: int
    data_offset: int


class Parity(NamedTuple):
    """Hold the values of a parity box: how many bytes before it are covered, its size in bytes, and its checksum."""

    covered: int
    length: int
    checksum: int

    @property
    def size(self) -> int:
        """The size of the box in bytes."""
        return PARITY_BYTES + self.length


class Footer(NamedTuple):
    """Hold the values of the box after a fragment: the number of its first frame, and its size in bytes."""

    first_frame: int
    size: int


def _box(kind: bytes, *content: bytes) -> bytes:
    size = 8 + sum(map(len, content))
    return struct.pack(">I4s", size, kind) + b"".join(content)


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield the complete boxes between ``start`` and ``end`` of ``data``; stop at the first incomplete one."""
    end = len(data) if end is None else end
    while end - start >= 8:
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1 and end - start >= 16:
            (size,) = struct.unpack_from(">Q", data, content)
            content += 8
        if size < content - start or start + size > end:
            return
        yield Box(kind, start, content, start + size)
        start += size


def init_segment(template: av.VideoStream, timescale: int = TIMESCALE) -> bytes:
    """Return ``ftyp`` and ``moov`` of a fragmented MP4 with one track like ``template``, as FFmpeg's muxer writes them.

    ``timescale`` is the number of pictures per second.
    """
    import av

    buffer = io.BytesIO()
    options = {
        "movflags": "empty_moov+default_base_moof+frag_custom",
        "video_track_timescale": str(timescale),
        "fflags": "+bitexact",
    }
    with av.open(buffer, "w", format="mp4", options=options) as container:
        container.add_stream_from_template(template, opaque=True)  # otherwise PyAV requires an encoder of that name
        container.start_encoding()
    data = buffer.getvalue()
    return b"".join(data[box.start : box.end] for box in boxes(data) if box.type in (b"ftyp", b"moov"))


def add_to_sample_entry(head: bytes, kind: bytes, content: bytes) -> bytes:
    """Append a box to the video track's sample entry in ``head``; readers skip unknown boxes (4.2.2).

    Raises:
        ValueError: ``head`` has no sample entry.
    """
    path = _sample_entry_path(head)
    if path is None:
        raise ValueError("this head has no video sample entry")
    added = _box(kind, content)
    out = bytearray(head)
    for box in path:
        struct.pack_into(">I", out, box.start, box.end - box.start + len(added))
    out[path[-1].end : path[-1].end] = added
    return bytes(out)


def with_user_data(head: bytes, about: bytes) -> bytes:
    """Return a head with another ``udta`` box, of which ``moov``, the last box, may have only one.

    Raises:
        ValueError: ``head`` does not end with ``moov``.
    """
    last = list(boxes(head))[-1:]
    if not last or last[0].type != b"moov" or last[0].end != len(head):
        raise ValueError("this head does not end with moov")
    kept = [box for box in boxes(head, last[0].content) if box.type != b"udta"]
    return head[: last[0].start] + _box(b"moov", *(head[box.start : box.end] for box in kept), about)


def about_box(title: str, comment: str, cover: bytes = b"") -> bytes:
    """Return the ``udta`` box with the metadata that players show: title, comment, and a PNG picture as the cover."""
    items = [
        _box(kind, _box(b"data", struct.pack(">II", form, 0), value))
        for kind, form, value in (
            (_TITLE, _UTF_8, title.encode()),
            (b"\xa9cmt", _UTF_8, comment.encode()),
            (b"covr", _PNG, cover),
        )
        if value
    ]
    handler = _box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    return _box(b"udta", _box(b"meta", bytes(4), handler, _box(b"ilst", *items)))


def parse_about(head: bytes) -> bytes:
    """Return the ``udta`` box of a ``ftyp`` + ``moov`` head as it is; empty if it has none."""
    moov = next((box for box in boxes(head) if box.type == b"moov"), None)
    inside = () if moov is None else boxes(head, moov.content, moov.end)
    return next((head[box.start : box.end] for box in inside if box.type == b"udta"), b"")


def parse_title(head: bytes) -> str | None:
    """Return the title in the metadata of a ``ftyp`` + ``moov`` head; None if it has none."""
    start, end = 0, len(head)
    for kind, skipped in ((b"moov", 0), (b"udta", 0), (b"meta", 4), (b"ilst", 0)):
        found = next((box for box in boxes(head, start, end) if box.type == kind), None)
        if found is None:
            return None
        start, end = found.content + skipped, found.end
    title = next((box for box in boxes(head, start, end) if box.type == _TITLE), None)
    return None if title is None else head[title.content + 16 : title.end].decode(errors="replace")


def parse_timescale(head: bytes) -> int | None:
    """Return the number of ticks per second of the track in a ``ftyp`` + ``moov`` head, or None if it names none."""
    at = _timescale_place(head)
    return None if at is None else int.from_bytes(head[at : at + 4], "big") or None


def with_timescale(head: bytes, timescale: int) -> bytes:
    """Return a head with another number of ticks per second."""
    at = _timescale_place(head)
    return head if at is None else head[:at] + timescale.to_bytes(4, "big") + head[at + 4 :]


def _timescale_place(head: bytes) -> int | None:
    start, end = 0, len(head)
    for kind in (b"moov", b"trak", b"mdia", b"mdhd"):
        found = next((box for box in boxes(head, start, end) if box.type == kind), None)
        if found is None:
            return None
        start, end = found.content, found.end
    return None if end - start < 24 else start + (20 if head[start] else 12)


def _sample_entry_path(head: bytes) -> list[Box] | None:
    """Return the boxes that contain the first sample entry, from ``moov`` inwards, and the entry itself."""
    path: list[Box] = []
    start, end = 0, len(head)
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        found = next((box for box in boxes(head, start, end) if box.type == kind), None)
        if found is None:
            return None
        path.append(found)
        start, end = found.content, found.end
    entry = next(iter(boxes(head, start + 8, end)), None)  # after version, flags and entry_count (8.5.2)
    if entry is None or entry.end - entry.content < 78:
        return None
    return [*path, entry]


def parse_sample_entry(head: bytes) -> SampleEntry | None:
    """Return the video track's sample entry in a ``ftyp`` + ``moov`` head, or None if there is none."""
    path = _sample_entry_path(head)
    if path is None:
        return None
    entry = path[-1]
    width, height = struct.unpack_from(">HH", head, entry.content + 24)  # VisualSampleEntry (12.1.3)
    return SampleEntry(entry.type, width, height, head[entry.content + 78 : entry.end])


def mdat_header(size: int) -> bytes:
    """Return the header of an ``mdat`` box with ``size`` bytes of content; 64-bit beyond 4 GiB."""
    return struct.pack(">I4sQ", 1, b"mdat", 16 + size) if size > 0xFFFFFFF0 else struct.pack(">I4s", 8 + size, b"mdat")


def fragment(samples: Sequence[Sample], sequence: int, first_picture: int, first_frame: int) -> list[bytes]:
    """Return one fragment as a list of byte strings to be written in order.

    Args:
        samples: The coded pictures.
        sequence: The number of the fragment, from 1.
        first_picture: The number of its first picture in the whole video; it becomes the decode time.
        first_frame: The number of its first frame, for the footer.
    """
    size = sum(len(data) for data, _ in samples)
    head = mdat_header(size)
    entries = b"".join(
        struct.pack(">II", len(data), _SAMPLE_IS_KEY if key else _SAMPLE_IS_DELTA) for data, key in samples
    )
    trun_size = 20 + len(entries)
    moof_size = 8 + 16 + 8 + 20 + 20 + trun_size
    moof = _box(
        b"moof",
        _box(b"mfhd", struct.pack(">II", 0, sequence & 0xFFFFFFFF)),
        _box(
            b"traf",
            _box(b"tfhd", struct.pack(">III", _TFHD_FLAGS, 1, 1)),
            _box(b"tfdt", struct.pack(">IQ", 1 << 24, first_picture)),
            _box(b"trun", struct.pack(">IIi", _TRUN_FLAGS, len(samples), moof_size + len(head)), entries),
        ),
    )
    total = len(moof) + len(head) + size + FOOTER_BYTES
    footer = _FOOTER.pack(FOOTER_BYTES, b"free", _FOOTER_MAGIC, first_frame, total)
    return [moof, head, *(data for data, _ in samples), footer]


def sequence_of(moof: bytes) -> int | None:
    """Return the number of a fragment, or None if a byte is not as written that :func:`parse_moof` does not compare.

    Args:
        moof: The ``moof``, which :func:`parse_moof` and :func:`parse_entries` can read.
    """
    mfhd, sequence, tfhd, track, duration, tfdt = _REST.unpack_from(moof)
    return sequence if (mfhd, tfhd, track, duration, tfdt) == _REST_AS_WRITTEN else None


def deltas(moof: bytes, count: int) -> list[int]:
    """Return which of the ``count`` pictures are no key pictures, as the table of a ``moof`` says."""
    at = MOOF_BYTES + ENTRY_BYTES // 2
    kinds = moof[at : at + ENTRY_BYTES * count : ENTRY_BYTES]
    key = _SAMPLE_IS_KEY >> 24
    return [] if kinds == bytes([key]) * count else [i for i, kind in enumerate(kinds) if kind != key]


def parse_footer(data: bytes) -> Footer | None:
    """Return the values of a footer, or None if the bytes are not a footer."""
    if len(data) != FOOTER_BYTES:
        return None
    size, kind, magic, first_frame, total = _FOOTER.unpack(data)
    return Footer(first_frame, total) if (size, kind, magic) == (FOOTER_BYTES, b"free", _FOOTER_MAGIC) else None


def parity_box(covered: int, parity: bytes) -> bytes:
    """Return the box with the parity of the ``covered`` bytes before it."""
    checksum = xxhash.xxh3_64_intdigest(parity, covered)
    return _PARITY.pack(PARITY_BYTES + len(parity), b"free", _PARITY_MAGIC, covered, checksum) + parity


def parse_parity(data: bytes) -> Parity | None:
    """Return the values in the first :data:`PARITY_BYTES` of a parity box, or None if the bytes do not begin one."""
    if len(data) != PARITY_BYTES:
        return None
    size, kind, magic, covered, checksum = _PARITY.unpack(data)
    length = size - PARITY_BYTES
    if (kind, magic) != (b"free", _PARITY_MAGIC) or not 0 < length <= _MOST_PARITY:
        return None
    return Parity(covered, length, checksum)


def parity_fits(box: bytes, parity: Parity) -> bool:
    """Return whether a complete parity box is intact."""
    return len(box) == parity.size and xxhash.xxh3_64_intdigest(box[PARITY_BYTES:], parity.covered) == parity.checksum


def parse_moof(start: bytes) -> FragmentHead | None:
    """Return the values in the first :data:`MOOF_BYTES` of a ``moof``, or None if this module cannot have written them.

    The table of pictures follows them; :func:`parse_entries` reads it.
    """
    if len(start) < MOOF_BYTES:
        return None
    fields = _MOOF.unpack_from(start)
    size, picture, count, data_offset = fields[0], fields[16], fields[20], fields[21]
    boxes_ = (fields[1:4], fields[6:10], fields[13:15], fields[17:19])
    rest = size - _TRUN_AT
    wanted = ((b"moof", 16, b"mfhd"), (size - 24, b"traf", 20, b"tfhd"), (20, b"tfdt"), (rest, b"trun"))
    if boxes_ != wanted or fields[19] != _TRUN_FLAGS or size != MOOF_BYTES + ENTRY_BYTES * count or not count:
        return None
    return FragmentHead(size, picture, count, data_offset) if data_offset - size in (8, 16) else None


def parse_entries(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
    """Return the picture sizes in bytes in a part of a ``moof``'s table, and which are key pictures; else None."""
    entries = np.frombuffer(data, ">u4").reshape(-1, 2)
    keys = entries[:, 1] == _SAMPLE_IS_KEY
    if not (keys | (entries[:, 1] == _SAMPLE_IS_DELTA)).all():
        return None
    return entries[:, 0].astype(np.int64), keys


def parse_few_entries(data: bytes, count: int) -> tuple[list[int], list[bool]] | None:
    """Return the same as :func:`parse_entries`, in lists, for a whole table of ``count`` pictures, which are few."""
    if len(data) != count * ENTRY_BYTES:
        return None
    sizes, keys = [], []
    for size, kind in _ENTRY.iter_unpack(data):
        if kind not in _KINDS:
            return None
        sizes.append(size)
        keys.append(kind == _SAMPLE_IS_KEY)
    return sizes, keys
