"""MemvidEncoder: gather chunks, then write them into a memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from memvid_core.embedding import as_embedder
from memvid_core.engine.validation import check_metadata, check_texts
from memvid_core.errors import IngestError, InvalidInputError, MemvidError
from memvid_core.ingest import Chunk, Chunker, discover, read_document, read_many
from memvid_core.memvid_v1.building import append, build
from memvid_core.memvid_v1.checks import check_count
from memvid_core.memvid_v1.codecs import CODECS, chosen_codec
from memvid_core.memvid_v1.pointer import StrPath, check_index, open_memory, write_pointer

__all__ = ["MemvidEncoder"]

Metadata = Mapping[str, Any]


class MemvidEncoder:
    """Gathers chunks and writes them into the memory of a video.

    Chunks are kept until :meth:`build_video`. After it, the encoder goes on with what it wrote: more chunks and another
    call for the same video append, at the cost of what is new.

    Args:
        chunk_size: The most characters of a chunk.
        overlap: The characters that a chunk repeats of the one before, at sentence or word ends.
        n_workers: Processes that read documents side by side; None for as many as pay.
        embedding_model: Anything with ``encode``, a LangChain or LlamaIndex embedding, a model's name; None for the
            built-in one, which needs neither a model nor a network.

    Raises:
        InvalidInputError: Sizes that cannot work, as an overlap that is not below chunk_size; a ValueError too.

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
        self._embedder = None if embedding_model is None else as_embedder(embedding_model)
        self._waiting: list[Chunk] = []
        self._base: tuple[Path, Path | None] | None = None
        self._written = 0
        self.skipped: dict[str, MemvidError] = {}
        """Files of :meth:`add_folder` that could not be read, with the error that says why."""

    @property
    def chunks(self) -> list[str]:
        """The texts that wait for :meth:`build_video`."""
        return [chunk.text for chunk in self._waiting]

    # --- gathering ---

    def add_chunks(self, chunks: Iterable[str], metadata: Iterable[Metadata | None] | Metadata | None = None) -> int:
        """Add texts as they are; returns how many.

        Args:
            chunks: The texts.
            metadata: A dict a text, or one for all.

        Raises:
            InvalidInputError: Something that cannot be stored; nothing is added.
        """
        texts = check_texts(chunks)
        one = [metadata] * len(texts) if isinstance(metadata, Mapping) else metadata
        return self._add(map(Chunk, texts, check_metadata(one, len(texts))))

    def add_text(
        self, text: str, metadata: Metadata | None = None, *, chunk_size: int | None = None, overlap: int | None = None
    ) -> int:
        """Cut a text at sentence and word ends and add the chunks; returns how many.

        Args:
            text: The text.
            metadata: Goes into every chunk, beside ``chunk`` and ``start``: which chunk, and where in the text.
            chunk_size: Another size than the encoder's, for this text.
            overlap: Another overlap, for this text.
        """
        (plain,) = check_metadata(metadata, 1)
        return self._add(self._cutter(chunk_size, overlap).chunk(text, metadata=plain))

    def add_file(self, path: StrPath, metadata: Metadata | None = None) -> int:
        """Read a file as what it is and add its chunks, with ``source``, ``page`` and ``heading``; returns how many.

        Raises:
            IngestError: It cannot be read; the message names it.
            MissingExtraError: The extra it needs is not installed.
        """
        (plain,) = check_metadata(metadata, 1)
        chunks = self._chunker.split_document(read_document(path))
        return self._add(Chunk(chunk.text, {**chunk.metadata, **plain}) for chunk in chunks)

    def add_pdf(self, path: StrPath, metadata: Metadata | None = None) -> int:
        """Add a PDF, each chunk with its ``page``; returns how many chunks."""
        return self._add_as("pdf", path, metadata)

    def add_epub(self, path: StrPath, metadata: Metadata | None = None) -> int:
        """Add an EPUB; returns how many chunks."""
        return self._add_as("epub", path, metadata)

    def add_docx(self, path: StrPath, metadata: Metadata | None = None) -> int:
        """Add a Word document; returns how many chunks."""
        return self._add_as("docx", path, metadata)

    def _add_as(self, kind: str, path: StrPath, metadata: Metadata | None) -> int:
        (plain,) = check_metadata(metadata, 1)
        document = read_document(path)
        if document.format != kind:
            raise IngestError(f"{document.source}: not {kind.upper()} but {document.format}; add_file takes it")
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
        """Add the files of a folder and those below it, read side by side; returns how many chunks.

        A file that cannot be read is named in :attr:`skipped`, and the rest goes on.

        Args:
            path: The folder.
            metadata: Goes into every chunk.
            include: Take only such files: ``["*.md", "*.pdf"]``.
            exclude: Leave such names out.
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
        """An encoder with the chunks of one file, of any kind that can be read."""
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
        """An encoder with the chunks of several texts; ``document`` in their metadata says which, from 0."""
        encoder = cls(chunk_size, overlap, n_workers, embedding_model)
        texts = check_texts(documents)
        for number, (text, about) in enumerate(zip(texts, check_metadata(metadata, len(texts)), strict=True)):
            encoder.add_text(text, {"document": number, **about})
        return encoder

    # --- an existing memory ---

    def load_existing(self, video: StrPath, index: StrPath | None = None) -> int:
        """Go on with a memory that is there: :meth:`build_video` for the same path appends; returns its chunks.

        Raises:
            MemoryNotFoundError: There is none.
            NotAMemoryError: It is none; the message says how to take over a pair that Memvid wrote.
            EmbedderMismatchError: The encoder has another ``embedding_model`` than the one that wrote it.
        """
        with open_memory(video, index, self._embedder) as memory:
            self._written = len(memory)
        self._base = (Path(video), None if index is None else Path(index))
        return self._written

    def clear(self) -> None:
        """Forget all chunks that wait, and the memory that the encoder goes on with; files are not touched."""
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
        """Write the memory, and return what was done.

        For the video that the encoder goes on with, what waits is appended. For another one, everything goes into it;
        a memory that is there is replaced when the new one is whole, any other file is left alone.

        Args:
            video: The memory's file.
            index: A ``.json`` path becomes a small file that points at the video; any other is the index folder.
                Nothing that matters is in either.
            fps: Pictures a second, of a QR memory.
            frame_size: Width and height in pixels, of a QR memory.
            video_codec: ``pcm`` (the default), the store; or ``h264``, ``h265`` (``hevc``) or ``av1``: symbols that can
                be filmed and re-encoded. When appending, the memory's own stays, and so do the other settings; what
                was asked for in vain is in ``unused_settings`` of what is returned.
            crf: Quality of a QR memory, 0 (best) to 51, for AV1 to 63.
            show_progress: A bar, on a terminal.
            preset: ``robust`` or ``compact``, of a QR memory.
            codec: Another name of ``video_codec``.

        Raises:
            InvalidInputError: There is nothing to write, or a setting that cannot work. Nothing is written.
            NotAMemoryError: At ``video`` is a file that is no memory.
        """
        started = time.monotonic()
        wanted = video_codec or codec
        name, options = chosen_codec(wanted or "pcm", fps=fps, frame_size=frame_size, crf=crf, preset=preset)
        check_index(index)
        base = None if self._base is None else self._base[0]
        if not self._waiting and base is None:
            raise InvalidInputError("there are no chunks to write: add some, with add_text, add_chunks or add_file")
        target, pointed = Path(video), None if index is None else Path(index)
        show = None if show_progress else False
        new = len(self._waiting)
        if base is not None and os.path.realpath(base) == os.path.realpath(target):
            asked = CODECS[wanted.lower()] if wanted else ""
            told = append(target, pointed, self._embedder, self._waiting, asked, show)
        else:
            waiting = list(self._waiting)  # if it fails, all of it still waits
            told = build(target, pointed, self._embedder, waiting, base=base, codec=name, options=options, show=show)
            self._waiting = waiting
        write_pointer(index, target, {"chunks": told["total_chunks"]})
        self._base, self._written = (target, pointed), told["total_chunks"]
        given = {"fps": fps, "frame_size": frame_size, "crf": crf}
        is_pcm = told["codec"] == "pcm"
        return {
            "video_file": os.fspath(video),
            "index_file": None if index is None else os.fspath(index),
            **told,
            "new_chunks": new,
            "unused_settings": [
                key for key, value in given.items() if value is not None and (is_pcm or told[key] != value)
            ],
            "build_seconds": time.monotonic() - started,
        }

    def get_stats(self) -> dict[str, Any]:
        """What the encoder holds and how it is set."""
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
            "embedding_model": as_embedder(None).name if self._embedder is None else self._embedder.name,
            "video_file": None if self._base is None else os.fspath(self._base[0]),
            "supported_codecs": list(CODECS),
            "skipped_files": {source: str(error) for source, error in self.skipped.items()},
        }
