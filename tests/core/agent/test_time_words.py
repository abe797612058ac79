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


NEW_YEAR, YEARS_END, MONTHS_END = (datetime(*day) for day in ((2026, 1, 1), (2026, 12, 31), (2026, 3, 31)))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("now", "text", "first", "last"),
    [
        (NEW_YEAR, "last month", "2025-12-01", "2025-12-31"),
        (NEW_YEAR, "on December 31", "2025-12-31", "2025-12-31"),
        (NEW_YEAR, "on 1 January", "2026-01-01", "2026-01-01"),
        (NEW_YEAR, "this week", "2025-12-29", "2026-01-04"),
        (NEW_YEAR, "13 months ago", "2024-12-01", "2024-12-31"),
        (NEW_YEAR, "the week before last", "2025-12-15", "2025-12-21"),
        (NEW_YEAR, "Monday last week", "2025-12-22", "2025-12-22"),
        (NEW_YEAR, "last week on Friday", "2025-12-26", "2025-12-26"),
        (NEW_YEAR, "the day after tomorrow", "2026-01-03", "2026-01-03"),
        (NEW_YEAR, "next January", "2027-01-01", "2027-01-31"),
        (NEW_YEAR, "31.12.2025", "2025-12-31", "2025-12-31"),
        (NEW_YEAR, "12/31/2025", "2025-12-31", "2025-12-31"),
        (NEW_YEAR, "31/12/2025", "2025-12-31", "2025-12-31"),
        (NEW_YEAR, "in 2025-12", "2025-12-01", "2025-12-31"),
        (NEW_YEAR, "on February 29", "2024-02-29", "2024-02-29"),
        (NEW_YEAR, "지난달 31일", "2025-12-31", "2025-12-31"),
        (NEW_YEAR, "작년 12월", "2025-12-01", "2025-12-31"),
        (NEW_YEAR, "지난주 금요일", "2025-12-26", "2025-12-26"),
        (NEW_YEAR, "지지난달", "2025-11-01", "2025-11-30"),
        (NEW_YEAR, "일주일 전", "2025-12-22", "2025-12-28"),
        (NEW_YEAR, "사흘 전", "2025-12-29", "2025-12-29"),
        (NEW_YEAR, "여섯 달 전", "2025-07-01", "2025-07-31"),
        (YEARS_END, "last December", "2025-12-01", "2025-12-31"),
        (YEARS_END, "in December", "2026-12-01", "2026-12-31"),
        (YEARS_END, "in December last year", "2025-12-01", "2025-12-31"),
        (YEARS_END, "last year in May", "2025-05-01", "2025-05-31"),
        (YEARS_END, "on 31 December last year", "2025-12-31", "2025-12-31"),
        (YEARS_END, "next month", "2027-01-01", "2027-01-31"),
        (YEARS_END, "tomorrow", "2027-01-01", "2027-01-01"),
        (YEARS_END, "작년 12월 31일", "2025-12-31", "2025-12-31"),
        (YEARS_END, "재작년 3월", "2024-03-01", "2024-03-31"),
        (YEARS_END, "내년 2월", "2027-02-01", "2027-02-28"),
        (YEARS_END, "올해 1월", "2026-01-01", "2026-01-31"),
        (YEARS_END, "지난해 12월", "2025-12-01", "2025-12-31"),
        (YEARS_END, "25년 12월", "2025-12-01", "2025-12-31"),
        (YEARS_END, "다음 주 화요일", "2027-01-05", "2027-01-05"),
        (YEARS_END, "글피", "2027-01-03", "2027-01-03"),
        (YEARS_END, "열흘 전", "2026-12-21", "2026-12-21"),
        (MONTHS_END, "a month ago", "2026-02-01", "2026-02-28"),
        (MONTHS_END, "the 5th of last month", "2026-02-05", "2026-02-05"),
        (MONTHS_END, "다음 달 1일", "2026-04-01", "2026-04-01"),
        (MONTHS_END, "한 달 전", "2026-02-01", "2026-02-28"),
    ],
)
def test_a_span_at_the_border_of_a_month_or_a_year(now, text, first, last):
    question = f"무슨 일이 있었어 {text} ?" if not text.isascii() else f"What happened {text}?"
    (span,) = spans(question, now)
    assert (span.first.isoformat(), span.last.isoformat()) == (first, last)


@pytest.mark.parametrize(
    ("now", "text", "day"),
    [
        (YEARS_END, "The party is on January 2.", "2027-01-02"),
        (YEARS_END, "We met on 30 November.", "2026-11-30"),
        (NEW_YEAR, "I saw her on December 30.", "2025-12-30"),
        (NEW_YEAR, "My exam is on 20 January.", "2026-01-20"),
        (YEARS_END, "회식은 1월 2일이야.", "2027-01-02"),
        (YEARS_END, "작년 12월 30일에 결혼했어.", "2025-12-30"),
        (NEW_YEAR, "지난달 31일에 만났어.", "2025-12-31"),
        (YEARS_END, "The lease began on January 2, 2026.", "2026-01-02"),
    ],
)
def test_a_message_speaks_of_the_nearest_day(now, text, day):
    assert time_spoken_of(text, now) == day


@pytest.mark.parametrize(
    "text",
    [
        "3/4/2025",
        "지난달 31일에",
        "You may go",
        "I march on",
        "31 February 2024",
        "회의 오전에",
        "생일 전에",
        "",
        "12:30",
        "page 2023",
    ],
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


def test_a_passage_has_a_word_whatever_its_letters_and_those_before_it():
    text = "\u0130yi. " * 200 + "The SAFE opens with 4711. " + "\u0130yi. " * 200  # its small form is two characters
    assert "4711" in passage(text, terms_of("What opens the safe?"), 60)


def test_of_terms_that_begin_alike_the_first_counts_as_often_as_it_is_there():
    text = "Arts. " * 40 + "The artist paints. " + "Arts. " * 40
    assert "artist" in passage(text, terms_of("Artist: arts?"), 30)
