"""MemvidRetriever: searches the chunks of a memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Self

from memvid_core.memory import Memory, memory_video, session_of
from memvid_core.memvid_v1.building import index_stats
from memvid_core.memvid_v1.checks import check_count
from memvid_core.memvid_v1.pointer import StrPath, check_index, open_memory
from memvid_core.model import Hit, Record

__all__ = ["MemvidRetriever"]


class MemvidRetriever:
    """Search the memory of a video. Every returned text is decoded from the video.

    A chunk's id is the number that :class:`MemvidEncoder` gave it, from 0; in other memories it is the record's id.

    Args:
        video: The file of the memory.
        index: The path that was passed to :meth:`MemvidEncoder.build_video`; optional.
        embedding_model: The model that wrote the memory, if it cannot be loaded by its name. Without it, only words are
            searched.
        timeout: How many seconds to wait for others who write to the memory.

    Raises:
        MemoryNotFoundError: The file does not exist.
        NotAMemoryError: The file is not a memory; for files of Memvid v1, the message says how to import them.

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
        """Return the dense and lexical hits of :meth:`search`, each with the better of its two scores.

        Both scores are comparable between queries, so a threshold can be applied: the cosine of query and chunk, and
            the share of the query's words that the chunk contains, weighted by their rarity.

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
        """Return the chunks that best answer a question, each with its score in [0, 1], best first.

        Unrelated chunks have a score near 0.

        Raises:
            QueryError: The query is empty.
        """
        return [(hit.text, hit.score) for hit in self.hits(query, top_k)]

    def search_with_metadata(self, query: str, top_k: int = 5) -> list[dict[str, Any]]:
        """Search as :meth:`search`; return dicts with ``text``, ``score``, ``chunk_id``, ``frame`` and ``metadata``."""
        hits = self.hits(query, top_k)
        frames = memory_video.frames_of(session_of(self.memory), [hit.id for hit in hits])
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
        """Return the text of a chunk; None if the id is unknown."""
        record = self._record(chunk_id)
        return None if record is None else record.text

    def get_context_window(self, chunk_id: int | str, window_size: int = 2) -> list[str]:
        """Return a chunk and its neighbors, in order; an empty list if the id is unknown.

        Args:
            chunk_id: The id of the chunk. The neighbors of a number are the adjacent numbers; those of another id are
                the neighbors in the same source.
            window_size: The number of neighbors before and after the chunk.

        Raises:
            InvalidInputError: The size is negative.
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
        """Decode frames before they are needed; return how many contain chunks. Other frames are ignored."""
        return memory_video.prefetch(session_of(self.memory), frame_numbers)

    def clear_cache(self) -> None:
        """Clear the cache of decoded frames."""
        memory_video.clear_cache(session_of(self.memory))

    def get_stats(self) -> dict[str, Any]:
        """Return statistics of the memory and the cache of decoded frames; sizes in bytes."""
        info, session = self.memory.info(), session_of(self.memory)
        cache, pictures = memory_video.cache_state(session), memory_video.pictures(session)
        asked = cache.hits + cache.misses
        return {
            "video_file": self.video_file,
            "index_file": self.index_file,
            "total_chunks": info.records,
            "total_frames": info.frames,
            "total_pictures": memory_video.picture_count(session),
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
    """Convert an id to a number if it is written as the encoder writes numbers."""
    is_number = len(record_id) < 19 and record_id.isascii() and record_id.isdigit() and str(int(record_id)) == record_id
    return int(record_id) if is_number else record_id
