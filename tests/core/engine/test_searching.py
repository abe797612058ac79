"""Searching by meaning, by words and by both, and what orders the hits in the end."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core import (
    CallableEmbedder,
    ClosedError,
    DimensionError,
    HashingEmbedder,
    InvalidInputError,
    Memory,
    QueryError,
    Recency,
    Record,
)
from memvid_core.engine import settings
from memvid_core.engine.search_request import Mode
from memvid_core.engine.settings import EngineSettings
from memvid_core.memory import session_of
from memvid_core.words.lexical_index import LexicalIndex
from tests.core.embedders import DIMENSION, embed
from tests.core.vectors.tuned import tune

TEXTS = {
    "wing": "The wing of an aircraft produces lift when air flows over it.",
    "engine": "A jet engine burns kerosene and makes thrust.",
    "invoice": "Invoice INV-20417 was paid on the third of March.",
    "seoul": "서울은 대한민국의 수도이며 한강이 도시를 가로지른다.",
    "busan": "부산은 항구 도시이고 해운대 해수욕장이 유명하다.",
    "bread": "Bread rises because yeast makes gas in the dough.",
}


@pytest.fixture
def memory() -> Iterator[Memory]:
    with Memory.create(":memory:") as made:
        made.add(list(TEXTS.values()), ids=list(TEXTS))
        yield made


def ids_of(hits: Sequence[Any]) -> list[str]:
    return [hit.id for hit in hits]


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("INV-20417", "invoice"),
        ("대한민국 수도", "seoul"),
        ("해운대", "busan"),
        ("lift of a wing", "wing"),
        ("yeast", "bread"),
    ],
)
@pytest.mark.parametrize("mode", [None, "lexical", "hybrid"])
def test_names_numbers_and_korean_are_found_without_a_model(
    memory: Memory, question: str, best: str, mode: Any
) -> None:
    assert memory.search(question, k=1, mode=mode)[0].id == best


def test_a_text_is_searched_by_both_unless_told(memory: Memory) -> None:
    hit = memory.search("jet engine", k=1, explain=True)[0]
    assert hit.id == "engine"
    assert hit.explain is not None
    assert set(hit.explain) == {"dense", "lexical", "nearby", "together", "beginning"}
    assert sum(hit.explain.values()) == pytest.approx(hit.score, abs=1e-5)
    assert hit.cosine is not None


def test_phrases_and_exclusions_bind_both_halves(memory: Memory) -> None:
    assert "engine" not in ids_of(memory.search("jet thrust wing -kerosene", k=6))
    assert ids_of(memory.search('"jet engine"', k=6)) == ["engine"]


def test_languages_named_by_a_letter_and_signs_are_told_apart() -> None:
    with Memory.create(":memory:", None) as memory:
        memory.add(["compiled from C", "compiled from C++", "compiled from C#"], ids=["c", "c++", "c#"])
        for name in ("c++", "c#"):
            assert ids_of(memory.search(name.upper(), k=1)) == [name]
        assert set(ids_of(memory.search("compiled -C++"))) == {"c", "c#"}


@pytest.mark.parametrize("fusion", ["score", "rank"])
def test_alpha_leans_to_one_half(memory: Memory, fusion: Any) -> None:
    dense = ids_of(memory.search("the gas in an engine", k=3, mode="dense"))
    lexical = ids_of(memory.search("the gas in an engine", k=1, mode="lexical"))
    assert ids_of(memory.search("the gas in an engine", k=3, alpha=1.0, fusion=fusion)) == dense
    assert ids_of(memory.search("the gas in an engine", k=1, alpha=0.0, fusion=fusion)) == lexical
    with pytest.raises(InvalidInputError):
        memory.search("the gas", alpha=1.5)


def test_recency_lets_older_records_fall_back() -> None:
    with Memory.create(":memory:", embed) as memory:
        day = 86400.0
        memory.add(
            ["same"] * 3, [{"at": 0.0}, {"at": 9 * day}, {"at": "1970-01-06T00:00:00+00:00"}], ids=["old", "new", "mid"]
        )
        recency = Recency("at", half_life=day, now=10 * day)
        assert ids_of(memory.search("same", mode="dense", recency=recency)) == ["new", "mid", "old"]
        assert ids_of(memory.search("same", mode="dense")) == ["old", "new", "mid"]
        memory.add("same", {"other": 1}, ids="undated")
        assert ids_of(memory.search("same", mode="dense", recency=recency))[-1] == "undated"


def test_a_reranker_orders_the_candidates_anew(memory: Memory) -> None:
    asked: list[tuple[str, int]] = []

    def by_length(question: str, texts: list[str]) -> list[float]:
        asked.append((question, len(texts)))
        return [float(len(text)) for text in texts]

    hits = memory.search("city", k=2, rerank=by_length, mode="dense")
    longest = sorted(TEXTS, key=lambda key: -len(TEXTS[key]))[:2]
    assert ids_of(hits) == longest
    assert asked == [("city", 6)]
    with pytest.raises(QueryError, match="reranker"):
        memory.search("city", rerank=lambda question, texts: [1.0])
    with pytest.raises(QueryError, match="words"):
        memory.search(np.ones(384), rerank=by_length)


async def _scores_later(question: str, texts: list[str]) -> list[float]:
    return [1.0] * len(texts)


@pytest.mark.parametrize(
    "give", [None, 3, "123456", ["high"] * 6, [[1.0], [1.0, 2.0]], [float("nan")] * 6, [1e400] * 6]
)
def test_what_is_no_score_a_text_is_refused(memory: Memory, give: Any) -> None:
    with pytest.raises(QueryError, match="the reranker must return one"):
        memory.search("city", rerank=lambda question, texts: give)


def test_a_reranker_that_has_to_be_awaited_says_so(memory: Memory) -> None:
    with pytest.raises(QueryError, match="coroutine"):
        memory.search("city", rerank=_scores_later)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
@pytest.mark.parametrize(
    "options",
    [
        {"alpha": 1.5},
        {"alpha": float("nan")},
        {"alpha": "0.5"},
        {"fusion": "sum"},
        {"recency": "at"},
        {"rerank": 5},
    ],
)
def test_a_setting_that_no_search_can_follow_is_refused(memory: Memory, mode: Any, options: dict[str, Any]) -> None:
    with pytest.raises(QueryError, match=next(iter(options))):
        memory.search("city", mode=mode, **options)


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC-9")
    change = getattr(time, "tzset", lambda: None)  # Windows has one time zone a process
    change()
    yield
    monkeypatch.undo()
    change()


@pytest.mark.usefixtures("far_from_utc")
def test_a_time_without_a_zone_is_the_same_everywhere() -> None:
    with Memory.create(":memory:", embed) as memory:
        times: list[Any] = ["2026-01-01", "2026-01-01T00:00:00Z", 1767225600, "0001-01-01", "9999-12-31", "soon", None]
        memory.add(["same"] * len(times), [{"at": value} for value in times])
        recency = Recency("at", half_life=3600, now=1767225600 + 3600)
        hits = memory.search("same", k=9, mode="dense", recency=recency)
        factors = {repr(hit.metadata["at"]): hit.score / 0.25 for hit in hits}
        expected = {repr(value): factor for value, factor in zip(times, (3, 3, 3, 2, 4, 2, 2), strict=True)}
        assert factors == pytest.approx(expected, rel=1e-2)


def test_neighbours_of_a_hit_are_the_chunks_around_it() -> None:
    with Memory.create(":memory:", embed) as memory:
        places = [("a.md", 2), ("b.md", 0), ("a.md", 0), ("a.md", 1), ("a.md", 3), ("b.md", 1)]
        memory.add([f"{s}{c}" for s, c in places], [{"source": s, "chunk": c} for s, c in places])
        hit = memory.search("a.md2", k=1, mode="dense")[0]
        assert [record.text for record in memory.context(hit)] == ["a.md1", "a.md2", "a.md3"]
        assert [record.text for record in memory.context(hit, before=5, after=0)] == ["a.md0", "a.md1", "a.md2"]
        memory.add("alone", ids="alone")
        assert [record.id for record in memory.context(memory.get("alone"))] == ["alone"]
        memory.add(["yes", "no"], [{"source": "c.md", "chunk": flag} for flag in (True, False)], ids=["yes", "no"])
        assert [record.id for record in memory.context(memory.get("yes"))] == ["yes", "no"]
        for before, after in ((-1, 0), (0, -1), (1.5, 0)):
            with pytest.raises(QueryError, match="number of records"):
                memory.context(hit, before, after)  # type: ignore[arg-type]


def test_neighbours_are_those_of_the_moment_they_are_asked_for(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4", embed) as memory:
        memory.add(
            [f"part {i}" for i in range(9)], [{"source": "a.md", "chunk": i} for i in range(9)], list("abcdefghi")
        )
        hit = memory.search("part 4", k=1, mode="dense")[0]
        memory.delete(["a", "d"])
        assert ids_of(memory.context(hit)) == ["e", "f"]
        memory.compact()
        assert ids_of(memory.context(hit, before=2)) == ["c", "e", "f"]
        memory.delete("e")
        assert ids_of(memory.context(hit)) == ["e"]
    with pytest.raises(ClosedError):
        memory.context(hit)


def test_a_memory_that_nobody_holds_closes_itself(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    memory = Memory.create(path, embed)
    memory.add("one", {"source": "a.md"}, ids="1")
    records = iter(memory)
    found = [next(records)]
    del memory
    found += records  # an iteration holds it open
    assert ids_of(found) == ["1"]
    del records
    Memory.open(path, "a", embedder=embed).close()


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_search_in_a_memory_that_is_closed_meanwhile_says_so(tmp_path: Path, mode: Mode) -> None:
    memory = Memory.create(tmp_path / "m.mp4", embed)
    memory.add([f"text {i}" for i in range(50)])
    memory.search("text", mode="lexical")

    def close(record: Record) -> bool:
        memory.close()
        return False

    with pytest.raises(ClosedError):
        memory.search("text", k=1, where=close, mode=mode)


def test_a_memory_searched_through_lists_opens_without_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(monkeypatch, auto_floats=64)  # lists are made of codes, and codes for more rows than these
    path = tmp_path / "m.mp4"
    texts = [f"text {i}" for i in range(300)]
    with Memory.create(path, embed, index="ivf") as memory:
        memory.add(texts[:200], [{"n": i % 4} for i in range(200)])
        assert memory.search(texts[7], k=1, mode="dense")[0].text == texts[7]
    assert list(tmp_path.rglob("*.lists"))
    with Memory.open(path, "a", embedder=embed) as memory:  # a writer that knows nothing of the lists
        memory.add(texts[200:], [{"n": 5}] * 100)
        plain = {text: ids_of(memory.search(text, k=5, mode="dense")) for text in texts[::20]}
    with Memory.open(path, embedder=embed, index="ivf") as memory:
        assert {text: ids_of(memory.search(text, k=5, mode="dense")) for text in texts[::20]} == plain
        assert memory.search(texts[250], k=1, where={"n": 5}, mode="dense")[0].text == texts[250]
    (lists,) = tmp_path.rglob("*.lists")
    size = lists.stat().st_size
    with Memory.open(path, "a", embedder=embed, index="ivf") as memory:  # a writer that adds nothing saves what it made
        memory.search(texts[250], k=1, mode="dense")
    assert lists.stat().st_size > size


def test_a_reader_that_prepares_saves_lists_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, auto_floats=64, entries=1, scanned=1)
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add([f"text {i}" for i in range(300)])
    before = path.read_bytes()
    with Memory.open(path, embedder=embed, index="ivf") as reader:
        assert not list(tmp_path.rglob("*.lists"))
        reader.prepare()
        assert list(tmp_path.rglob("*.lists"))
        assert reader.search("text 7", k=1, mode="dense")[0].text == "text 7"
    assert path.read_bytes() == before


def test_many_questions_at_once_answer_as_one_by_one() -> None:
    with Memory.create(":memory:", embed) as memory:
        memory.add([f"text {i}" for i in range(100)], [{"n": i % 2} for i in range(100)])
        questions = [f"text {i}" for i in (3, 50, 99)]
        together = memory.search_many(questions, k=4, where={"n": 1})
        assert [ids_of(hits) for hits in together] == [
            ids_of(memory.search(question, k=4, where={"n": 1}, mode="dense")) for question in questions
        ]
        assert [ids_of(hits) for hits in memory.search_many(embed(questions), k=1)] == [
            ids_of(memory.search(question, k=1, mode="dense")) for question in questions
        ]
        assert memory.search_many([]) == []
        with pytest.raises(QueryError, match="not a function"):
            memory.search_many(["text 3"], where=lambda record: True)  # type: ignore[arg-type]
        with pytest.raises(DimensionError):
            memory.search_many([[1.0], [1.0, 2.0]])


def test_records_without_a_vector_are_like_no_other() -> None:
    with Memory.create(":memory:", embed) as memory:
        memory.add(["wing", "wing"], ids=["a", "b"])
        memory.add("wing and more", ids="bare", vectors=[None])
        for mode in ("lexical", "hybrid"):
            assert sorted(ids_of(memory.mmr("wing", k=3, mode=mode))) == ["a", "b", "bare"]
            assert ids_of(memory.mmr("wing", k=2, mode=mode, lambda_mult=0.3)) == ["a", "bare"]
        assert ids_of(memory.mmr("wing", k=3)) == ["a", "b"]


async def test_a_question_whose_embedding_is_empty_is_searched_by_its_words() -> None:
    mute = CallableEmbedder(embed, query=lambda text: [], name="mute")
    with Memory.create(":memory:", mute) as memory:
        memory.add(["the wing lifts", "the engine hums"], ids=["wing", "engine"])
        with pytest.warns(UserWarning, match="empty vector"):
            assert ids_of(memory.search("wing")) == ["wing"]
        with pytest.warns(UserWarning, match="empty vector"):
            assert ids_of(await memory.asearch("wing")) == ["wing"]
        with pytest.warns(UserWarning, match="empty vector"):
            assert memory.search("wing", mode="dense") == memory.mmr("wing") == memory.search_many(["wing"])[0] == []


class TestLearning:
    def test_the_first_large_commit_teaches_and_the_file_remembers(self, tmp_path: Any) -> None:
        path = tmp_path / "m.mp4"
        texts = [f"{a} {b} number {i}" for i, (a, b) in enumerate(_pairs())]
        with Memory.create(path) as memory:
            memory.add(texts)
            embedder = memory.embedder
            assert isinstance(embedder, HashingEmbedder)
            assert embedder.fitted
            expected = ids_of(memory.search("red apples", k=5, mode="dense"))
        with Memory.open(path) as memory:
            assert memory.embedder is not embedder
            assert ids_of(memory.search("red apples", k=5, mode="dense")) == expected

    def test_refit_embeds_everything_anew_in_one_commit(self, tmp_path: Any) -> None:
        path = tmp_path / "m.mp4"
        with Memory.create(path) as memory:
            texts = [f"{a} {b} number {i}" for i, (a, b) in enumerate(_pairs())]
            memory.add(texts[:3])
            memory.add(texts[3:])
            assert isinstance(memory.embedder, HashingEmbedder)
            fitted_before, commits = memory.embedder.fitted, memory.info().commits
            assert memory.refit() == 640
            assert memory.info().commits == commits + 1
            assert (fitted_before, memory.embedder.fitted) == (False, True)
            assert len(memory) == 640
            found = ids_of(memory.search("number 7", k=3, mode="dense"))
        with Memory.open(path) as memory:
            assert ids_of(memory.search("number 7", k=3, mode="dense")) == found
        with Memory.open(path, as_of=commits) as past:
            assert isinstance(past.embedder, HashingEmbedder)
            assert not past.embedder.fitted
            assert len(past.search("number 7", k=3, mode="dense")) == 3

    def test_an_embedder_that_does_not_learn_says_so(self) -> None:
        with Memory.create(":memory:", embed) as memory, pytest.raises(InvalidInputError, match="learn"):
            memory.refit()


def _pairs() -> list[tuple[str, str]]:
    colours = ["red", "green", "blue", "white", "black", "grey", "pink", "brown"]
    things = ["apples", "houses", "rivers", "engines", "wings", "letters", "stones", "songs"]
    return [(colour, thing) for colour in colours for thing in things] * 10


class TestAsync:
    async def test_the_loop_goes_on_while_a_model_works(self) -> None:
        working, finish = threading.Event(), threading.Event()

        def slow(texts: list[str]) -> Any:
            working.set()
            assert finish.wait(30)
            return embed(texts)

        with Memory.create(":memory:", slow) as memory:
            task = asyncio.create_task(memory.aadd(["one", "two"], ids=["1", "2"]))
            assert await asyncio.to_thread(working.wait, 30)
            finish.set()  # reached only because the loop was free
            assert await task == ["1", "2"]

    async def test_every_twin_answers_as_its_sync_method(self) -> None:
        with Memory.create(":memory:", embed) as memory:
            assert await memory.aadd(["a", "b"], [{"n": 1}, {"n": 2}], ["1", "2"]) == ["1", "2"]
            assert await memory.aadd([]) == []
            assert await memory.aadd("c", ids="3", vectors=[np.ones(DIMENSION)]) == ["3"]
            assert ids_of(await memory.asearch("a", k=2, mode="dense")) == ids_of(memory.search("a", k=2, mode="dense"))
            assert ids_of(await memory.ammr("a", k=2)) == ids_of(memory.mmr("a", k=2))
            assert (await memory.aget("1")).text == "a"
            assert await memory.adelete(where={"n": 2}) == 1

    async def test_many_at_once(self) -> None:
        with Memory.create(":memory:", embed) as memory:
            await asyncio.gather(*(memory.aadd(f"text {i}", ids=str(i)) for i in range(30)))
            found = await asyncio.gather(*(memory.asearch(f"text {i}", k=1, mode="dense") for i in range(30)))
            assert [ids_of(hits) for hits in found] == [[str(i)] for i in range(30)]


def test_threads_add_and_search_together() -> None:
    with Memory.create(":memory:", embed) as memory:
        failures: list[BaseException] = []

        def work(worker: int) -> None:
            try:
                for i in range(15):
                    memory.add(f"{worker} {i}", ids=f"{worker}-{i}")
                    assert memory.search(f"{worker} {i}", k=1, mode="dense")[0].id == f"{worker}-{i}"
            except BaseException as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(memory) == 60


def test_as_of_uses_only_the_words_of_its_time(tmp_path: Any) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path) as memory:
        memory.add("the wing lifts", ids="wing")
        memory.add("the engine hums", ids="engine")
        memory.delete("wing")
        assert ids_of(memory.search("wing", mode="lexical")) == []
    with Memory.open(path, as_of=1) as past:
        assert ids_of(past.search("wing engine", mode="lexical")) == ["wing"]


def test_records_are_added_while_words_are_indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, added = threading.Event(), threading.Event()
    extend = LexicalIndex.extend

    def extended_once_added(*args: Any) -> None:
        reading.set()
        assert added.wait(30)
        extend(*args)

    with Memory.create(tmp_path / "m.mp4", embed) as memory, ThreadPoolExecutor(1) as pool:
        memory.add(["the wing lifts", "the engine hums"], ids=["wing", "engine"])
        monkeypatch.setattr(LexicalIndex, "extend", extended_once_added)
        found = pool.submit(memory.search, "wing", mode="lexical")
        assert reading.wait(30)
        memory.add("another wing", ids="later")
        added.set()
        assert ids_of(found.result(30)) == ["wing"]
        assert ids_of(memory.search("wing", mode="lexical")) == ["later", "wing"]


@pytest.mark.parametrize(("rows", "characters"), [(7, 1 << 25), (1 << 16, 50)])
def test_two_that_index_the_same_words_at_once_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, characters: int
) -> None:
    monkeypatch.setattr(settings, "DEFAULTS", EngineSettings(feed_rows=rows, feed_characters=characters))
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add([f"word{i} common" for i in range(100)], ids=[str(i) for i in range(100)])
        memory.delete([str(i) for i in range(0, 100, 3)])
    expected = [str(i) for i in range(100) if i % 3]
    with Memory.open(path, embedder=embed) as one, Memory.open(path, embedder=embed) as two, ThreadPoolExecutor(2) as p:
        searches = [p.submit(memory.search, "common", 100, mode="lexical") for memory in (one, two)]
        assert [ids_of(search.result()) for search in searches] == [expected] * 2
        assert ids_of(one.search("word50", mode="lexical")) == ids_of(two.search("word50", mode="lexical")) == ["50"]


@pytest.mark.parametrize("how", ["without words", "of another analyser", "of a scheme before", "noise", "cut"])
@pytest.mark.parametrize("mode", ["r", "a"])
def test_an_index_folder_from_before_is_brought_up_to_date(tmp_path: Path, how: str, mode: str) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add([f"word{i} common" for i in range(700)], ids=[str(i) for i in range(700)])
        expected = ids_of(memory.search("common word7", 700, mode="lexical"))
    (file,) = Path(f"{path}.index").rglob("lexical.sqlite")
    if how == "without words":
        shutil.rmtree(file.parent)
    elif how == "noise":
        file.write_bytes(random.Random(1).randbytes(5000))
    elif how == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        with closing(sqlite3.connect(file, isolation_level=None)) as older:
            if how == "of another analyser":
                older.execute("UPDATE meta SET value = 'older/0' WHERE name = 'analyser'")
            else:
                older.executescript("DROP TABLE meta; DROP TABLE postings; CREATE TABLE postings (token, row)")
    for _ in range(2):
        with Memory.open(path, mode, embedder=embed) as memory:
            assert ids_of(memory.search("common word7", 700, mode="lexical")) == expected
            assert ids_of(memory.search("word8", 1)) == ["8"]


AWKWARD = [
    '"',
    "-",
    "*",
    "(",
    ")",
    "AND",
    "NEAR/3",
    "^",
    ":",
    "{",
    "\\",
    "\x00",
    "🎞️",
    "👨‍👩‍👧",
    "שלום",
    "مرحبا",
    "\u202e",
    "서울",
]
AWKWARD += ["wing", "$", "%", "_", "\n", "é", "e\u0301", "\ud800", '-"', '""', "* *", "a" * 50, "';DROP TABLE records"]


def test_no_question_raises_but_an_empty_one(memory: Memory, effort: Callable[[int], int]) -> None:
    rng = random.Random(5)
    for turn in range(effort(500)):
        question = rng.choice([" ", ""]).join(rng.choices(AWKWARD, k=rng.randrange(1, 12)))
        if turn % 50 == 49:
            question = (question + " ") * (100_000 // (len(question) + 1))
        mode: Any = rng.choice([None, "lexical", "dense"])
        if question.strip():
            assert len(memory.search(question, k=5, mode=mode)) <= 5
        else:
            with pytest.raises(QueryError, match="empty"):
                memory.search(question, k=5, mode=mode)


def test_every_row_with_a_vector_that_counts_is_live(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"

    def check(memory: Memory) -> None:
        snapshot = session_of(memory).snapshot()
        assert not (snapshot.dense & ~snapshot.live).any()
        assert all(memory.search(text, k=1, mode="dense")[0].text == text for text in ("text 7", "text 3 again"))
        assert "text 4" not in [hit.text for hit in memory.search("text 4", k=9, mode="dense")]

    with Memory.create(path, embed) as memory:
        ids = memory.add([f"text {i}" for i in range(20)])
        memory.delete(ids[4])
        memory.add(["text 3 again", "text 3 again"], ids=[ids[3], ids[3]])
        check(memory)
        with Memory.open(path, embedder=embed) as reader:
            check(reader)
        memory.compact()
        check(memory)


def test_places_count_the_live_rows_before(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4", "given") as memory:
        random_rows = random.Random(5)
        for size in (1, 62, 1, 1, 135):  # ends of 64 rows with a live row, without one, and between
            ids = memory.add([f"text {number}" for number in range(size)], vectors=np.ones((size, 4)))
            for left in (0.9, 0.3):
                memory.delete([one for one in ids if random_rows.random() > left])
            snapshot = session_of(memory).snapshot()
            rows = np.flatnonzero(snapshot.live)
            mixed = np.random.default_rng(size).permutation(len(rows))
            assert snapshot.live_places(rows[mixed]).tolist() == mixed.tolist()
