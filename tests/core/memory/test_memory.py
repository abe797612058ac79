"""Memory: what goes in comes out, whatever the order of calls, in RAM and in a file, after a reopen and a rebuild."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from memvid_core import (
    ClosedError,
    DimensionError,
    EmbedderMismatchError,
    EmbedderWarning,
    EmbeddingError,
    HashingEmbedder,
    InvalidInputError,
    LockedError,
    Memory,
    MemoryExistsError,
    MemoryNotFoundError,
    MetadataError,
    QueryError,
    ReadOnlyError,
    RecordNotFoundError,
    TextError,
    VectorError,
)
from tests.core.embedders import DIMENSION, embed
from tests.core.memories import compact_beside_readers


@pytest.fixture(params=["ram", "file"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    path = ":memory:" if request.param == "ram" else tmp_path / "m.mp4"
    with Memory.create(path, embed) as made:
        yield made


def ids_of(hits: list[Any]) -> list[str]:
    return [hit.id for hit in hits]


class TestWriting:
    def test_records_come_back_as_they_went_in(self, memory: Memory) -> None:
        metadata = {"page": 3, "score": 1.5, "tags": ["a", None, True], "deep": {"k": [1, {"x": "é한"}]}, "none": None}
        (record_id,) = memory.add("한국어와 emoji 🎞️ in one text", metadata)
        record = memory.get(record_id)
        assert (record.text, record.metadata) == ("한국어와 emoji 🎞️ in one text", metadata)
        assert type(record.metadata["page"]) is int

    def test_ids_are_given_or_made_or_both(self, memory: Memory) -> None:
        ids = memory.add(["a", "b", "c"], ids=["one", None, "세 번째 / \"'"])
        assert ids[0] == "one"
        assert ids[2] == "세 번째 / \"'"
        assert len(set(ids)) == 3
        assert [record.text for record in memory.get(ids)] == ["a", "b", "c"]

    def test_kinds_of_str_are_strs(self, memory: Memory) -> None:
        class Label(str):
            """A str of another class, as frameworks have them."""

        (record_id,) = memory.add([Label("text")], [{"label": Label("a")}], [Label("id")])
        assert (record_id, memory.get("id").text, memory.get("id").metadata) == ("id", "text", {"label": "a"})

    def test_a_generator_of_texts_is_taken_once(self, memory: Memory) -> None:
        assert len(memory.add(text for text in ("a", "b"))) == 2
        assert len(memory) == 2

    def test_an_id_given_again_replaces_the_whole_record(self, memory: Memory) -> None:
        memory.add("old text", {"keep": 1}, "x")
        memory.add("new text", {"other": 2}, "x")
        assert len(memory) == 1
        assert memory.get("x").metadata == {"other": 2}
        assert ids_of(memory.search("new text", k=5)) == ["x"]

    def test_of_equal_ids_in_one_call_the_last_stays(self, memory: Memory) -> None:
        assert memory.add(["first", "second"], ids=["x", "x"]) == ["x", "x"]
        assert [record.text for record in memory] == ["second"]

    def test_nothing_added_is_no_commit(self, memory: Memory) -> None:
        assert memory.add([]) == []
        assert memory.history() == []

    def test_update_keeps_what_is_not_given(self, memory: Memory) -> None:
        memory.add("text", {"a": 1}, "x")
        before = memory.get_vectors(["x"])["x"]
        memory.update("x", metadata={"b": 2})
        assert (memory.get("x").text, memory.get("x").metadata) == ("text", {"b": 2})
        assert np.array_equal(memory.get_vectors(["x"])["x"], before)
        memory.update("x", text="other")
        assert (memory.get("x").text, memory.get("x").metadata) == ("other", {"b": 2})
        assert not np.array_equal(memory.get_vectors(["x"])["x"], before)

    def test_delete_by_id_filter_or_both(self, memory: Memory) -> None:
        memory.add(list("abcd"), [{"n": i} for i in range(4)], list("abcd"))
        assert memory.delete(["a", "nobody"]) == 1
        assert memory.delete(["b", "c"], where={"n": {"$gte": 2}}) == 1
        assert memory.delete(where={"n": 3}) == 1
        assert [record.id for record in memory] == ["b"]
        assert memory.clear() == 1
        assert len(memory) == 0

    def test_delete_wants_to_know_what(self, memory: Memory) -> None:
        memory.add(["a"])
        for call in (memory.delete, lambda: memory.delete(where={}), lambda: memory.delete(None, where=None)):
            with pytest.raises(InvalidInputError, match="clear"):
                call()
        assert len(memory) == 1

    def test_records_without_vectors_are_found_by_words_and_filters(self, memory: Memory) -> None:
        memory.add(["with one", "without any"], [{"n": 1}, {"n": 2}], ["a", "b"], vectors=[np.ones(DIMENSION), None])
        assert ids_of(memory.search("without", mode="lexical")) == ["b"]
        assert ids_of(memory.search(np.ones(DIMENSION))) == ["a"]
        assert [record.id for record in memory.select({"n": 2})] == ["b"]
        assert set(memory.get_vectors(["a", "b"])) == {"a"}


class TestReading:
    def test_get_one_or_many(self, memory: Memory) -> None:
        memory.add(["a", "b"], ids=["1", "2"])
        assert memory.get("1").text == "a"
        assert [record.id for record in memory.get(["2", "no", "1"])] == ["2", "1"]
        assert memory.get([]) == []
        with pytest.raises(RecordNotFoundError, match="'no'"):
            memory.get("no")
        assert "1" in memory
        assert "no" not in memory
        assert "\ud800" not in memory
        assert memory.get(["\ud800", "1"])[0].id == "1"

    def test_search_by_text_vector_and_filter(self, memory: Memory) -> None:
        memory.add(["alpha", "beta", "gamma"], [{"n": 1}, {"n": 2}, {"n": 3}], ["a", "b", "c"])
        assert memory.search("beta", k=1, mode="dense")[0].id == "b"
        assert memory.search(embed(["gamma"])[0], k=1)[0].id == "c"
        assert set(ids_of(memory.search("beta", where={"n": {"$ne": 2}}))) <= {"a", "c"}
        assert ids_of(memory.search("beta", mode="dense", where=lambda record: record.metadata["n"] == 3)) == ["c"]

    def test_scores_fall_and_lie_between_0_and_1(self, memory: Memory) -> None:
        memory.add([f"text number {i}" for i in range(30)])
        for mode in ("dense", "lexical", "hybrid"):
            scores = [hit.score for hit in memory.search("text number 7", k=30, mode=mode)]
            assert scores == sorted(scores, reverse=True)
            assert all(0 <= score <= 1 for score in scores)
            assert [hit.rank for hit in memory.search("text number 7", k=5, mode=mode)] == list(range(5))

    def test_an_exact_text_scores_one(self, memory: Memory) -> None:
        memory.add(["alpha", "beta"])
        assert memory.search("alpha", k=1, mode="dense")[0].score == pytest.approx(1, abs=1e-3)

    def test_equal_scores_keep_the_order_of_adding(self, memory: Memory) -> None:
        memory.add(["same"] * 6, ids=list("fedcba"))
        assert ids_of(memory.search("same", k=6, mode="dense")) == list("fedcba")

    def test_a_callable_filter_is_asked_until_there_are_enough(self, memory: Memory) -> None:
        memory.add([f"t{i}" for i in range(200)], [{"n": i} for i in range(200)])
        found = memory.search("t5", k=3, mode="dense", where=lambda record: record.metadata["n"] % 50 == 49)
        assert {hit.metadata["n"] for hit in found} <= {49, 99, 149, 199}
        assert len(found) == 3

    def test_numbers_of_numpy_are_numbers_and_one_id_or_question_is_one(self, memory: Memory) -> None:
        memory.add(["a", "b"], ids=["one", "two"])
        one: Any = np.int64(1)
        assert len(memory.search("a", k=one)) == len(memory.mmr("a", k=one, fetch_k=one)) == 1
        assert [record.id for record in memory.select(limit=one)] == ["one"]
        assert list(memory.get_vectors("one")) == ["one"]
        assert [ids_of(hits) for hits in memory.search_many("a", k=1)] == [["one"]]

    def test_k_of_zero_and_an_empty_memory_give_nothing(self, memory: Memory) -> None:
        assert memory.search("anything") == []
        assert memory.mmr("anything") == []
        memory.add("one")
        assert memory.search("one", k=0) == []

    def test_mmr_spreads_out_and_one_means_plain_ranking(self, memory: Memory) -> None:
        vectors = np.zeros((4, DIMENSION))
        vectors[:3, 0] = [1, 1, 0.8]
        vectors[2, 1] = 0.6
        vectors[3, 1] = 1
        memory.add(["a", "a again", "between", "far"], ids=list("abcd"), vectors=vectors)
        query = vectors[0]
        assert ids_of(memory.mmr(query, k=3, lambda_mult=1)) == ids_of(memory.search(query, k=3))
        assert ids_of(memory.mmr(query, k=2, lambda_mult=0.3))[0] == "a"
        assert ids_of(memory.mmr(query, k=2, lambda_mult=0.3))[1] != "b"

    def test_hits_carry_vectors_when_asked(self, memory: Memory) -> None:
        memory.add("alpha")
        assert memory.search("alpha", mode="dense")[0].vector is None
        assert np.allclose(memory.search("alpha", mode="dense", with_vectors=True)[0].vector, embed(["alpha"])[0])

    def test_records_in_the_order_of_a_value(self, memory: Memory) -> None:
        values: list[Any] = [3, "b", None, 1.5, [7], "a", {"x": 1}, 3, True, "é", -2]
        memory.add([str(n) for n in range(11)], [{} if n == 4 else {"v": {"w": v}} for n, v in enumerate(values)])
        texts = [record.text for record in memory.select(order_by="v.w")]
        assert texts == ["10", "8", "3", "0", "7", "5", "1", "9", "2", "4", "6"]
        falling = [record.text for record in memory.select(order_by="v.w", descending=True)]
        assert falling == ["9", "1", "5", "0", "7", "3", "8", "10", "2", "4", "6"]
        assert [record.text for record in memory.select(order_by="v.w", offset=2, limit=3)] == texts[2:5]
        assert [record.text for record in memory.select({"v.w": {"$gt": 1}}, order_by="v.w")] == ["3", "0", "7"]
        assert [record.text for record in memory.select(descending=True, limit=2)] == ["10", "9"]
        assert memory.get(memory.ids(order_by="v.w"))[0].text == "10"
        assert memory.ids(order_by="$id") == sorted(memory.ids())
        assert memory.select(offset=50) == []
        for wrong in ({"offset": -1}, {"order_by": 3}):
            with pytest.raises(QueryError):
                memory.select(**wrong)  # type: ignore[arg-type]

    def test_iteration_follows_the_order_of_adding(self, memory: Memory) -> None:
        memory.add([str(i) for i in range(50)])
        memory.delete(where=None, ids=[record.id for record in memory][10:20])
        assert [record.text for record in memory] == [str(i) for i in range(50) if not 10 <= i < 20]

    def test_repr_and_bool_help(self, memory: Memory) -> None:
        assert memory
        memory.add("one")
        assert "1 records" in repr(memory)
        memory.close()
        assert "closed" in repr(memory)


def test_a_large_first_commit_in_ram_is_taken_in() -> None:
    with Memory.create() as memory:
        memory.add([f"text {i} of many words" for i in range(4409)])
        assert len(memory.search("text 17", k=3)) == 3


def test_memories_share_an_index_folder(tmp_path: Path) -> None:
    shared = tmp_path / "indexes"
    with Memory.create(tmp_path / "a.mp4", embed, index_dir=shared) as first:
        first.add("one", ids="1")
    kept = set(shared.iterdir())
    with Memory.create(tmp_path / "b.mp4", embed, index_dir=shared) as second:
        second.add("two", ids="2")
        second.compact()
        assert kept < set(shared.iterdir())
        folders = [path for path in shared.iterdir() if path.is_dir()]
        assert len(folders) == 2  # what its compaction left is gone
        with Memory.open(tmp_path / "a.mp4", "a", embedder=embed, index_dir=shared) as first:
            assert ids_of(first.search("one", mode="lexical")) == ["1"]
        second.add("three", ids="3")
        assert set(ids_of(second.search("three", k=2, mode="dense"))) == {"2", "3"}


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "error", "says"),
        [
            ((["a", 1],), TextError, "text 1 is of type int"),
            ((["a", "lone \ud800"],), TextError, "surrogate"),
            ((["a", "b"], [{}]), InvalidInputError, "1 and 2 texts"),
            ((["a"], [{"when": datetime(2026, 1, 1, tzinfo=UTC)}]), MetadataError, "'when' is of type datetime"),
            ((["a"], [{"deep": {"list": [1, {2}]}}]), MetadataError, r"deep\.list\[1\]"),
            ((["a"], [{"big": 1 << 70}]), MetadataError, "'big'"),
            ((["a"], [{1: "x"}]), MetadataError, "key 1"),
            ((["a"], [{"x": "\udfff"}]), MetadataError, "surrogate"),
            ((["a"], ["text"]), MetadataError, "not a dict"),
            ((["a", "b"], None, ["x"]), InvalidInputError, "1 ids and 2 texts"),
            ((["a"], None, [7]), InvalidInputError, "id 0 is of type int"),
            ((["a"], None, None, [[float("nan")] * DIMENSION]), VectorError, "finite"),
            ((["a"], None, None, [[float("inf")] * DIMENSION]), VectorError, "finite"),
            ((["a"], None, None, [[1.0] * 3]), DimensionError, "3 components"),
            ((["a", "b"], None, None, [[1.0] * DIMENSION]), InvalidInputError, "1 vectors"),
            ((["a"], None, None, [["x"] * DIMENSION]), VectorError, "vector 0"),
            ((5,), TextError, "not a value of type int"),
            ((["a"], 5), MetadataError, "not a value of type int"),
            ((["a"], None, 5), InvalidInputError, "not a value of type int"),
            ((["a"], None, None, 5), VectorError, "not of type int"),
        ],
    )
    def test_is_named_and_changes_nothing(self, memory: Memory, arguments: Any, error: type, says: str) -> None:
        memory.add("before", ids="before")
        size = memory.info().bytes
        with pytest.raises(error, match=says):
            memory.add(*arguments)
        assert memory.info().bytes == size
        assert [record.id for record in memory] == ["before"]

    @pytest.mark.parametrize("ids", [5, None, [1], ["before", None]])
    def test_ids_that_are_none(self, memory: Memory, ids: Any) -> None:
        memory.add("before", ids="before")
        for call in (memory.get, memory.get_vectors, lambda ids: memory.add([], delete=ids)):
            with pytest.raises(InvalidInputError, match="id"):
                call(ids)
        with pytest.raises(InvalidInputError, match=r"ids?\b|clear"):
            memory.delete(ids)
        assert memory.ids() == ["before"]

    def test_metadata_that_contains_itself(self, memory: Memory) -> None:
        loop: dict[str, Any] = {}
        loop["self"] = loop
        with pytest.raises(MetadataError, match="'self' is a list or dict that contains itself"):
            memory.add("a", loop)

    def test_queries(self, memory: Memory) -> None:
        memory.add("a")
        with pytest.raises(QueryError, match="empty"):
            memory.search("  ")
        with pytest.raises(QueryError, match="k is"):
            memory.search("a", k=-1)
        with pytest.raises(QueryError, match="mode"):
            memory.search("a", mode="fuzzy")  # type: ignore[arg-type]
        for k in (True, 1.0, "1", None):
            with pytest.raises(QueryError, match="k is"):
                memory.search("a", k=k)  # type: ignore[arg-type]
        with pytest.raises(QueryError, match="fusion"):
            memory.search("a", fusion="sum")  # type: ignore[arg-type]
        with pytest.raises(QueryError, match="recency"):
            memory.search("a", recency="when")  # type: ignore[arg-type]
        with pytest.raises(QueryError, match="candidates"):
            memory.mmr("a", fetch_k=-1)
        with pytest.raises(QueryError, match="limit"):
            memory.select(limit=-1)
        with pytest.raises(QueryError, match="dict"):
            memory.search_many(["a"], where=lambda record: True)  # type: ignore[arg-type]
        with pytest.raises(DimensionError):
            memory.search([1.0, 2.0])
        with pytest.raises(VectorError):
            memory.search([float("nan")] * DIMENSION)
        with pytest.raises(QueryError, match="words"):
            memory.search(np.ones(DIMENSION), mode="lexical")
        with pytest.raises(ValueError, match=r"\$gtt"):
            memory.search("a", where={"n": {"$gtt": 1}})

    async def test_diversity_is_checked_asynchronously_too(self, memory: Memory) -> None:
        for call in (lambda: memory.ammr("a", lambda_mult=2), lambda: memory.ammr("a", fetch_k=-1)):
            with pytest.raises(InvalidInputError, match=r"lambda_mult|candidates"):
                await call()

    def test_an_embedder_that_fails_writes_nothing(self, tmp_path: Path) -> None:
        def broken(texts: list[str]) -> Any:
            raise OSError("no model")

        with Memory.create(tmp_path / "m.mp4", broken) as memory:
            size = memory.info().bytes
            with pytest.raises(EmbeddingError, match="no model"):
                memory.add("a")
            assert memory.info().bytes == size

    def test_float16_overflow_is_said(self, tmp_path: Path) -> None:
        with Memory.create(tmp_path / "m.mp4", embed) as memory, pytest.raises(VectorError, match="float32"):
            memory.add("a", vectors=[[1e6] * DIMENSION])

    def test_closed(self, memory: Memory) -> None:
        memory.close()
        memory.close()
        for call in (lambda: memory.add("a"), lambda: memory.search("a"), lambda: len(memory), memory.info):
            with pytest.raises(ClosedError, match="closed"):
                call()


class TestOpening:
    def test_what_was_written_is_there_after_a_reopen_and_after_a_rebuild(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mp4"
        with Memory.create(path, embed, description="what for") as memory:
            memory.add(["a", "b", "c"], [{"n": 1}, {}, {"n": 3}], ids=["a", "b", "c"])
            memory.delete("b")
            expected = [(hit.id, round(hit.score, 5)) for hit in memory.search("c", mode="dense")]
        for _ in range(2):
            with Memory.open(path, embedder=embed) as memory:
                assert [record.id for record in memory] == ["a", "c"]
                assert [(hit.id, round(hit.score, 5)) for hit in memory.search("c", mode="dense")] == expected
                assert memory.info().description == "what for"
                assert [record.id for record in memory.select({"n": {"$exists": True}})] == ["a", "c"]
            shutil.rmtree(f"{path}.index")

    def test_paths(self, tmp_path: Path) -> None:
        with pytest.raises(MemoryNotFoundError):
            Memory.open(tmp_path / "none.mp4")
        with pytest.raises(MemoryNotFoundError, match="folder"):
            Memory.create(tmp_path / "no" / "m.mp4")
        Memory.create(tmp_path / "m.mp4").close()
        with pytest.raises(MemoryExistsError):
            Memory.create(tmp_path / "m.mp4")
        with pytest.raises(InvalidInputError, match="mode"):
            Memory.open(tmp_path / "m.mp4", "w")
        assert not (tmp_path / "none.mp4.index").exists()

    def test_another_embedder_is_refused_by_name_unless_forced(self, tmp_path: Path) -> None:
        def other(texts: list[str]) -> Any:
            return embed(texts)

        path = tmp_path / "m.mp4"
        with Memory.create(path, embed) as memory:
            memory.add("a")
        with pytest.raises(EmbedderMismatchError, match=r"embed.*other"):
            Memory.open(path, embedder=other)
        with Memory.open(path, embedder=other, force=True) as memory:
            assert len(memory.search("a", mode="dense")) == 1

    def test_without_its_embedder_words_and_vectors_still_search(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mp4"
        with Memory.create(path, embed) as memory:
            memory.add(["alpha wing", "beta"], ids=["a", "b"])
        with pytest.warns(EmbedderWarning, match="callable:embed"):
            memory = Memory.open(path)
        with memory:
            assert memory.embedder is None
            assert ids_of(memory.search("wing")) == ["a"]
            assert ids_of(memory.search(embed(["beta"])[0], k=1)) == ["b"]
            with pytest.raises(QueryError, match="embed"):
                memory.search("wing", mode="dense")

    def test_a_second_writer_waits_for_its_turn_and_is_told_who_has_it(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mp4"
        with Memory.create(path, embed) as first, Memory.open(path, "a", embedder=embed, timeout=0) as second:
            with first.exclusive():
                first.add("one", ids="1")
                with pytest.raises(LockedError, match=f"process {os.getpid()}.*this process"):
                    second.add("two", ids="2")
                assert second.get("1").text == "one"
            second.add("two", ids="2")
            assert first.ids() == ["1", "2"]

    def test_a_reader_follows_the_writer_and_may_not_write(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mp4"
        with Memory.create(path, embed) as writer, Memory.open(path, embedder=embed) as reader:
            assert len(reader) == 0
            writer.add(["a", "b"], ids=["a", "b"])
            assert ids_of(reader.search("a", k=1, mode="dense")) == ["a"]
            writer.delete("a")
            assert [record.id for record in reader] == ["b"]
            compact_beside_readers(writer)
            writer.add("c", ids="c")
            assert [record.id for record in reader] == ["b", "c"]
            with pytest.raises(ReadOnlyError):
                reader.add("x")

    @pytest.mark.parametrize("vectors", ["float16", "float32", "float64", "int8", "none"])
    def test_every_kind_of_vectors_searches_the_same(self, tmp_path: Path, vectors: Any) -> None:
        path = tmp_path / "m.mp4"
        texts = [f"text {i}" for i in range(40)]
        with Memory.create(path, embed, vector_dtype=vectors) as memory:
            memory.add(texts, ids=texts)
        shutil.rmtree(f"{path}.index")
        with Memory.open(path, embedder=embed) as memory:
            assert ids_of(memory.search("text 7", k=1, mode="dense")) == ["text 7"]
            stored, given = memory.get_vectors(["text 7"])["text 7"].astype(np.float64), embed(["text 7"])[0]
            assert np.allclose(stored / np.linalg.norm(stored), given / np.linalg.norm(given), atol=0.01)


class TestThePast:
    def test_as_of_a_number_or_a_time(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mp4"
        with Memory.create(path, embed) as memory:
            memory.add("one", ids="a")
            memory.add("two", ids="b")
            memory.delete("a")
            memory.add("changed", ids="b")
            times = [commit.time for commit in memory.history()]
        texts = [[], ["one"], ["one", "two"], ["two"], ["changed"]]
        for number, expected in enumerate(texts):
            with Memory.open(path, embedder=embed, as_of=number) as past:
                assert [record.text for record in past] == expected
                assert {hit.text for hit in past.search("one", mode="dense")} == set(expected)
                with pytest.raises(ReadOnlyError):
                    past.add("x")
        with Memory.open(path, embedder=embed, as_of=times[1]) as past:
            assert [record.text for record in past] == texts[2]
        with pytest.raises(InvalidInputError, match="0 to 4"):
            Memory.open(path, embedder=embed, as_of=9)
        with pytest.raises(InvalidInputError, match="was made"):
            Memory.open(path, embedder=embed, as_of=times[0] - timedelta(days=1))
        with Memory.open(path, embedder=embed, as_of=times[1].astimezone().replace(tzinfo=None)) as past:  # local time
            assert [record.text for record in past] == texts[2]
        with pytest.raises(InvalidInputError, match=r"time zone|was made"):
            Memory.open(path, embedder=embed, as_of=datetime.fromisoformat("0001-01-01"))
        for wrong in ("2026-01-01", 1.5, True, times[0].date()):
            with pytest.raises(InvalidInputError, match="as_of is"):
                Memory.open(path, embedder=embed, as_of=wrong)  # type: ignore[arg-type]

    def test_compact_drops_the_bytes_and_folds_the_past(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mp4"
        secret = "a secret that must be gone 7f3a9c"
        with Memory.create(path, embed, vector_dtype="float32") as memory:
            for i in range(30):
                memory.add(f"text {i}", {"n": i}, ids=str(i))
            memory.add(secret, ids="secret", vectors=[[77.125] * DIMENSION])
            memory.delete(["secret", "3"])
            before = [(record.id, record.text, record.metadata) for record in memory]
            needle = np.float32(77.125).tobytes() * DIMENSION
            assert needle in path.read_bytes()
            saved = memory.compact()
            assert saved > 0
            assert needle not in path.read_bytes()
            assert [(record.id, record.text, record.metadata) for record in memory] == before
            assert len(memory.history()) == 1
            memory.add("after", ids="after")
            assert memory.verify().ok
        with Memory.open(path, embedder=embed) as memory:
            assert len(memory) == 30
            assert ids_of(memory.search("text 7", k=1, mode="dense")) == ["7"]
        with pytest.raises(InvalidInputError, match="removed the history"):
            Memory.open(path, embedder=embed, as_of=2)

    def test_compact_can_keep_history(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mp4"
        with Memory.create(path, embed) as memory:
            for i in range(5):
                memory.add(f"text {i}", ids=str(i))
            memory.delete("1")
            commits = [(commit.number, commit.time) for commit in memory.history()]
            memory.compact(keep_history=True)
            assert [(commit.number, commit.time) for commit in memory.history()] == commits
        with Memory.open(path, embedder=embed, as_of=3) as past:
            assert [record.id for record in past] == ["0", "2"]


def test_save_writes_a_memory_of_its_own(memory: Memory, tmp_path: Path) -> None:
    memory.add(["a", "b", "c"], [{"n": 1}, {}, {}], ids=["a", "b", "c"], vectors=[*embed(["a", "b"]), None])
    memory.delete("b")
    path = tmp_path / "copy.mp4"
    memory.save(path)
    memory.add("later")
    with Memory.open(path, embedder=embed) as copy:
        assert [(record.id, record.text, record.metadata) for record in copy] == [("a", "a", {"n": 1}), ("c", "c", {})]
        assert np.array_equal(copy.get_vectors(["a"])["a"], memory.get_vectors(["a"])["a"])
        assert copy.verify().ok
        assert copy.info().commits == 2
    memory.save(path)
    with Memory.open(path, embedder=embed) as copy:
        assert len(copy) == 3
    if memory.path != ":memory:":
        with pytest.raises(InvalidInputError, match="own file"):
            memory.save(memory.path)


def test_an_embedder_that_learns_is_copied_for_each_memory(tmp_path: Path) -> None:
    colours, things = ("red", "green", "blue", "grey"), ("apples", "houses", "rivers", "engines", "wings")
    texts = [f"{colour} {thing} number {i}" for colour in colours for thing in things for i in range(20)]
    embedder = HashingEmbedder()
    with Memory.create(tmp_path / "a.mp4", embedder) as first, Memory.create(tmp_path / "b.mp4", embedder) as second:
        first.add(texts)
        second.add("one text")
        assert (embedder.fitted, first.embedder.fitted, second.embedder.fitted) == (False, True, False)  # type: ignore[union-attr]


class MemoryAgainstDict(RuleBasedStateMachine):
    """Any sequence of calls gives what a dict would."""

    ids = Bundle("ids")

    @initialize(kind=st.sampled_from(["float16", "float32", "none"]))
    def make(self, kind: Any) -> None:
        import tempfile

        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "m.mp4"
        self.memory = Memory.create(self.path, embed, vector_dtype=kind)
        self.reader = Memory.open(self.path, embedder=embed)
        self.model: dict[str, tuple[str, dict[str, Any]]] = {}
        self.past: dict[int, dict[str, tuple[str, dict[str, Any]]]] = {}

    @rule(
        target=ids, records=st.dictionaries(st.text(max_size=3), st.text(max_size=60), max_size=5), n=st.integers(0, 3)
    )
    def add(self, records: dict[str, str], n: int) -> Any:
        metadata = [{"n": n, "i": i} for i in range(len(records))]
        self.memory.add(list(records.values()), metadata, list(records))
        for (record_id, text), meta in zip(records.items(), metadata, strict=True):
            self.model.pop(record_id, None)  # a replaced record comes after the others
            self.model[record_id] = (text, meta)
        return multiple(*records)

    @rule(record_id=ids)
    def delete(self, record_id: str) -> None:
        assert self.memory.delete(record_id) == (self.model.pop(record_id, None) is not None)

    @rule(n=st.integers(0, 3))
    def delete_where(self, n: int) -> None:
        gone = [record_id for record_id, (_, metadata) in self.model.items() if metadata["n"] == n]
        assert self.memory.delete(where={"n": n}) == len(gone)
        for record_id in gone:
            del self.model[record_id]

    @rule()
    def compact(self) -> None:
        if compact_beside_readers(self.memory):
            self.past.clear()

    @rule()
    def reopen(self) -> None:
        self.memory.close()
        self.memory = Memory.open(self.path, "a", embedder=embed)

    @rule()
    def lose_the_index(self) -> None:
        self.memory.close()
        self.reader.close()
        shutil.rmtree(f"{self.path}.index")
        self.memory = Memory.open(self.path, "a", embedder=embed)
        self.reader = Memory.open(self.path, embedder=embed)

    @rule()
    def remember(self) -> None:
        self.past[self.memory.info().commits] = dict(self.model)

    @invariant()
    def both_see_what_the_model_has(self) -> None:
        expected = [(record_id, text, metadata) for record_id, (text, metadata) in self.model.items()]
        for memory in (self.memory, self.reader):
            assert [(record.id, record.text, record.metadata) for record in memory] == expected
            assert len(memory) == len(self.model)
        for text, _ in list(self.model.values())[:2]:
            vector = embed([text])[0]
            best = {hit.text for hit in self.reader.search(vector, k=1)}
            assert best == {text}

    def teardown(self) -> None:
        if not hasattr(self, "memory"):
            return
        for number, expected in self.past.items():
            with Memory.open(self.path, embedder=embed, as_of=number) as past:
                assert {record.id: (record.text, record.metadata) for record in past} == expected
        report = self.memory.verify()
        assert report.ok, report
        self.memory.close()
        self.reader.close()
        shutil.rmtree(self.folder)


TestMemoryAgainstDict = MemoryAgainstDict.TestCase
TestMemoryAgainstDict.settings = settings(max_examples=25, stateful_step_count=20)


def test_a_memory_that_is_filled_one_by_one_learns_when_there_is_something_to_learn_from(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    subjects = ("wings", "engines", "tails", "rudders")
    texts = [f"record {i} speaks of {subjects[i % 4]} and of number {i % 37}" for i in range(1001)]
    ids = [str(i) for i in range(1001)]
    plain = HashingEmbedder()
    with Memory.create(path) as memory, Memory.open(path) as reader:
        memory.add(texts[:998], ids=ids[:998], vectors=plain.embed_documents(texts[:998]))
        memory.add(texts[998], ids=ids[998])
        assert not getattr(memory.embedder, "fitted", None)
        for i in (999, 1000):
            memory.add(texts[i], ids=ids[i])
        assert reader.search(texts[3], k=1)
        assert memory.embedder is not None
        assert [getattr(opened.embedder, "fitted", None) for opened in (memory, reader)] == [True, True]
        assert reader.ids() == ids
        stored = reader.get_vectors(ids)
        np.testing.assert_allclose([stored[i] for i in ids], memory.embedder.embed_documents(texts), atol=2e-3)


def test_given_vectors_are_never_learned_over(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4") as memory:
        given = np.random.default_rng(0).normal(size=(1200, 384))
        memory.add([f"record {i}" for i in range(1200)], vectors=given)
        memory.add("one more")
        assert memory.info().commits == 2


def test_a_refit_over_too_few_records_keeps_what_the_embedder_knew(tmp_path: Path) -> None:
    texts = [f"number {i} of the {name}" for i in range(120) for name in ("wings", "engines", "tails")]
    path = tmp_path / "m.mp4"
    with Memory.create(path) as memory:
        memory.add(texts, ids=texts)
        memory.delete(texts[5:])
        assert memory.refit() == 5
    for _ in range(2):
        with Memory.open(path) as memory:
            found = [memory.search(text, k=1, mode="dense")[0] for text in texts[:5]]
            assert [hit.id for hit in found] == texts[:5]
            assert min(hit.cosine or 0 for hit in found) > 0.99
        shutil.rmtree(f"{path}.index")
