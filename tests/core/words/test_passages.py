"""The best passage of a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core.errors import InvalidInputError
from memvid_core.words.passages import best_passage

_PIECES = st.sampled_from(["wing", "날개는", "翼が揚力を", "lifts", ". ", "\n", " ", "。", "x" * 40, "Ａ", "ß", "😀"])


@given(st.lists(_PIECES, max_size=60).map("".join), st.lists(_PIECES, max_size=4).map(" ".join), st.integers(1, 60))
def test_a_passage_is_a_part_of_the_text_and_not_longer_than_asked(text: str, query: str, width: int) -> None:
    start, end = best_passage(text, query, width)
    assert 0 <= start <= end <= len(text)
    assert end - start <= width
    assert text[start:end] == text[start:end].strip()
    assert (start < end) == bool(text.strip())
    if len(text.strip()) <= width:
        assert text[start:end] == text.strip()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("what did the engineers build?", "In May the engineers built a bridge."),
        ("buil*", "In May the engineers built a bridge."),
        ("나리타 공항의 활주로", "나리타공항에는 활주로가 둘 있다."),
        ("揚力", "翼は揚力を生む。"),
        ("nothing of it", "Rain fell."),
    ],
)
def test_the_sentence_with_the_words_of_the_question(query: str, found: str) -> None:
    text = "Rain fell.\nIn May the engineers built a bridge. 나리타공항에는 활주로가 둘 있다.\n"
    text += "空は青い。翼は揚力を生む。 Snow fell."
    start, end = best_passage(text, query, len(found))
    assert text[start:end] == found


def test_a_word_that_few_sentences_have_decides() -> None:
    text = "The wing of the plane. The wing of the plane is long. The wing lifts. A gull has a wing."
    start, end = best_passage(text, "the wing of the gull", 22)
    assert text[start:end] == "A gull has a wing."


def test_a_long_sentence_is_cut_between_words() -> None:
    text = " ".join(f"word{number}" for number in range(1_000))
    start, end = best_passage(text, "word700", 50)
    assert "word700" in text[start:end].split()
    assert text[start - 1] == text[end] == " "


def test_a_width_must_be_positive() -> None:
    with pytest.raises(InvalidInputError):
        best_passage("a", "a", 0)
