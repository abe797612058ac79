"""LexicalIndex against a BM25 that reads every text, and against what files, processes and users may do to it."""

from __future__ import annotations

import itertools
import math
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memvid_core import ClosedError, InvalidInputError, StorageError
from memvid_core.words import posting_block as block
from memvid_core.words import postings
from memvid_core.words.analyzer import parse, tokenize, words
from memvid_core.words.bm25 import NOTHING, B, Extra, length_normalization, saturation
from memvid_core.words.lexical_index import LexicalIndex
from memvid_core.words.postings import Matches, PostingStore
from memvid_core.words.scores import Ranking
from memvid_core.words.synonyms import Synonyms
from tests.processes import run

TEXTS = [
    "the lift of a wing in a slipstream",
    "heat transfer in the boundary layer of a wing, heat",
    "boundary layers and their transition",
    "나는 여의도에서 물을 마신다",
    "서울의 여의도 공원",
    "富士山頂の雪",
    "experimental aerodynamics: ERR-4032 in foo_bar",
    "",
    "wing wing wing wing",
    "layer boundary",
]
VOCABULARY = [
    "wing",
    "wings",
    "heat",
    "layer",
    "boundary",
    "experiment",
    "experimental",
    "여의도에서",
    "여의도",
    "물",
    "山頂",
    "the",
]

texts_strategy = st.lists(st.lists(st.sampled_from(VOCABULARY), max_size=8).map(" ".join), max_size=12)
query_strategy = st.lists(
    st.sampled_from(
        [*VOCABULARY, '"boundary layer"', '"여의도 물"', "-heat", '-"wing wing"', "experi*", "bound*", "여*", "-여의*"]
    ),
    max_size=5,
).map(" ".join)


def fits(token: str, asked: str) -> bool:
    return token.startswith(asked[:-1]) if asked.endswith("*") else token == asked


def occurrences(text: str, run: Sequence[str]) -> int:
    """How often a run of tokens occurs in a text; a single token with ``*`` counts words that begin so."""
    if len(run) == 1 and run[0].endswith("*"):
        prefix = run[0][:-1]
        spelt = [
            token
            for word in words(text)
            for token in tokenize(word)
            if word.startswith(prefix) or token.startswith(prefix)
        ]
        return len(spelt)
    tokens = tokenize(text)
    spans = (tokens[start : start + len(run)] for start in range(len(tokens) - len(run) + 1))
    return sum(all(map(fits, span, run)) for span in spans)


def oracle(texts: Sequence[str], query: str, live: Sequence[bool]) -> dict[int, float]:
    """BM25 by its definition, over the live texts alone."""
    asked = parse(query)
    rows = [row for row in range(len(texts)) if live[row]]
    lengths = {row: len(tokenize(texts[row])) for row in rows}
    if not any(lengths.values()):
        return {}
    mean, k1 = sum(lengths.values()) / len(rows), saturation(B)
    scores = dict.fromkeys(rows, 0.0)
    rarity: dict[str, float] = {}
    for token, times in Counter(asked.terms).items():
        counts = {row: count for row in rows if (count := occurrences(texts[row], [token]))}
        rarity[token] = math.log(1 + (len(rows) - len(counts) + 0.5) / (len(counts) + 0.5))
        for row, count in counts.items():
            saturated = count * (k1 + 1) / (count + k1 * (1 - B + B * lengths[row] / mean))
            scores[row] += times * rarity[token] * saturated
    return {
        row: score
        for row, score in scores.items()
        if score > 0
        and all(occurrences(texts[row], phrase) for phrase in asked.phrases)
        and not any(occurrences(texts[row], phrase) for phrase in asked.excluded)
    }


def scored(found: Ranking) -> dict[int, float]:
    return dict(zip(found[0].tolist(), found[1].tolist(), strict=True))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits so low that a few rows go through the tail, blocks and merges."""
    monkeypatch.setattr(postings, "TAIL_ROWS", 3)
    monkeypatch.setattr(postings, "MERGE_COUNT", 2)
    monkeypatch.setattr(postings, "MERGE_TOKENS", 64)
    monkeypatch.setattr(postings, "BLOCK_ROWS", 64)
    monkeypatch.setattr(block, "BLOCK_ROWS", 5)


class TestRanking:
    @given(texts_strategy, query_strategy, st.data())
    def test_it_is_bm25_over_the_live_rows(self, texts: list[str], query: str, data: st.DataObject) -> None:
        live = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
        index = LexicalIndex()
        index.extend(0, texts)
        rows, scores = index.search(query, len(texts), live=np.array(live, np.bool_))
        assert scored((rows, scores)) == pytest.approx(oracle(texts, query, live), rel=1e-4)
        pairs = list(zip((-scores).tolist(), rows.tolist(), strict=True))
        assert pairs == sorted(pairs)

    @given(texts_strategy, st.lists(st.integers(1, 4)), query_strategy)
    @settings(deadline=None)
    def test_how_rows_came_in_does_not_matter(self, texts: list[str], sizes: list[int], query: str) -> None:
        whole, parts = LexicalIndex(), LexicalIndex()
        whole.extend(0, texts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(postings, "TAIL_ROWS", 2)
            patch.setattr(postings, "MERGE_COUNT", 2)
            patch.setattr(block, "BLOCK_ROWS", 3)
            for size in [*sizes, *[1] * len(texts)]:
                parts.extend(parts.rows, texts[parts.rows : parts.rows + size])
        assert parts.rows == whole.rows == len(texts)
        (rows, scores), (expected, expected_scores) = parts.search(query, 99), whole.search(query, 99)
        assert rows.tolist() == expected.tolist()
        assert scores.tolist() == pytest.approx(expected_scores.tolist(), rel=1e-5)

    @pytest.mark.usefixtures("small_blocks")
    def test_blocks_are_merged_and_nothing_is_lost(self) -> None:
        index = LexicalIndex()
        texts = [f"common word{n} {'rare' * (n == 97)}" for n in range(200)]
        for row, text in enumerate(texts):
            index.extend(row, [text])
        assert len(index._stores[0]._blocks) < 40
        assert sorted(index.search("common", 999)[0].tolist()) == list(range(200))
        assert index.search("word97 rare", 1)[0].tolist() == [97]
        assert index.search('"common word150"', 9)[0].tolist() == [150]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("slipstream", [0]),
            ("boundary layer", [9, 2, 1]),
            ('"boundary layer"', [2, 1]),
            ("boundary -heat", [9, 2]),
            ('boundary -"boundary layers"', [9]),
            ("experim*", [6]),
            ("aerodynamic", [6]),
            ("err-4032", [6]),
            ("foo_bar", [6]),
            ("여의도", [4, 3]),
            ("물", [3]),
            ("山", [5]),
            ("山頂", [5]),
            ("WING", [8, 0, 1]),
            ("-wing", []),
            ("unheard", []),
            ("", []),
            ('?!* - "', []),
        ],
    )
    def test_the_query_language(self, query: str, expected: list[int]) -> None:
        index = LexicalIndex()
        index.extend(0, TEXTS)
        assert index.search(query, 10)[0].tolist() == expected

    def test_a_mask_hides_rows_and_leaves_scores_alone(self) -> None:
        index = LexicalIndex()
        index.extend(0, TEXTS)
        everything = scored(index.search("wing layer", 9))
        mask = np.array([True, False, True])  # rows beyond its end are hidden as well
        rows, scores = index.search("wing layer", 9, mask)
        assert scored((rows, scores)) == {row: everything[row] for row in (0, 2)}
        assert index.search("wing", 9, np.ones(99, np.bool_))[0].tolist() == [8, 0, 1]

    def test_normalised_scores_are_half_when_a_text_says_it_all(self) -> None:
        index = LexicalIndex()
        index.extend(0, ["lift drag", "heat flow", "jet noise"])
        rows, scores = index.search("lift drag", 3, normalized=True)
        assert rows.tolist() == [0]
        assert scores.tolist() == pytest.approx([0.5])

    def test_k(self) -> None:
        index = LexicalIndex()
        index.extend(0, ["wing"] * 7)
        assert [index.search("wing", k)[0].tolist() for k in (-1, 0, 3, 99)] == [[], [], [0, 1, 2], list(range(7))]

    def test_what_a_query_rules_out_holds_for_any_ranking(self) -> None:
        index = LexicalIndex()
        index.extend(0, TEXTS)
        assert index.restriction("wing lift") is None
        allowed = index.restriction('"boundary layer" -heat')
        assert allowed is not None
        assert np.flatnonzero(allowed).tolist() == [2]

    def test_phrases_do_not_reach_into_the_next_row(self) -> None:
        index = LexicalIndex()
        index.extend(0, ["boundary", "layer", "x " * 70_000 + "boundary", "layer"])
        assert index.search('"boundary layer"', 9)[0].tolist() == []

    def test_a_word_that_occurs_a_thousand_times(self) -> None:
        index = LexicalIndex()
        index.extend(0, ["wing " * 1000 + "jet", "jet " * 20_000])
        assert index.search("wing", 9)[0].tolist() == [0]
        assert index.search('"wing wing"', 9)[0].tolist() == [0]


class TestRows:
    @pytest.mark.parametrize("size", [1, 4, 600])
    def test_repeating_rows_changes_nothing(self, size: int) -> None:
        texts = [f"word{n} common" for n in range(size)]
        index = LexicalIndex()
        index.extend(0, texts)
        index.extend(0, texts)
        index.extend(size // 2, [*texts[size // 2 :], "one more common"])
        assert index.rows == size + 1
        assert len(index.search("common", 9999)[0]) == size + 1

    def test_rows_cannot_be_left_out(self) -> None:
        index = LexicalIndex()
        with pytest.raises(InvalidInputError, match="rows 0 to 4"):
            index.extend(5, ["x"])

    def test_after_close_it_says_so(self, tmp_path: Path) -> None:
        index = LexicalIndex(tmp_path)
        index.close()
        index.close()
        for use in (index.sync, lambda: index.extend(0, ["x"]), lambda: index.search("x", 1)):
            with pytest.raises(ClosedError):
                use()


class TestFiles:
    def test_it_is_there_again(self, tmp_path: Path) -> None:
        first = LexicalIndex(tmp_path / "new")
        first.extend(0, TEXTS)
        expected = first.search("wing", 9)
        first.close()
        again = LexicalIndex(tmp_path / "new")
        assert again.rows == len(TEXTS)
        assert [part.tolist() for part in again.search("wing", 9)] == [part.tolist() for part in expected]

    @pytest.mark.parametrize("writable", [True, False])
    def test_another_sees_what_was_written_after_a_sync(self, tmp_path: Path, writable: bool) -> None:
        writer = LexicalIndex(tmp_path)
        writer.extend(0, TEXTS)
        reader = LexicalIndex(tmp_path, writable=writable)
        writer.extend(len(TEXTS), ["a new wing"] * 700)
        assert reader.rows == len(TEXTS)
        assert reader.search("wing", 999)[0].tolist() == [8, 0, 1]
        reader.sync()
        assert reader.rows == len(TEXTS) + 700
        assert len(reader.search("wing", 999)[0]) == 703

    def test_two_writers_that_take_turns_lose_nothing(self, tmp_path: Path) -> None:
        one, other = LexicalIndex(tmp_path), LexicalIndex(tmp_path)
        for row in range(0, 40, 2):
            one.sync()
            one.extend(row, [f"wing {row}"])
            other.extend(0, [f"wing {n}" for n in range(row + 2)])  # has not synced, and repeats them all
        one.sync()
        assert one.rows == other.rows == 40
        assert one.search("wing", 99)[0].tolist() == other.search("wing", 99)[0].tolist()
        assert len(one.search("wing", 99)[0]) == 40

    def test_a_reader_without_a_file_reads_for_itself(self, tmp_path: Path) -> None:
        reader = LexicalIndex(tmp_path / "none", writable=False)
        assert reader.rows == 0
        assert reader.search("wing", 9)[0].tolist() == []
        reader.extend(0, TEXTS)
        assert reader.search("wing", 9)[0].tolist() == [8, 0, 1]
        assert not (tmp_path / "none").exists()

    def test_a_reader_adds_what_the_file_lacks(self, tmp_path: Path) -> None:
        writer = LexicalIndex(tmp_path)
        writer.extend(0, TEXTS[:5])
        reader = LexicalIndex(tmp_path, writable=False)
        reader.extend(3, TEXTS[3:])
        whole = LexicalIndex()
        whole.extend(0, TEXTS)
        for query in ("wing", "boundary layer", '"boundary layer"', "experim*", "여의도 -물"):
            assert [part.tolist() for part in reader.search(query, 9)] == [
                part.tolist() for part in whole.search(query, 9)
            ]
        writer.extend(5, TEXTS[5:7])
        assert reader.search("err-4032", 9)[0].tolist() == [6]
        reader.sync()
        assert reader.rows == 7
        assert reader.search("err-4032", 9)[0].tolist() == [6]

    @pytest.mark.parametrize("content", [b"", b"not a database at all" * 99])
    def test_a_damaged_file_is_made_anew(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "lexical.sqlite").write_bytes(content)
        assert LexicalIndex(tmp_path, writable=False).rows == 0
        index = LexicalIndex(tmp_path)
        assert index.rows == 0
        index.extend(0, TEXTS)
        assert index.search("slipstream", 9)[0].tolist() == [0]

    def test_the_file_of_another_analyzer_is_emptied(self, tmp_path: Path) -> None:
        index = LexicalIndex(tmp_path)
        index.extend(0, TEXTS)
        index.close()
        with sqlite3.connect(tmp_path / "lexical.sqlite") as sqlite:
            sqlite.execute("UPDATE meta SET value = 'older/0' WHERE name = 'analyser'")
        sqlite.close()
        assert LexicalIndex(tmp_path, writable=False).rows == 0
        again = LexicalIndex(tmp_path)
        assert again.rows == 0
        again.extend(0, TEXTS)
        assert again.search("slipstream", 9)[0].tolist() == [0]

    def test_a_path_that_cannot_be_written_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(StorageError, match="lexical index"):
            LexicalIndex(tmp_path / "file" / "folder")

    @pytest.mark.parametrize("rows", [3, 700])
    def test_a_process_that_dies_while_it_writes_leaves_a_whole_index(self, tmp_path: Path, rows: int) -> None:
        index = LexicalIndex(tmp_path)
        index.extend(0, TEXTS)
        index.close()
        script = (
            "import os, sys; from pathlib import Path; from memvid_core.words import lexical_index, postings\n"
            "index = lexical_index.LexicalIndex(Path(sys.argv[1]))\n"
            "def die(*_): os._exit(9)\n"
            "postings.PostingStore._merge = die\n"
            "sqlite = index._stores[0]._sqlite\n"
            "sqlite.set_trace_callback(lambda sql: die() if sql == 'COMMIT' else None)\n"
            "index.extend(index.rows, ['a new wing'] * int(sys.argv[2]))\n"
        )
        assert run(script, tmp_path, rows).returncode == 9
        again = LexicalIndex(tmp_path)
        assert again.rows == len(TEXTS)
        again.extend(again.rows, ["a new wing"] * rows)
        assert len(again.search("wing", 9999)[0]) == 3 + rows


@pytest.mark.usefixtures("small_blocks")
def test_readers_in_threads_see_whole_rows_while_one_writes(tmp_path: Path) -> None:
    writer, reader = LexicalIndex(tmp_path), LexicalIndex(tmp_path, writable=False)

    def read() -> Iterator[tuple[int, int]]:
        while reader.rows < 120:
            reader.sync()
            rows = reader.rows
            yield rows, len(reader.search("wing", 999)[0])

    with ThreadPoolExecutor(2) as pool:
        seen = pool.submit(lambda: list(read()))
        for row in range(120):
            writer.extend(row, ["a wing and more"])
        counts = seen.result(timeout=60)
    assert all(rows == found for rows, found in counts)
    assert len(writer.search("wing", 999)[0]) == 120
    shutil.rmtree(tmp_path, ignore_errors=True)


def adversarial(rng: random.Random) -> str:
    pieces = [
        '"',
        "-",
        "*",
        "(",
        ")",
        "NEAR/3",
        "AND",
        "OR",
        "NOT",
        "title:",
        "\0",
        "\u202e",
        "😀",
        "👩‍👩‍👧",
        "\ud800",
        "^",
        "~2",
    ]
    pieces += [
        "'; DROP TABLE postings; --",
        "%s",
        "\\",
        "[",
        "{",
        "wing",
        "여의도",
        "山",
        "\ufdfa",
        "a*",
        "т",
        "مرحبا",
        " ",
        "\n",
    ]
    return "".join(rng.choice(pieces) + rng.choice(["", " "]) for _ in range(rng.randrange(30)))


def test_no_query_raises() -> None:
    rng = random.Random(20)
    index = LexicalIndex()
    index.extend(0, [" ".join(rng.choices(VOCABULARY, k=30)) for _ in range(500)])
    queries = [adversarial(rng) for _ in range(1000)]
    queries += [
        (piece * 100_000)[:100_000] for piece in ['"', "-", "a* ", "\ufdfa", '"wing heat ', "\0", "여의도에서 ", "w-"]
    ]
    queries.append(" ".join(f"word{n}" for n in range(20_000)))
    for query in queries:
        rows, scores = index.search(query, 10)
        assert len(rows) == len(scores) <= 10
        assert np.isfinite(scores).all()
        LexicalIndex.snippet(TEXTS[1], query)


def test_a_long_query_is_searched_by_what_tells_most() -> None:
    index = LexicalIndex()
    index.extend(0, ["common " * 5, *["common other"] * 50, "needle"])
    query = " ".join(["common", "other", *(f"absent{n}" for n in range(200)), "needle"])
    rows, scores = index.search(query, 1)
    assert rows.tolist() == [51]
    assert scores.tolist() == pytest.approx(index.search("needle", 1)[1].tolist())


# --- lengths ---


@pytest.mark.parametrize(("longest", "expected"), [(30, 0.45), (3_000, 1.0)])
def test_long_texts_are_penalized_more_the_more_lengths_differ(longest: int, expected: float) -> None:
    lengths = np.tile(np.array([30, longest], np.int32), 200)
    assert length_normalization(lengths) == expected
    assert length_normalization(np.append(lengths, np.int32(10**5))) == expected
    assert length_normalization(np.zeros(1_000, np.int32)) == 0.45
    ids = np.random.default_rng(1).permutation(np.append(lengths, np.full(len(lengths), 2, np.int32)))
    assert length_normalization(ids) == expected  # ids and labels between the texts
    assert length_normalization(lengths[:100]) == B


def test_repetitions_count_more_where_lengths_differ_widely() -> None:
    pair = ["jet " + "word " * 99, "jet " * 3 + "word " * 97]
    ratios = []
    for lengths in ((100, 100), (4, 196)):  # their mean is the same
        index = LexicalIndex()
        index.extend(0, [*pair, *("other " * length for length in lengths * 150)])
        rows, scores = index.search("jet", k=2)
        assert rows.tolist() == [1, 0]
        ratios.append(float(scores[0] / scores[1]))
    assert 1 < ratios[0] < ratios[1]


def test_a_short_message_is_found_among_long_replies_that_have_its_words_by_chance() -> None:
    rng = random.Random(5)
    filler = [f"word{number}" for number in range(900)]
    replies = [" ".join(["sprint", "ends", *rng.choices(filler, k=1_500), "sprint ends"]) for _ in range(120)]
    notes = [" ".join(rng.choices(filler, k=20)) for _ in range(120)]
    notes[60] = "the first sprint ends on friday with " + " ".join(rng.choices(filler, k=13))
    index = LexicalIndex()
    index.extend(0, [*replies, *notes])
    assert index.search("sprint ends", 1)[0].tolist() == [180]
    live = np.ones(240, np.bool_)
    live[:100] = False  # few live rows: the fixed value
    assert index.search("sprint ends", 1, live=live)[0].tolist() == [180]


@pytest.mark.parametrize("folder", [None, "lexical"])
def test_the_best_rows_of_long_lists_are_those_of_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str | None
) -> None:
    rng = np.random.default_rng(4)
    words = np.minimum(rng.zipf(1.2, (20_000, 12)), 3_000)
    texts = [" ".join(f"w{number}" for number in line[: 4 + at % 9]) for at, line in enumerate(words.tolist())]
    index = LexicalIndex(None if folder is None else tmp_path / folder)
    index.extend(0, texts[:19_000])
    for at in range(19_000, 20_000, 250):  # some rows are in the tail
        index.extend(at, texts[at : at + 250])
    looked_up: list[str] = []
    find_among = PostingStore.find_among

    def noted(store: PostingStore, token: str, rows: NDArray[np.int64], *, limit: int) -> Matches:
        looked_up.append(token)
        return find_among(store, token, rows, limit=limit)

    monkeypatch.setattr(PostingStore, "find_among", noted)
    every = np.ones(20_000, np.bool_)
    some = rng.random(20_000) < 0.7
    for array in (every, some):
        array.flags.writeable = False
    questions = ["w1 w2 w900", "w1 w2 w3 w4 w5 w1500 w40", "w2 w2 w1 w3", "w1 w2700 nowhere", "w1 -w2 w900", "w1 w90*"]
    synonyms = Extra(synonyms=Synonyms([(("w900",), [("w40",)]), (("w1500",), [("w6",), ("w7",)])]))
    for question, live in itertools.product(questions, (every, some)):
        for mask, extra in ((None, synonyms), (live, NOTHING), (rng.random(20_000) < 0.2, NOTHING), (None, NOTHING)):
            rows, scores = index.search(question, 20_000, mask, live=live, normalized=True, extra=extra)
            for k in (1, 10, 100):
                best, found = index.search(question, k, mask, live=live, normalized=True, extra=extra)
                assert best.tolist() == rows[:k].tolist()
                assert found.tolist() == scores[:k].tolist()
                assert not np.any(index._scores), "the next question begins with zeros"
    assert {"w1", "w2"} <= set(looked_up)
    assert len(looked_up) > 20
