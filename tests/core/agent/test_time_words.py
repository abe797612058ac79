"""Time words and passages: what a text names, and the part of it that answers."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core.agent.passages import passage, terms_of
from memvid_core.agent.time_words import spans, time_spoken_of

NOW = datetime(2026, 5, 8)  # noqa: DTZ001  # a Friday; zones make no difference to days


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("in May 2023", "2023-05-01", "2023-05-31"),
        ("on 8 May, 2023", "2023-05-08", "2023-05-08"),
        ("on March 5th", "2026-03-05", "2026-03-05"),
        ("in December", "2025-12-01", "2025-12-31"),
        ("on 2024-02-29", "2024-02-29", "2024-02-29"),
        ("in 2022", "2022-01-01", "2022-12-31"),
        ("yesterday", "2026-05-07", "2026-05-07"),
        ("3 days ago", "2026-05-05", "2026-05-05"),
        ("two months ago", "2026-03-01", "2026-03-31"),
        ("last week", "2026-04-27", "2026-05-03"),
        ("last Friday", "2026-05-01", "2026-05-01"),
        ("last year", "2025-01-01", "2025-12-31"),
        ("next month", "2026-06-01", "2026-06-30"),
        ("어제", "2026-05-07", "2026-05-07"),
        ("그저께", "2026-05-06", "2026-05-06"),
        ("지난주", "2026-04-27", "2026-05-03"),
        ("지난 금요일", "2026-05-01", "2026-05-01"),
        ("이번 달", "2026-05-01", "2026-05-31"),
        ("작년", "2025-01-01", "2025-12-31"),
        ("3일 전", "2026-05-05", "2026-05-05"),
        ("두 달 전", "2026-03-01", "2026-03-31"),
        ("3월에", "2026-03-01", "2026-03-31"),
        ("12월 25일", "2025-12-25", "2025-12-25"),
        ("2023년 5월", "2023-05-01", "2023-05-31"),
    ],
)
def test_a_span(text, first, last):
    question = f"무슨 일이 있었어 {text} ?" if not text.isascii() else f"What happened {text}?"
    (span,) = spans(question, NOW)
    assert (span.first.isoformat(), span.last.isoformat()) == (first, last)
    assert span.holds(span.first)
    assert span.holds(span.last)


@pytest.mark.parametrize(
    "text", ["You may go", "I march on", "31 February 2024", "회의 오전에", "", "12:30", "page 2023"]
)
def test_no_span(text):
    assert spans(text, NOW) == []


@given(st.text(max_size=80), st.datetimes())
def test_no_text_and_no_day_is_an_error(text, now):
    for each in spans(text, now) + spans(f"last week {text} 3월 and 999 years ago", now):
        assert each.first <= each.last


def test_the_day_that_a_message_speaks_of():
    assert time_spoken_of("I saw her yesterday.", NOW) == "2026-05-07"
    assert time_spoken_of("Yesterday and 3 days ago", NOW) is None
    assert time_spoken_of("today", NOW) is None


@given(st.text(max_size=400), st.integers(5, 200), st.text(max_size=20))
def test_a_passage_is_a_part_of_its_text_and_fits(text, length, question):
    shown = passage(text, terms_of(question), length)
    assert len(shown) <= max(length, 5)
    assert shown.strip("… ") in text


def test_a_passage_has_the_rare_word():
    text = "The weather was fine. " * 50 + "The safe opens with 4711. " + "The weather was fine. " * 50
    assert "4711" in passage(text, terms_of("What opens the safe in fine weather?"), 100)
