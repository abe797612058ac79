"""Near words for misspelled ones, and synonyms."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core.engine.given_synonyms import read_synonyms
from memvid_core.errors import InvalidInputError
from memvid_core.words.bm25 import Extra
from memvid_core.words.lexical_index import LexicalIndex
from memvid_core.words.near import Vocabulary, distance

FUZZY = Extra(fuzzy=True)
TEXTS = [
    "the aircraft lifts its wings",
    "carafe and airport",
    "서울은 대한민국의 수도이다",
    "größere Flugzeuge fliegen",
    "invoice 20417 of Smith",
    "контрастность экрана",
]
_WORDS = st.text("abcé가", max_size=7)


def _index(texts: list[str]) -> LexicalIndex:
    index = LexicalIndex()
    index.extend(0, texts)
    return index


def _found(index: LexicalIndex, query: str, extra: Extra = FUZZY, **options: Any) -> list[int]:
    rows: list[int] = index.search(query, 10, extra=extra, **options)[0].tolist()
    return rows


def _by_recursion(one: str, other: str) -> int:
    """Return the distance by its definition."""
    if not one or not other:
        return len(one) + len(other)
    costs = [
        _by_recursion(one[1:], other) + 1,
        _by_recursion(one, other[1:]) + 1,
        _by_recursion(one[1:], other[1:]) + (one[0] != other[0]),
    ]
    if len(one) > 1 and one[:2] == other[1::-1] and len(other) > 1:
        costs.append(_by_recursion(one[2:], other[2:]) + 1)
    return min(costs)


@given(st.text("abé가", max_size=5), st.lists(st.text("abé가", max_size=5), max_size=4), st.integers(0, 3))
def test_distances_are_those_of_the_definition(word: str, others: list[str], most: int) -> None:
    defined = {other: min(_by_recursion(word, other), most + 1) for other in others}
    assert {other: distance(word, other, most) for other in others} == defined
    alike = Vocabulary.of({other: other for other in others}).alike(word, most)
    assert alike.keys() >= {other for other, edits in defined.items() if edits <= most}


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("aircarft", 0),  # exchanged
        ("aircrfat", 0),
        ("aircraftt", 0),  # inserted
        ("aircrat", 0),  # missing
        ("aicxraft", 0),  # two edits in a word of eight letters
        ("대한민극의", 2),  # another last consonant
        ("대현민국의", 2),  # another vowel
        ("때한민국", 2),  # another first consonant
        ("flugzuge", 3),
        ("grossre", 3),
        ("контарстность", 5),
        ("Smiht", 4),
        ("ligts", 0),
        ("flieegn", 3),
    ],
)
def test_a_misspelled_word_finds_the_near_one(query: str, row: int) -> None:
    index = _index(TEXTS)
    assert _found(index, query)[:1] == [row]
    assert list(index.asked_too(query, FUZZY).values())
    assert row not in _found(index, query, Extra()) or query.startswith(("대", "때"))


@pytest.mark.parametrize(
    "query", ["20418", "inv20417x", "win", "xylophone", "bircraft", "대한은", '"aircarft"', "aircarft*"]
)
def test_numbers_short_and_far_words_and_endings_have_none(query: str) -> None:
    index = _index(TEXTS)
    if '"' not in query:
        assert index.asked_too(query, FUZZY) == {}
    assert _found(index, query) == _found(index, query, Extra())


@given(st.lists(st.sampled_from(["wing", "lift", "대한민국", "한국의", "air", "jet", "20417"]), min_size=1, max_size=6))
def test_a_question_of_known_words_has_the_same_scores(words: list[str]) -> None:
    index = _KNOWN
    plain, fuzzy = (index.search(" ".join(words), 10, extra=extra, normalized=True) for extra in (Extra(), FUZZY))
    assert np.array_equal(plain[0], fuzzy[0])
    assert np.array_equal(plain[1], fuzzy[1])


_KNOWN = _index(["wing lift", "대한민국 한국의 air", "jet 20417 wing", "lift 한국의"])


def test_a_word_of_deleted_rows_alone_is_replaced() -> None:
    index = _index(["aircarft", "aircraft"])
    assert _found(index, "aircarft", live=np.array([True, True])) == [0]
    assert _found(index, "aircarft", live=np.array([False, True])) == [1]


def test_near_words_come_from_file_and_ram(tmp_path: Path) -> None:
    index = LexicalIndex(tmp_path)
    index.extend(0, [f"filler{number} contrast" for number in range(2_000)])
    index.extend(2_000, ["the aircraft"])  # in the tail
    assert _found(index, "aircarft") == [2_000]
    reading = LexicalIndex(tmp_path, writable=False)
    reading.extend(2_001, ["a sailboat"])  # in RAM
    assert _found(reading, "sialboat") == [2_001]
    assert len(_found(reading, "contarst")) == 10
    index.close()
    reading.close()


def test_words_that_are_kept_follow_the_index(tmp_path: Path) -> None:
    index = LexicalIndex(tmp_path)
    index.extend(0, [f"filler{number} contract" for number in range(600)])
    assert len(_found(index, "contarct")) == 10
    other = LexicalIndex(tmp_path)
    other.extend(600, ["the contrary"] * 600)  # blocks that another process adds, and merges
    index.sync()
    assert _found(index, "contrray") == list(range(600, 610))
    assert len(_found(index, "contarct")) == 10
    for number in range(12):
        first, end = 1_200 + 600 * number, chr(97 + number) * 5
        other.extend(first, [f"carbon{end} steel"] * 600)
        index.sync()
        assert _found(index, f"cabron{end}")[:1] == [first]
    index.close()
    other.close()


def test_a_hostile_question_takes_bounded_time() -> None:
    index = _index([" ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{n}x" for n in range(3_000))])
    queries = [
        " ".join(f"wordy{chr(97 + n % 26) * 5}{'z' * (n % 9)}" for n in range(900)),
        "뷁쉛뜴" * 3_000,
        "a" * 9_000,
    ]
    started = time.perf_counter()
    for query in queries:
        _found(index, query)
    assert time.perf_counter() - started < 5


# --- synonyms ---

CARS = ["a red car", "an automobile", "the motor car race", "a motor", "차량 등록", "새 자동차를 샀다"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "synonyms.txt"
    path.write_text("\ufeff# vehicles\nautomobile, motor car ,\n\n자동차, 차량\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("automobile", {1, 2}),
        ("motor car", {0, 1, 2, 3}),
        ("자동차", {4, 5}),
        ("차량", {4, 5}),
        ("automobile -race", {1}),
    ],
)
def test_phrases_of_one_line_find_each_other(file: Path, query: str, rows: set[int]) -> None:
    extra = Extra(synonyms=read_synonyms(file))
    assert set(_found(_index(CARS), query, extra)) == rows
    assert read_synonyms(str(file)) is read_synonyms(file)


def test_the_word_itself_counts_more_and_both_together_not_twice() -> None:
    index = _index(["car x", "auto x", "car auto", "car car"])
    extra = Extra(synonyms=read_synonyms({"car": "auto"}))
    rows, scores = index.search("car", 10, extra=extra)
    score = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    assert score[1] == pytest.approx(0.9 * score[0])
    assert score[2] == pytest.approx(score[0])
    assert index.asked_too("car", extra) == {"car → auto": 0.9}
    assert _found(index, "auto", extra) == [1, 2]  # a dict has one direction


def test_a_word_with_synonyms_is_not_replaced_by_near_words() -> None:
    index = _index(["automobile", "carpet"])
    assert _found(index, "carpes", Extra(True, read_synonyms({"carpes": ["automobile"]}))) == [0]


@pytest.mark.parametrize("wrong", [3, b"a", ["car"], "missing.txt"])
def test_what_has_no_synonyms_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="synonyms"):
        read_synonyms(wrong)


def test_a_changed_file_is_read_again(file: Path) -> None:
    index = _index(CARS)
    assert _found(index, "차량", Extra(synonyms=read_synonyms(file))) == [4, 5]
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_synonyms(file)
    file.write_text("red car, motor race")
    assert 5 not in _found(index, "차량", Extra(synonyms=read_synonyms(file)))
