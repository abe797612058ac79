"""The same memory in other pictures: from one codec to another, and back out of what became of a video.

:func:`convert` writes a memory anew through another codec, with every record, id, metadata, commit number and time.
:func:`recover` does so from pictures alone: a transcoded video, a folder of images, a filmed screen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import msgspec

from memvid_core.engine.writing import VectorDtype
from memvid_core.errors import MemoryExistsError, MemoryNotFoundError, NotAMemoryError
from memvid_core.model import Damage
from memvid_core.rewriting.restage import stage
from memvid_core.rewriting.transcode import Conversion, Replayed, copy, fold
from memvid_core.system.atomic_files import appearing, pass_mode_on
from memvid_core.system.progress import progress
from memvid_core.video import get_codec
from memvid_core.video.qr.scan import Scan, ScanReport, Source, scan

__all__ = ["Conversion", "Recovery", "convert", "recover"]

StrPath = str | os.PathLike[str]

_SHOW_PROGRESS_BYTES = 4 << 20


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What pictures still gave: what the scan saw, the frames of the memory that are ``missing``, what was written.

    What comes after the last frame seen cannot be known to be missing.
    """

    scan: ScanReport
    stream: int
    missing: list[int]
    written: Conversion

    @property
    def whole(self) -> bool:
        """Whether everything up to the last frame seen is there."""
        return not (self.missing or self.written.lost or self.written.damage)


def convert(
    source: StrPath,
    target: StrPath,
    *,
    codec: str,
    codec_options: Mapping[str, Any] | None = None,
    vector_dtype: VectorDtype | None = None,
    embedder: object = None,
    keep_history: bool = True,
    drop_damaged: bool = False,
    show_progress: bool | None = None,
) -> Conversion:
    """Write a memory anew in other pictures; records, ids, metadata and the commits' numbers and times stay the same.

    The target appears when it is whole, or not at all. The source is only read.

    Args:
        source: A memory.
        target: The file to make.
        codec: ``"pcm"``, the store, or ``"qr"``, for what must survive a re-encode.
        codec_options: Settings of the codec (``docs/qr.md``).
        vector_dtype: How vectors are stored; None keeps what the source has, but for QR, where that is ``"int8"``.
            ``"none"`` leaves them out, and they are made again when the index is.
        embedder: What makes vectors that the source does not store; by default the built-in one.
        keep_history: Write every commit, and what was deleted, so that the past can be asked as before. Otherwise only
            what is live, in few large commits.
        drop_damaged: Go on where the source is damaged, with what can be read.
        show_progress: Whether to show a bar; None shows it on a terminal, for a file worth it.

    Raises:
        CodecError: Settings that cannot work.
        MemoryExistsError: The target is taken.
        MemoryFileError: The source is damaged, and ``drop_damaged`` is not set.
        EmbedderMismatchError: Vectors have to be made, and the embedder is not the one that wrote the memory.

    Example:
        >>> from memvid_core import Memory
        >>> with Memory.create("store.mp4") as memory:
        ...     ids = memory.add("the wing lifts", metadata={"page": 3}, ids="lift")
        >>> convert("store.mp4", "shared.mp4", codec="qr").records
        1
        >>> with Memory.open("shared.mp4") as memory:
        ...     memory.get("lift").metadata
        {'page': 3}
    """
    made_with = get_codec(codec, **(codec_options or {}))
    journal = Replayed.open(source)
    try:
        with appearing(Path(target)) as beside:
            kind = vector_dtype or ("int8" if codec == "qr" and journal.header.vectors != "none" else None)
            journal.prepare(kind or journal.header.vectors, embedder)
            size = journal.video.size()
            show = show_progress if show_progress is not None or size > _SHOW_PROGRESS_BYTES else False
            with progress("Converting", size, show=show) as advance:
                write = copy if keep_history else fold
                told = write(journal, beside, made_with, drop_damaged=drop_damaged, advance=advance)
            pass_mode_on(Path(source), beside)
        return msgspec.structs.replace(told, path=os.fspath(target))
    finally:
        journal.close()


def recover(
    source: Source | Scan,
    target: StrPath,
    *,
    stream: int | None = None,
    pair: str = "zxing",
    vector_dtype: VectorDtype | None = None,
    embedder: object = None,
) -> Recovery:
    """Write a memory from the symbols that pictures show.

    Every commit that can be read is written under its number and time; of one that is seen in part, the records that
    are there. The target appears when it is whole, or not at all.

    Args:
        source: A video, a folder of images, arrays, or a :class:`~memvid_core.video.qr.scan.Scan` of them.
        target: The file to make, with the codec ``pcm``.
        stream: Which memory, where the pictures show several; a key of ``Scan.streams``.
        pair: Reader of symbols: ``zxing`` or ``zbar``.
        vector_dtype: How vectors are stored; by default as in the memory that was shown.
        embedder: What makes vectors that the pictures do not have; by default the built-in one.

    Raises:
        NotAMemoryError: The pictures show no memory, or several and ``stream`` does not say which.
        MemoryExistsError: The target is taken.

    Example:
        >>> from memvid_core import Memory
        >>> with Memory.create("shown.mp4", codec="qr") as memory:
        ...     ids = memory.add("seen on a screen", ids="a")
        >>> recover("shown.mp4", "notes.mp4").whole
        True
    """
    _check_free(Path(target))
    found = source if isinstance(source, Scan) else scan(source, pair=pair)
    chosen = _stream(found, stream)
    missing = found.report.missing.get(chosen, [])
    staged = stage(found.streams[chosen])
    journal = Replayed.open(staged.file)
    try:
        with appearing(Path(target)) as beside:
            journal.prepare(vector_dtype or journal.header.vectors, embedder)
            written = copy(journal, beside, get_codec("pcm"), drop_damaged=True)
    finally:
        journal.close()
    damage = [_seen(item, staged.numbers, set(missing)) for item in written.damage]
    if staged.made_up is not None:
        # Of a made-up COMMIT frame it says nothing that its numbers do not hold together.
        damage = [item for item in damage if item.commit != staged.made_up or item.frame is not None or item.records]
        damage.append(Damage(None, staged.made_up, 0, "its end was not seen: it has what was seen before that"))
    if 0 in missing:
        damage.insert(0, Damage(0, 0, 0, "what the memory says of itself was not seen: open it with its embedder"))
    written = msgspec.structs.replace(written, path=os.fspath(target), damage=tuple(damage))
    return Recovery(scan=found.report, stream=chosen, missing=missing, written=written)


def _seen(damage: Damage, numbers: Sequence[int], missing: AbstractSet[int]) -> Damage:
    """Damage by the frame numbers of the memory that was shown."""
    if damage.frame is None:
        return damage
    number = numbers[damage.frame]
    reason = f"frame {number} is in none of the pictures" if number in missing else damage.reason
    return msgspec.structs.replace(damage, frame=number, reason=reason)


def _stream(found: Scan, wanted: int | None) -> int:
    sizes = {stream: len(payloads) for stream, payloads in found.streams.items() if payloads}
    if not sizes and found.streams:
        raise NotAMemoryError(f"the pictures show {found.report.symbols} symbols of a memory, and no frame of it whole")
    if not sizes:
        raise NotAMemoryError(f"the pictures show {len(found.texts)} plain texts and no memory; take Scan.texts")
    listed = ", ".join(f"{stream} ({frames} frames)" for stream, frames in sizes.items())
    if wanted is None and len(sizes) > 1:
        raise NotAMemoryError(f"the pictures show {len(sizes)} memories; say which stream: {listed}")
    if wanted is not None and wanted not in sizes:
        raise NotAMemoryError(f"the pictures show no stream {wanted}; there are: {listed}")
    return next(iter(sizes)) if wanted is None else wanted


def _check_free(target: Path) -> None:
    if not target.parent.is_dir():
        raise MemoryNotFoundError(f"the folder {target.parent} does not exist; create it first")
    if os.path.lexists(target):
        raise MemoryExistsError(f"{target} exists; give another name")
