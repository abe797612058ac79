"""Converting a memory to another codec, and recovering one from the pictures of a video.

:func:`convert` rewrites a memory with another codec, with every record, id, metadata, commit number and time.
:func:`recover` does so from pictures: a transcoded video, a folder of images, a filmed screen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import msgspec

from memvid_core.errors import MemoryExistsError, MemoryNotFoundError, NotAMemoryError, storage_errors
from memvid_core.journal import Journal
from memvid_core.model import Damage, VectorDtype
from memvid_core.rewriting.restage import stage
from memvid_core.rewriting.transcode import Conversion, TargetVectors, copy, copy_live
from memvid_core.system.atomic_files import appearing
from memvid_core.system.permissions import pass_mode_on
from memvid_core.system.progress import progress
from memvid_core.video import get_codec
from memvid_core.video.qr.scan import Scan, ScanReport, Source, scan

__all__ = ["Conversion", "Recovery", "convert", "recover"]

StrPath = str | os.PathLike[str]

_SHOW_PROGRESS_BYTES = 4 << 20


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """Report a recovery: the scan, the ``missing`` frames of the memory, and the written records.

    Frames after the last one seen cannot be detected as missing.
    """

    scan: ScanReport
    stream: int
    missing: list[int]
    written: Conversion

    @property
    def whole(self) -> bool:
        """Whether everything up to the last frame seen was recovered."""
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
    """Rewrite a memory with another codec; records, ids, metadata, commit numbers and times are unchanged.

    The target appears when it is complete, or not at all. The source is only read.

    Args:
        source: A memory.
        target: The file to create.
        codec: ``"pcm"`` for storage, or ``"qr"`` for videos that will be re-encoded.
        codec_options: Settings of the codec (``docs/qr.md``).
        vector_dtype: The dtype of the vectors. None keeps that of the source, except for QR, which uses ``"int8"``.
            ``"none"`` omits vectors; they are computed again whenever the index is rebuilt.
        embedder: The embedder for vectors that the source does not store; by default the built-in one.
        keep_history: Whether to write every commit, including deleted records, so that earlier states stay available.
            Otherwise only live records are written, in few large commits.
        drop_damaged: Whether to continue without records that are damaged in the source.
        show_progress: Whether to show a progress bar; None shows it on a terminal for large files.

    Raises:
        CodecError: A setting is invalid.
        MemoryExistsError: The target exists.
        MemoryFileError: The source is damaged, and ``drop_damaged`` is False.
        EmbedderMismatchError: Vectors must be computed, and the embedder did not write the memory.
        StorageError: The system refused a read or a write.

    Example:
        >>> from memvid_core import Memory, convert
        >>> with Memory.create("store.mp4") as memory:
        ...     ids = memory.add("the wing lifts", metadata={"page": 3}, ids="lift")
        >>> convert("store.mp4", "shared.mp4", codec="qr").records
        1
        >>> with Memory.open("shared.mp4") as memory:
        ...     memory.get("lift").metadata
        {'page': 3}
    """
    made_with = get_codec(codec, **(codec_options or {}))
    with storage_errors():
        journal = Journal.open(source)
        try:
            with appearing(Path(target)) as made:
                kind = vector_dtype or ("int8" if codec == "qr" and journal.header.vectors != "none" else None)
                vectors = TargetVectors.of(journal.header, kind or journal.header.vectors, embedder)
                size = journal.video.size()
                show = show_progress if show_progress is not None or size > _SHOW_PROGRESS_BYTES else False
                with progress("Converting", size, show=show) as advance:
                    write = copy if keep_history else copy_live
                    written = write(journal, made, made_with, vectors, drop_damaged=drop_damaged, advance=advance)
                pass_mode_on(Path(source), made)
            return msgspec.structs.replace(written, path=os.fspath(target))
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
    """Write a memory from the symbols in pictures.

    Every readable commit is written with its number and time; of an incomplete commit, the available records are
    written. The target appears when it is complete, or not at all.

    Args:
        source: A video, a folder of images, arrays, or a :class:`~memvid_core.video.qr.scan.Scan` of them.
        target: The file to create, with the codec ``pcm``.
        stream: The memory to recover if the pictures show several; a key of ``Scan.streams``.
        pair: The reader of symbols: ``zxing`` or ``zbar``.
        vector_dtype: The dtype of the vectors; by default that of the memory in the pictures.
        embedder: The embedder for vectors that the pictures do not contain; by default the built-in one.

    Raises:
        NotAMemoryError: The pictures do not show a memory, or show several and ``stream`` is None.
        MemoryExistsError: The target exists.
        StorageError: The system refused a read or a write.

    Example:
        >>> from memvid_core import Memory, recover
        >>> with Memory.create("shown.mp4", codec="qr") as memory:
        ...     ids = memory.add("seen on a screen", ids="a")
        >>> recover("shown.mp4", "notes.mp4").whole
        True
    """
    with storage_errors():
        _check_free(Path(target))
        found = source if isinstance(source, Scan) else scan(source, pair=pair)
        chosen = _stream(found, stream)
        missing = found.report.missing.get(chosen, [])
        staged = stage(found.streams[chosen])
        journal = Journal.open(staged.file)
        try:
            with appearing(Path(target)) as made:
                vectors = TargetVectors.of(journal.header, vector_dtype or journal.header.vectors, embedder)
                written = copy(journal, made, get_codec("pcm"), vectors, drop_damaged=True)
        finally:
            journal.close()
    damage = [_seen(item, staged.numbers, set(missing)) for item in written.damage]
    if staged.made_up is not None:
        # Damage of a reconstructed COMMIT frame only says that its numbers are inconsistent; it is omitted.
        damage = [item for item in damage if item.commit != staged.made_up or item.frame is not None or item.records]
        damage.append(Damage(None, staged.made_up, 0, "its end was not seen: it has the records seen before that"))
    if 0 in missing:
        damage.insert(0, Damage(0, 0, 0, "the header was not seen: open the memory with its embedder"))
    written = msgspec.structs.replace(written, path=os.fspath(target), damage=tuple(damage))
    return Recovery(scan=found.report, stream=chosen, missing=missing, written=written)


def _seen(damage: Damage, numbers: Sequence[int], missing: AbstractSet[int]) -> Damage:
    """Return damage with the frame numbers of the memory in the pictures."""
    if damage.frame is None:
        return damage
    number = numbers[damage.frame]
    reason = f"frame {number} was not found in any picture" if number in missing else damage.reason
    return msgspec.structs.replace(damage, frame=number, reason=reason)


def _stream(found: Scan, wanted: int | None) -> int:
    sizes = {stream: len(payloads) for stream, payloads in found.streams.items() if payloads}
    if not sizes and found.streams:
        raise NotAMemoryError(f"the pictures show {found.report.symbols} symbols of a memory, but no complete frame")
    if not sizes:
        raise NotAMemoryError(f"the pictures show {len(found.texts)} plain texts but not a memory; use Scan.texts")
    listed = ", ".join(f"{stream} ({frames} frames)" for stream, frames in sizes.items())
    if wanted is None and len(sizes) > 1:
        raise NotAMemoryError(f"the pictures show {len(sizes)} memories; choose a stream: {listed}")
    if wanted is not None and wanted not in sizes:
        raise NotAMemoryError(f"unknown stream {wanted}; the pictures show: {listed}")
    return next(iter(sizes)) if wanted is None else wanted


def _check_free(target: Path) -> None:
    if not target.parent.is_dir():
        raise MemoryNotFoundError(f"the folder {target.parent} does not exist; create it first")
    if os.path.lexists(target):
        raise MemoryExistsError(f"{target} exists; give another name")
