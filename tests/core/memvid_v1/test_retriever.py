"""MemvidRetriever: chunks with scores that compare, from the video; ids, windows, frames, cache, statistics."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from memvid_core import (
    ClosedError,
    EmbedderWarning,
    InvalidInputError,
    Memory,
    MemoryNotFoundError,
    NotAMemoryError,
    QueryError,
)
from memvid_core.memvid_v1 import MemvidEncoder, MemvidRetriever
from tests.core.embedders import embed

FACTS = [
    "A wing turns the flow of air into lift.",
    "The engine gives thrust; jets burn fuel in compressed air.",
    "The tail keeps the aircraft straight.",
    "Flaps add lift at low speed.",
    "Refunds are paid within five working days.",
    "날개는 공기의 흐름으로 양력을 만든다.",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("built") / "m.mp4"
    encoder = MemvidEncoder()
    encoder.add_chunks(FACTS, [{"source": "facts.md", "line": i} for i in range(len(FACTS))])
    encoder.build_video(path, path.with_suffix(".json"))
    return path


@pytest.fixture
def retriever(built: Path) -> Any:
    with MemvidRetriever(built, built.with_suffix(".json")) as retriever:
        yield retriever


class TestSearch:
    @pytest.mark.parametrize(
        ("query", "answer"),
        [("how does a wing lift", 0), ("engine thrust", 1), ("when are refunds paid", 4), ("날개 양력", 5)],
    )
    def test_the_answer_is_first_and_scores_fall(self, retriever: MemvidRetriever, query: str, answer: int) -> None:
        found = retriever.search(query, top_k=4)
        assert found[0][0] == FACTS[answer]
        assert len(found) == 4
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)

    def test_a_score_says_whether_there_is_an_answer_at_all(self, retriever: MemvidRetriever) -> None:
        asked = [retriever.search(query)[0][1] for query in ("low speed flaps", "refunds", "tail", "양력")]
        besides = [retriever.search(query)[0][1] for query in ("pancake recipe", "who won the election", "축구 경기")]
        assert min(asked) > 2 * max(besides)

    def test_the_text_is_decoded_from_the_video(self, built: Path, tmp_path: Path) -> None:
        shutil.copy(built, tmp_path / "alone.mp4")  # no index, no JSON
        with MemvidRetriever(tmp_path / "alone.mp4", tmp_path / "missing.json") as retriever:
            assert retriever.search("flaps", top_k=1)[0][0] == FACTS[3]

    def test_with_metadata(self, retriever: MemvidRetriever) -> None:
        (hit,) = retriever.search_with_metadata("flaps at low speed", top_k=1)
        assert hit["metadata"] == {"source": "facts.md", "line": 3}
        assert (hit["text"], hit["chunk_id"]) == (FACTS[3], 3)
        assert hit["score"] == retriever.search("flaps at low speed", top_k=1)[0][1]
        assert 0 < hit["frame"] < retriever.get_stats()["total_frames"]

    def test_no_more_than_there_are(self, retriever: MemvidRetriever) -> None:
        assert len(retriever.search("lift", top_k=100)) == len(FACTS) == len(retriever)
        assert retriever.search("lift", top_k=0) == []

    @pytest.mark.parametrize("top_k", [-1, 2.5, True, "5"])
    def test_wrong_top_k(self, retriever: MemvidRetriever, top_k: Any) -> None:
        with pytest.raises(InvalidInputError, match="top_k"):
            retriever.search("lift", top_k=top_k)

    def test_an_empty_question(self, retriever: MemvidRetriever) -> None:
        with pytest.raises(QueryError):
            retriever.search("  ")

    def test_without_its_model_a_memory_is_searched_by_words(self, tmp_path: Path) -> None:
        encoder = MemvidEncoder(embedding_model=embed)
        encoder.add_chunks(FACTS)
        encoder.build_video(tmp_path / "m.mp4")
        with pytest.warns(EmbedderWarning):
            retriever = MemvidRetriever(tmp_path / "m.mp4")
        with retriever:
            assert retriever.search("thrust")[0][0] == FACTS[1]


class TestChunks:
    def test_by_id(self, retriever: MemvidRetriever) -> None:
        assert [retriever.get_chunk_by_id(i) for i in range(6)] == FACTS
        assert retriever.get_chunk_by_id("2") == FACTS[2]
        assert retriever.get_chunk_by_id(6) is None
        assert retriever.get_chunk_by_id(-1) is None

    @pytest.mark.parametrize(
        ("chunk", "size", "around"), [(2, 1, (1, 4)), (2, 2, (0, 5)), (0, 2, (0, 3)), (5, 2, (3, 6)), (3, 0, (3, 4))]
    )
    def test_window(self, retriever: MemvidRetriever, chunk: int, size: int, around: tuple[int, int]) -> None:
        assert retriever.get_context_window(chunk, window_size=size) == FACTS[slice(*around)]

    def test_window_by_default_and_where_there_is_nothing(self, retriever: MemvidRetriever) -> None:
        assert retriever.get_context_window(3) == FACTS[1:6]
        assert retriever.get_context_window(99) == []
        with pytest.raises(InvalidInputError, match="window_size"):
            retriever.get_context_window(3, window_size=-1)

    def test_any_memory_will_do(self, tmp_path: Path) -> None:
        with Memory.create(tmp_path / "m.mp4") as memory:
            places = [{"source": "a.md", "chunk": i} for i in range(4)]
            memory.add(["a", "b", "c", "d"], places, ["a#0", "a#1", "a#2", "a#3"])
        with MemvidRetriever(tmp_path / "m.mp4") as retriever:
            assert retriever.get_chunk_by_id("a#2") == "c"
            assert retriever.get_context_window("a#2", window_size=1) == ["b", "c", "d"]
            assert retriever.search_with_metadata("c", top_k=1)[0]["chunk_id"] == "a#2"


class TestCache:
    def test_prefetched_frames_are_hits(self, built: Path) -> None:
        with MemvidRetriever(built) as retriever:
            frames = {hit["frame"] for hit in retriever.search_with_metadata("lift", top_k=6)}
            retriever.clear_cache()
            before = retriever.get_stats()
            assert retriever.prefetch_frames(frames) == len(frames)
            loaded = retriever.get_stats()
            assert loaded["cache_misses"] == before["cache_misses"] + len(frames)
            assert retriever.get_chunk_by_id(3) == FACTS[3]
            after = retriever.get_stats()
            assert after["cache_hits"] > loaded["cache_hits"]
            assert after["cache_misses"] == loaded["cache_misses"]
            assert 0 < after["cache_size"] <= after["max_cache_size"]
            retriever.clear_cache()
            assert retriever.get_stats()["cache_size"] == 0

    def test_frames_without_chunks_are_passed_over(self, retriever: MemvidRetriever) -> None:
        assert retriever.prefetch_frames([0, 10_000, -1]) == 0
        assert retriever.prefetch_frames([]) == 0

    def test_stats(self, retriever: MemvidRetriever, built: Path) -> None:
        retriever.search("lift")
        stats = retriever.get_stats()
        told = {"video_file": str(built), "total_chunks": 6, "fps": 2, "codec": "pcm"}
        assert stats.items() >= told.items()
        assert 0 < stats["cache_hit_rate"] <= 1
        assert stats["index_stats"]["embedding_model"] == "memvid-hash-v1:384"
        assert stats["video_size_mb"] * 1e6 == built.stat().st_size


class TestOpening:
    def test_what_is_no_memory(self, tmp_path: Path) -> None:
        with pytest.raises(MemoryNotFoundError):
            MemvidRetriever(tmp_path / "none.mp4", tmp_path / "none.json")
        (tmp_path / "old.mp4").write_bytes(b"a film")
        with pytest.raises(NotAMemoryError) as plain:
            MemvidRetriever(tmp_path / "old.mp4", tmp_path / "old.json")
        assert "memvid import" not in str(plain.value)
        (tmp_path / "old.json").write_text('{"metadata": []}')
        with pytest.raises(NotAMemoryError, match=r"memvid import .*old.mp4 .*old.json -o new.mp4"):
            MemvidRetriever(tmp_path / "old.mp4", tmp_path / "old.json")

    def test_closed(self, built: Path) -> None:
        retriever = MemvidRetriever(built)
        retriever.close()
        with pytest.raises(ClosedError):
            retriever.search("lift")
