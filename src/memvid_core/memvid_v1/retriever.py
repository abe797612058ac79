"""MemvidRetriever: the chunks of a memory that answer a question."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Self

from memvid_core.engine import media
from memvid_core.memory import Memory, session_of
from memvid_core.memvid_v1.building import index_stats
from memvid_core.memvid_v1.checks import check_count
from memvid_core.memvid_v1.pointer import StrPath, check_index, open_memory
from memvid_core.model import Hit, Record

__all__ = ["MemvidRetriever"]


class MemvidRetriever:
    """Searches the memory of a video. Every text that it gives is decoded from the video.

    A chunk's id is the number that :class:`MemvidEncoder` gave it, from 0 on; in any other memory it is the
    record's id.

    Args:
        video: The memory's file.
        index: The path that was given to :meth:`MemvidEncoder.build_video`; it may be left out.
        embedding_model: The model that wrote the memory, where it has no name to be loaded by. Without it, search is by
            words alone.
        timeout: How many seconds to wait for others who write to the memory.

    Raises:
        MemoryNotFoundError: There is no such file.
        NotAMemoryError: It is no memory; for a pair that Memvid wrote, the message says how to take it over.

    Example:
        >>> from memvid_core.memvid_v1 import MemvidEncoder
        >>> encoder = MemvidEncoder()
        >>> encoder.add_chunks(["The wing lifts.", "The engine hums.", "The tail steers."])
        3
        >>> stats = encoder.build_video("memory.mp4")
        >>> retriever = MemvidRetriever("memory.mp4")
        >>> retriever.search("what does the engine do?", top_k=1)[0][0]
        'The engine hums.'
        >>> retriever.get_context_window(1, window_size=1)
        ['The wing lifts.', 'The engine hums.', 'The tail steers.']
        >>> retriever.close()
    """

    def __init__(
        self, video: StrPath, index: StrPath | None = None, embedding_model: object = None, *, timeout: float = 30.0
    ) -> None:
        check_index(index)
        self.video_file = os.fspath(video)
        self.index_file = None if index is None else os.fspath(index)
        self.memory: Memory = open_memory(video, index, embedding_model, timeout=timeout)

    def close(self) -> None:
        """Close the file."""
        self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.memory)

    def hits(self, query: str, top_k: int = 5) -> list[Hit]:
        """The hits behind :meth:`search`: those by meaning and those by words, each with the better of its two scores.

        Both scores mean the same from query to query, so a threshold can be set on them: the cosine of query and chunk,
        and the share of the query's words, weighed by how rare they are, that the chunk has.

        Raises:
            QueryError: The query is empty.
        """
        check_count("top_k", top_k)
        found = self.memory.search(query, top_k, mode="lexical")
        if self.memory.embedder is not None:
            found += self.memory.search(query, top_k, mode="dense")
        best: dict[str, Hit] = {}
        for hit in found:
            if hit.id not in best or hit.score > best[hit.id].score:
                best[hit.id] = hit
        return sorted(best.values(), key=lambda hit: -hit.score)[:top_k]

    def search(self, query: str, top_k: int = 5) -> list[tuple[str, float]]:
        """The chunks that answer a question best, each with its score in [0, 1], best first.

        What has nothing to do with the question has a score near 0.

        Raises:
            QueryError: The query is empty.
        """
        return [(hit.text, hit.score) for hit in self.hits(query, top_k)]

    def search_with_metadata(self, query: str, top_k: int = 5) -> list[dict[str, Any]]:
        """As :meth:`search`, each as a dict with ``text``, ``score``, ``chunk_id``, ``frame`` and ``metadata``."""
        hits = self.hits(query, top_k)
        frames = media.frames_of(session_of(self.memory), [hit.id for hit in hits])
        return [
            {
                "text": hit.text,
                "score": hit.score,
                "chunk_id": _chunk_id(hit.id),
                "frame": frames[hit.id],
                "metadata": hit.metadata,
            }
            for hit in hits
        ]

    def get_chunk_by_id(self, chunk_id: int | str) -> str | None:
        """The text of a chunk; None if there is none with that id."""
        record = self._record(chunk_id)
        return None if record is None else record.text

    def get_context_window(self, chunk_id: int | str, window_size: int = 2) -> list[str]:
        """A chunk with those around it, in their order; none if there is no chunk with that id.

        Args:
            chunk_id: Its id. Around a number are the numbers beside it; around any other id, its neighbours in the same
                source.
            window_size: How many before it, and how many after it.

        Raises:
            InvalidInputError: A negative size.
        """
        check_count("window_size", window_size)
        record = self._record(chunk_id)
        if record is None:
            return []
        number = _chunk_id(record.id)
        if isinstance(number, str):
            return [found.text for found in self.memory.context(record, window_size, window_size)]
        around = range(max(0, number - window_size), number + window_size + 1)
        return [found.text for found in self.memory.get(list(map(str, around)))]

    def _record(self, chunk_id: int | str) -> Record | None:
        return next(iter(self.memory.get([str(chunk_id)])), None)

    def prefetch_frames(self, frame_numbers: Iterable[int]) -> int:
        """Decode frames ahead of their use; returns how many carry chunks. Others are passed over."""
        return media.prefetch(session_of(self.memory), frame_numbers)

    def clear_cache(self) -> None:
        """Forget what was decoded."""
        media.clear_cache(session_of(self.memory))

    def get_stats(self) -> dict[str, Any]:
        """What the memory holds, and what the cache of decoded frames did so far; sizes in bytes."""
        info, session = self.memory.info(), session_of(self.memory)
        cache, pictures = media.cache_state(session), media.pictures(session)
        asked = cache.hits + cache.misses
        return {
            "video_file": self.video_file,
            "index_file": self.index_file,
            "total_chunks": info.records,
            "total_frames": info.frames,
            "total_pictures": media.picture_count(session),
            "fps": pictures.rate,
            "codec": pictures.coding,
            "video_size_mb": info.bytes / 1e6,
            "cache_hits": cache.hits,
            "cache_misses": cache.misses,
            "cache_hit_rate": cache.hits / asked if asked else 0.0,
            "cache_size": cache.used,
            "max_cache_size": cache.limit,
            "index_stats": index_stats(self.memory),
        }


def _chunk_id(record_id: str) -> int | str:
    """A number as such, where it is written as the encoder writes it."""
    is_number = len(record_id) < 19 and record_id.isascii() and record_id.isdigit() and str(int(record_id)) == record_id
    return int(record_id) if is_number else record_id
