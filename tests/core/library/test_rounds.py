"""How often a search asks its shards, and that it makes no difference when one of them fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from memvid_core import IncompleteSearchError, Library, Memory, ThreadExecutor
from memvid_core.engine.shard import Candidates, Contents
from memvid_core.library.executor import Failure, Questions
from tests.core.embedders import embed
from tests.core.library.libraries import ENGLISH, KOREAN, plain, records
from tests.core.library.test_equal_answers import OPTIONS
from tests.core.library.test_equal_answers import QUESTIONS as ASKED

SOME = records(240)
QUESTIONS = ["wing barim", "heat detas", "engine shock pletas", "boundary"]


class Rounds(ThreadExecutor):
    """Take note of the rounds of a question, and fail one shard in one kind of them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.file = self.failing = ""

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        self.calls.append(call)
        answers = super().ask(call, questions, timeout)
        for place, (ref, _) in enumerate(questions):
            if call == self.failing and self.file in ("*", ref.entry.file):
                answers[place] = Failure("it was lost")
        return answers


@pytest.fixture
def executor() -> Iterator[Rounds]:
    with closing(Rounds()) as made:
        yield made


@pytest.fixture
def library(tmp_path: Path, executor: Rounds, request: pytest.FixtureRequest) -> Iterator[Library]:
    """Four shards, two of them with deleted rows; by default with a model, which is hardly trusted with these words."""
    with Library.create(tmp_path / "library", getattr(request, "param", embed), executor=executor) as made:
        made.build(SOME, rows_per_shard=60)
        made.delete([record.id for record in SOME[:100:3]])
        yield made


@pytest.mark.parametrize("library", [embed, None], indirect=True, ids=["a model", "built-in"])
@pytest.mark.parametrize(
    "options", [{}, {"explain": True}, {"where": {"year": {"$gte": 2000}}}, {"min_relevance": 0.1}]
)
def test_a_hybrid_search_asks_once_for_all_it_needs_of_its_candidates(
    library: Library, executor: Rounds, options: dict[str, Any]
) -> None:
    again = 0
    for question in QUESTIONS:
        library.search(question, 5, mode="lexical")  # its words are counted from here on
        executor.calls.clear()
        library.search(question, 5, mode="hybrid", **options)
        assert executor.calls[:2] == ["candidates", "contents"]
        assert executor.calls[2:] in ([], ["records"])
        again += len(executor.calls) - 2
    assert again < len(QUESTIONS) / 2  # mostly, the records that are needed came with the vectors


@pytest.mark.parametrize("failing", ["contents", "records"])
@pytest.mark.parametrize("mode", ["hybrid", "lexical", "dense"])
@pytest.mark.parametrize("given", [{}, {"unique": True}, {"k": 40, "with_vectors": True}, {"min_relevance": 0.3}])
def test_a_shard_that_fails_in_any_round_is_left_out_as_if_it_had_failed_before(
    library: Library, executor: Rounds, failing: str, mode: Any, given: dict[str, Any]
) -> None:
    options = {**given, "mode": mode, "partial": "allow"}
    reached = 0
    for question in QUESTIONS:
        whole = library.search(question, **options)
        executor.file = library.shards_of([whole[0].id])[whole[0].id]
        executor.failing = "candidates"
        before = library.search(question, **options)
        assert list(before.report.failed) == [executor.file]
        executor.failing = failing
        executor.calls.clear()
        after = library.search(question, **options)
        if after.report.complete:
            assert failing not in executor.calls or mode == "hybrid"
        else:
            reached += 1
        assert (plain(after), after.report) in ((plain(before), before.report), (plain(whole), whole.report))
        with pytest.raises(IncompleteSearchError) if not after.report.complete else nullcontext() as error:
            library.search(question, mode=mode, **given)
        if error is not None:
            assert plain(error.value.hits) == plain(before)
        executor.failing = ""
        assert plain(library.search(question, **options)) == plain(whole)
    assert reached or (failing, mode) in {("contents", "lexical"), ("contents", "dense"), ("records", "hybrid")}


ALL_ROUNDS = ("counts", "near", "any_counts", "frequencies", "candidates", "contents", "records")


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
@pytest.mark.parametrize("question", ["boundry wing", "boundry bilend", "enginne barimm", "heat detas"])
def test_the_round_in_which_a_shard_fails_makes_no_difference(
    library: Library, executor: Rounds, mode: Any, question: str
) -> None:
    for entry in library.shards():
        found = []
        executor.file = entry.file
        for executor.failing in ALL_ROUNDS:
            hits = library.search(question, 20, mode=mode, partial="allow", explain=True)
            if not hits.report.complete:
                found.append((executor.failing, plain(hits)))
        executor.failing = ""
        assert len(found) >= 2  # that many kinds of rounds are needed, of words that are counted already
        assert all(hits == found[0][1] for _, hits in found), [failing for failing, _ in found]


def test_the_rows_of_one_near_word_are_counted_once(tmp_path: Path, library: Library, executor: Rounds) -> None:
    with Memory.create(tmp_path / "one.mp4", embed) as memory:
        memory.add([r.text for r in SOME], [r.metadata for r in SOME], [r.id for r in SOME])
        memory.delete([record.id for record in SOME[:100:3]])
        # A word that is near several others, one that is near one, and both.
        for question, several in (("bilend", 1), ("boundry wing", 0), ("boundry bilend", 1)):
            executor.calls.clear()
            hits = library.search(question, 20, mode="lexical", explain=True)
            assert plain(hits) == plain(memory.search(question, 20, mode="lexical", explain=True))
            assert (executor.calls.count("near"), executor.calls.count("any_counts")) == (1, several)


class Distant(Rounds):
    """An executor whose messages take long; it counts the records that come with candidates."""

    distant = True

    def __init__(self) -> None:
        super().__init__()
        self.brought = 0

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        answers = super().ask(call, questions, timeout)
        self.brought += sum(len(answer.records) for answer in answers if isinstance(answer, Candidates))
        return answers


KINDS: list[dict[str, Any]] = [
    {"k": 9},
    {"k": 30, "explain": True},
    {"k": 9, "where": {"year": {"$gte": 2000}}},
]
MORE: list[dict[str, Any]] = [{"k": 90}, {"k": 9, "unique": True}]  # so many are not read in vain


@pytest.mark.parametrize("mode", ["lexical", "dense"])
def test_candidates_bring_the_records_where_a_round_takes_long(library: Library, mode: Any) -> None:
    with closing(Distant()) as far, Library.open(library.path, embedder=embed, executor=far) as asked:
        for question in QUESTIONS:
            for options in KINDS:
                far.brought = 0
                hits = asked.search(question, mode=mode, **options)
                assert plain(hits) == plain(library.search(question, mode=mode, **options))
                count = len(hits)
                assert count <= far.brought <= (count if count < options["k"] else 4 * count - 1)
        assert "candidates" in far.calls
        assert "records" not in far.calls
        for more in MORE:
            found = asked.search(QUESTIONS[0], mode=mode, **more)
            assert plain(found) == plain(library.search(QUESTIONS[0], mode=mode, **more))
        assert "records" in far.calls
        far.brought = 0
        for search, known in ((asked.mmr, library.mmr), (asked.search, library.search)):
            assert plain(search(QUESTIONS[0], mode="hybrid")) == plain(known(QUESTIONS[0], mode="hybrid"))
        assert far.brought == 0


def test_fewer_rounds_change_no_answer(library: Library) -> None:
    with closing(Distant()) as far, Library.open(library.path, embedder=embed, executor=far) as asked:
        for number, question in enumerate(ASKED):
            for option in OPTIONS[number % 3 :: 3]:
                assert plain(asked.search(question, **option)) == plain(library.search(question, **option))
            for k in (5, 12):
                assert plain(asked.mmr(question, k=k)) == plain(library.mmr(question, k=k))


NEW_WORDS = [
    "plolend grerim",
    "마을 사람 대나",
    "nowhere at all",
    "boundry",
    "krim* wing",
    '"heat" -shock',
    "a",
    "👩\u200d🚀 wing",
]


def distinct(library: Library, far: Distant, asked: Library) -> list[str]:
    """Ask questions with other words until all words are counted; return words that were not asked."""
    for number in range(20):
        if "counts_of_all" in far.calls:
            break
        asked.search(f"{ENGLISH[number]} {KOREAN[number]}", mode="lexical", partial="allow")
    return ENGLISH[20:]


def test_who_asks_often_where_a_round_takes_long_knows_the_counts_of_all_words(library: Library) -> None:
    with closing(Distant()) as far, Library.open(library.path, embedder=embed, executor=far) as asked:
        for version in range(3):
            far.calls.clear()
            others = distinct(library, far, asked)
            assert far.calls.count("counts_of_all") == 1
            assert far.calls.count("counts") > 4  # who asks less often does not pay for it
            far.calls.clear()
            for question in (*others, *NEW_WORDS):
                for mode in ("lexical", "hybrid"):
                    assert plain(asked.search(question, mode=mode)) == plain(library.search(question, mode=mode))
            assert far.calls.count("counts") <= 2 * 2  # of the beginning of words, and of signs that are not printed
            assert "counts_of_all" not in far.calls
            if version == 0:
                library.delete([record.id for record in SOME[1::4]])
            else:
                library.add(["plolend grerim and words that no other text has", "대한민국"])
            asked.refresh()


@pytest.mark.parametrize("which", ["one", "all"])
def test_shards_that_cannot_count_all_words_are_asked_for_those_of_a_question(library: Library, which: str) -> None:
    with closing(Distant()) as far, Library.open(library.path, embedder=embed, executor=far) as asked:
        far.failing, far.file = "counts_of_all", library.shards()[1].file if which == "one" else "*"
        others = distinct(library, far, asked)
        far.calls.clear()
        for question in (*others, *NEW_WORDS):
            hits = asked.search(question, mode="hybrid")
            assert plain(hits) == plain(library.search(question, mode="hybrid"))
            assert hits.report.complete
        assert far.calls.count("counts") > len(others) / 2
        assert "counts_of_all" not in far.calls  # it is tried once


def test_the_counts_of_all_words_are_those_that_are_asked_for(library: Library, executor: Rounds) -> None:
    library.add(["the newest words", ""])
    for ref in library._state.shards.refs:
        [found] = executor.ask("counts_of_all", [(ref, (1 << 18,))])
        tokens, counts = found
        words = tokens.split("\n")
        assert len(set(words)) == len(words) > 1
        [asked] = executor.ask("counts", [(ref, (words,))])
        assert counts.tolist() == asked
        assert min(asked) > 0
        missing = [token for token in ENGLISH if token not in words]
        [none] = executor.ask("counts", [(ref, (missing,))])
        assert not any(none)
        [most] = executor.ask("counts_of_all", [(ref, (len(words) - 1,))])
        assert most is None


def test_a_record_that_is_read_for_nothing_need_not_be_readable(library: Library, executor: Rounds) -> None:
    [entry, *_] = library.shards()
    [ref, *_] = library._state.shards.refs
    [answer] = executor.ask("contents", [(ref, ([1, 2], [1, 4], [1, 2]))])
    assert isinstance(answer, Contents)
    assert answer.vectors.shape == (2, embed(["a"]).shape[1])
    assert answer.places == [0, 2]  # rows 0 and 3 are deleted
    assert {row: record.id for row, record in answer.records.items()} == {1: "r1", 2: "r2"}
    path = Path(library.path, entry.file)
    with Memory.open(path, embedder=embed) as memory:
        places = memory._session.snapshot().frames_of(memory.ids()).values()
    with path.open("r+b") as file:
        for place in places:
            file.seek(place.offset)
            file.write(bytes(place.size))
    with closing(ThreadExecutor()) as other:
        [answer] = other.ask("contents", [(ref, ([1, 2], [1, 4], [1, 2]))])
        assert (answer.places, answer.records) == ([0, 2], {})
        [failure] = other.ask("records", [(ref, ([1],))])
        assert isinstance(failure, Failure)
