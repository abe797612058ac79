"""MemvidEncoder: collects chunks and writes them to a memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from memvid_core.errors import IngestError, InvalidInputError, MemvidError
from memvid_core.ingest import Chunk, Chunker, discover, read_document, read_many
from memvid_core.memory import check_metadata, check_texts, new_embedder
from memvid_core.memvid_v1.building import append, build
from memvid_core.memvid_v1.checks import check_count
from memvid_core.memvid_v1.codecs import CODECS, chosen_codec
from memvid_core.memvid_v1.pointer import StrPath, check_index, open_memory, write_pointer

__all__ = ["MemvidEncoder"]

Metadata = Mapping[str, Any]


class MemvidEncoder:
    """Collect chunks and write them to the memory of a video.

    Chunks are collected until :meth:`build_video`. Afterwards the encoder continues with that memory: further chunks
    and another call for the same video append only the new chunks.

    Args:
        chunk_size: The maximum number of characters of a chunk.
        overlap: The number of characters that a chunk repeats from the previous one, at sentence or word boundaries.
        n_workers: The number of processes that read documents in parallel; None chooses a suitable number.
        embedding_model: An object with ``encode``, a LangChain or LlamaIndex embedding, or the name of a model. None
            selects the built-in embedder, which works offline.

    Raises:
        InvalidInputError: A size is invalid, for example an overlap not below chunk_size; also a ValueError.

    Example:
        >>> encoder = MemvidEncoder(chunk_size=200, overlap=20)
        >>> encoder.add_chunks(["The wing lifts.", "The engine hums."])
        2
        >>> stats = encoder.build_video("memory.mp4", "memory_index.json")
        >>> stats["total_chunks"], stats["codec"]
        (2, 'pcm')
    """

    def __init__(
        self,
        chunk_size: int = 512,
        overlap: int = 50,
        n_workers: int | None = None,
        embedding_model: object = None,
    ) -> None:
        self._chunker = Chunker(chunk_size, overlap)
        if n_workers is not None:
            check_count("n_workers", n_workers, 1)
        self.n_workers = n_workers
        made = new_embedder(embedding_model, exact=False)
        if made is None:
            raise InvalidInputError(f"embedding_model has to embed; {embedding_model!r} cannot")
        self._model = made.name
        self._embedder = None if embedding_model is None else made
        self._waiting: list[Chunk] = []
        self._base: tuple[Path, Path | None] | None = None
        self._written = 0
        self.skipped: dict[str, MemvidError] = {}
        """The files of :meth:`add_folder` that could not be read, with the errors."""

    @property
    def chunks(self) -> list[str]:
        """The texts that wait for :meth:`build_video`."""
        return [chunk.text for chunk in self._waiting]

    # --- collecting ---

    def add_chunks(self, chunks: Iterable[str], metadata: Iterable[Metadata | None] | Metadata | None = None) -> int:
        """Add texts unchanged; return their number.

        Args:
            chunks: The texts.
            metadata: One dict per text, or one for all.

        Raises:
            InvalidInputError: A text or metadata cannot be stored; nothing is added.
        """
        texts = check_texts(chunks)
        one = [metadata] * len(texts) if isinstance(metadata, Mapping) else metadata
        return self._add(map(Chunk, texts, check_metadata(one, len(texts))))

    def add_text(
        self, text: str, metadata: Metadata | None = None, *, chunk_size: int | None = None, overlap: int | None = None
    ) -> int:
        """Split a text at sentence and word boundaries and add the chunks; return their number.

        Args:
            text: The text.
            metadata: Metadata for every chunk, in addition to ``chunk`` (its number) and ``start`` (its offset).
            chunk_size: Overrides the encoder's size for this text.
            overlap: Overrides the encoder's overlap for this text.
        """
        (plain,) = check_metadata(metadata, 1)
        return self._add(self._cutter(chunk_size, overlap).chunk(text, metadata=plain))

    def add_file(self, path: StrPath, metadata: Metadata | None = None) -> int:
        """Read a file and add its chunks with ``source``, ``page`` and ``heading``; return their number.

        Raises:
            IngestError: The file cannot be read; the message names it.
            MissingExtraError: The extra that the format needs is not installed.
        """
        (plain,) = check_metadata(metadata, 1)
        chunks = self._chunker.split_document(read_document(path))
        return self._add(Chunk(chunk.text, {**chunk.metadata, **plain}) for chunk in chunks)

    def add_pdf(self, path: StrPath, metadata: Metadata | None = None) -> int:
        """Add a PDF; each chunk has its ``page``. Return the number of chunks."""
        return self._add_as("pdf", path, metadata)

    def add_epub(self, path: StrPath, metadata: Metadata | None = None) -> int:
        """Add an EPUB; return the number of chunks."""
        return self._add_as("epub", path, metadata)

    def add_docx(self, path: StrPath, metadata: Metadata | None = None) -> int:
        """Add a Word document; return the number of chunks."""
        return self._add_as("docx", path, metadata)

    def _add_as(self, kind: str, path: StrPath, metadata: Metadata | None) -> int:
        (plain,) = check_metadata(metadata, 1)
        document = read_document(path)
        if document.format != kind:
            raise IngestError(f"{document.source}: not {kind.upper()} but {document.format}; use add_file")
        chunks = self._chunker.split_document(document)
        return self._add(Chunk(chunk.text, {**chunk.metadata, **plain}) for chunk in chunks)

    def add_folder(
        self,
        path: StrPath,
        metadata: Metadata | None = None,
        *,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
    ) -> int:
        """Add the files of a folder and its subfolders, read in parallel; return the number of chunks.

        Files that cannot be read are listed in :attr:`skipped`.

        Args:
            path: The folder.
            metadata: Metadata for every chunk.
            include: Patterns of files to add, such as ``["*.md", "*.pdf"]``.
            exclude: Patterns of names to skip.
        """
        (plain,) = check_metadata(metadata, 1)
        files = list(discover(path, include=include, exclude=exclude))
        added = 0
        with closing(read_many(files, self._chunker, workers=self.n_workers)) as results:
            for result in results:
                if result.error is not None:
                    self.skipped[result.source] = result.error
                added += self._add(Chunk(chunk.text, {**chunk.metadata, **plain}) for chunk in result.chunks)
        return added

    def _cutter(self, chunk_size: int | None, overlap: int | None) -> Chunker:
        if chunk_size is None and overlap is None:
            return self._chunker
        own = self._chunker
        return Chunker(
            own.chunk_size if chunk_size is None else chunk_size, own.overlap if overlap is None else overlap
        )

    def _add(self, chunks: Iterable[Chunk]) -> int:
        before = len(self._waiting)
        self._waiting += chunks
        return len(self._waiting) - before

    @classmethod
    def from_file(
        cls,
        path: StrPath,
        chunk_size: int = 512,
        overlap: int = 50,
        *,
        n_workers: int | None = None,
        embedding_model: object = None,
    ) -> Self:
        """Create an encoder with the chunks of one file, in any supported format."""
        encoder = cls(chunk_size, overlap, n_workers, embedding_model)
        encoder.add_file(path)
        return encoder

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[str],
        chunk_size: int = 512,
        overlap: int = 50,
        *,
        metadata: Sequence[Metadata | None] | None = None,
        n_workers: int | None = None,
        embedding_model: object = None,
    ) -> Self:
        """Create an encoder with the chunks of several texts; their metadata has the number ``document``, from 0."""
        encoder = cls(chunk_size, overlap, n_workers, embedding_model)
        texts = check_texts(documents)
        for number, (text, about) in enumerate(zip(texts, check_metadata(metadata, len(texts)), strict=True)):
            encoder.add_text(text, {"document": number, **about})
        return encoder

    # --- an existing memory ---

    def load_existing(self, video: StrPath, index: StrPath | None = None) -> int:
        """Continue with an existing memory, to which :meth:`build_video` appends; return the number of its chunks.

        Raises:
            MemoryNotFoundError: The memory does not exist.
            NotAMemoryError: The file is not a memory; the message says how to import files of Memvid v1.
            EmbedderMismatchError: The encoder's ``embedding_model`` did not write the memory.
        """
        with open_memory(video, index, self._embedder) as memory:
            self._written = len(memory)
        self._base = (Path(video), None if index is None else Path(index))
        return self._written

    def clear(self) -> None:
        """Forget the waiting chunks and the memory of the encoder; files are not changed."""
        self._waiting = []
        self._base = None
        self._written = 0
        self.skipped = {}

    # --- writing ---

    def build_video(
        self,
        video: StrPath,
        index: StrPath | None = None,
        fps: int | None = None,
        frame_size: int | None = None,
        video_codec: str | None = None,
        crf: int | None = None,
        show_progress: bool = True,
        *,
        preset: str = "robust",
        codec: str | None = None,
    ) -> dict[str, Any]:
        """Write the memory and return statistics.

        For the encoder's current video, the waiting chunks are appended. For another video, all chunks are written; an
        existing memory is replaced when the new one is complete. A file that is not a memory is never replaced.

        Args:
            video: The file of the memory.
            index: A ``.json`` path becomes a small file that points to the video; any other path is the index folder.
                Both can be rebuilt.
            fps: Pictures per second of a QR memory.
            frame_size: The width and height of a QR memory, in pixels.
            video_codec: ``pcm`` (the default) for storage; or ``h264``, ``h265`` (``hevc``) or ``av1`` for symbols that
                can be filmed and re-encoded. An existing memory keeps its own codec and settings; ``unused_settings``
                of the result lists the ignored ones.
            crf: The quality of a QR memory, 0 (best) to 51, for AV1 to 63.
            show_progress: Whether to show a progress bar on a terminal.
            preset: The preset of a QR memory, ``robust`` or ``compact``.
            codec: An alias of ``video_codec``.

        Raises:
            InvalidInputError: There is nothing to write, or a setting is invalid. Nothing is written.
            NotAMemoryError: The file at ``video`` is not a memory.
        """
        started = time.monotonic()
        wanted = video_codec or codec
        name, options = chosen_codec(wanted or "pcm", fps=fps, frame_size=frame_size, crf=crf, preset=preset)
        check_index(index)
        base = None if self._base is None else self._base[0]
        if not self._waiting and base is None:
            raise InvalidInputError("there are no chunks to write: call add_text, add_chunks or add_file first")
        target, pointed = Path(video), None if index is None else Path(index)
        show = None if show_progress else False
        new = len(self._waiting)
        if base is not None and os.path.realpath(base) == os.path.realpath(target):
            asked = CODECS[wanted.lower()] if wanted else ""
            built = append(target, pointed, self._embedder, self._waiting, asked, show)
        else:
            waiting = list(self._waiting)  # if the build fails, all chunks still wait
            built = build(target, pointed, self._embedder, waiting, base=base, codec=name, options=options, show=show)
            self._waiting = waiting
        write_pointer(index, target, {"chunks": built["total_chunks"]})
        self._base, self._written = (target, pointed), built["total_chunks"]
        given = {"fps": fps, "frame_size": frame_size, "crf": crf}
        is_pcm = built["codec"] == "pcm"
        return {
            "video_file": os.fspath(video),
            "index_file": None if index is None else os.fspath(index),
            **built,
            "new_chunks": new,
            "unused_settings": [
                key for key, value in given.items() if value is not None and (is_pcm or built[key] != value)
            ],
            "build_seconds": time.monotonic() - started,
        }

    def get_stats(self) -> dict[str, Any]:
        """Return the chunks and settings of the encoder."""
        characters = sum(len(chunk.text) for chunk in self._waiting)
        waiting = len(self._waiting)
        return {
            "total_chunks": self._written + waiting,
            "waiting_chunks": waiting,
            "total_characters": characters,
            "avg_chunk_size": characters / waiting if waiting else 0.0,
            "chunk_size": self._chunker.chunk_size,
            "overlap": self._chunker.overlap,
            "n_workers": self.n_workers,
            "embedding_model": self._model,
            "video_file": None if self._base is None else os.fspath(self._base[0]),
            "supported_codecs": list(CODECS),
            "skipped_files": {source: str(error) for source, error in self.skipped.items()},
        }
