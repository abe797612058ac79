"""Times that messages carry, as programs and people write them."""

from __future__ import annotations

import pytest

from memvid_core import InvalidInputError, Memory
from memvid_core.agent import SyncMemoryService
from memvid_core.agent.times import parse_time

DAY, TIME = "2023-05-08T00:00:00+00:00", "2023-05-08T13:56:00+00:00"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-05-08", DAY),
        ("20230508", DAY),
        ("8 May 2023", DAY),
        ("8th of May, 2023", DAY),
        ("Monday, May 8, 2023", DAY),
        ("08-May-2023", DAY),
        ("May-08-2023", DAY),
        ("2023.05.08", DAY),
        ("2023-5-8", DAY),
        ("8.5.2023", DAY),
        ("2023년 5월 8일 월요일", DAY),
        ("2023-05-08T13:56:00Z", TIME),
        ("2023-05-08 13:56:00.123 UTC", TIME),
        ("2023/05/08 13:56", TIME),
        ("1:56 pm on 8 May, 2023", TIME),
        ("May 8th, 2023 at 1:56 PM", TIME),
        ("Mon May  8 13:56:00 2023", TIME),
        ("Mon, 08 May 2023 13:56:00 GMT", TIME),
        ("Mon, 08 May 2023 22:56:00 +0900", "2023-05-08T22:56:00+09:00"),
        ("2023. 5. 8. 오후 1:56", TIME),
        ("2023년 5월 8일 오전 12:05", "2023-05-08T00:05:00+00:00"),
        ("1683554160", TIME),
        ("1683554160000", TIME),
        ("31/12/2023", "2023-12-31T00:00:00+00:00"),
        ("12/31/2023 11:00 AM", "2023-12-31T11:00:00+00:00"),
    ],
)
def test_a_time_is_read_as_it_is_written(text, expected):
    with Memory.create(":memory:") as memory:
        said = [{"role": "user", "content": "hello", "created_at": text}]
        assert SyncMemoryService(memory).add(said, user_id="ada").turns[0].created_at == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "yesterday", "8 May", "13:56", "123", "1e5", "nan"),
        *(
            "5/8/2023",
            "32.13.2026",
            "30 Feb 2023",
            "2023-13-01",
            "8 May 0000",
            "13:56 pm 8 May 2023",
            "25:00 8 May 2023",
        ),
        *("the meeting of 8 May 2023", "8 May 2023 or 9 May 2023", "x" * 10_000 + " 8 May 2023", "1 " * 10_000),
    ],
)
def test_what_may_be_another_time_or_none_is_refused(text):
    with pytest.raises(InvalidInputError, match="created_at must be"):
        parse_time(text)
