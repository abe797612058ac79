"""Long lines: whatever a line of 60,000 characters is made of, each reader takes a time in proportion."""

from __future__ import annotations

import time

import pytest

from memvid_core import Memory
from memvid_core.agent import SyncMemoryService, read_conversations
from memvid_core.agent.captions import read_captions
from memvid_core.agent.markdown import read_page
from memvid_core.agent.records import Turn
from memvid_core.agent.rules import facts_of
from memvid_core.agent.time_words import spans, time_spoken_of
from memvid_core.agent.times import utc_now
from memvid_core.agent.trust import defused, defused_name, without_recalled

LENGTH = 60_000
PIECES = [
    *(
        "a",
        "A: ",
        "1/1/25, ",
        "---------- 2026 ",
        "[",
        "[ref:",
        "[ref:a] ",
        "<v ",
        "<v.",
        "<",
        "{\\",
        "**",
        "- ",
        " ",
        "\t",
    ),
    *("no longer ", "not ", "from a to ", "used to ", "Sorry, ", "a.b@", "1-", "in 2020 ", "May 1 ", "3 days ago "),
    *("더 이상 ", "말고 ", "아니라 ", "2026년 5월 8일 ", "오후 3:04 ", "3일 전 ", "지난주 ", "\ufdfa", "\u200b"),
]


BEGINNINGS = ["", "1/1/25", "1/1/25, 10:00 - A: "]


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("piece", PIECES, ids=ascii)
def test_a_long_line_is_read_in_a_time_in_proportion(piece, beginning):
    line = f"{beginning}{(piece * LENGTH)[:LENGTH]}x"
    turn = Turn(id="t-0", session="t", position=0, role="user", who="Ada", text=line, created_at="2026-05-08")
    begun = time.process_time()
    read_conversations(f"{line}\n{line}")
    read_page(f"- x{line}\n- {line}")
    read_captions(f"WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n<v{line}\nAda: {line}.\n")
    assert len(list(facts_of(turn))) < 100
    assert len(spans(line[:4_000], utc_now())) < 4_000
    time_spoken_of(line, utc_now())
    for read in (defused, defused_name, without_recalled):
        assert isinstance(read(line), str)
    assert time.process_time() - begun < 2.0


def test_what_ends_a_bullet_and_who_speaks_are_found_as_before():
    (bullet,) = read_page("- Tea [with milk] [ref:item-1]  ").bullets
    assert (bullet.text, bullet.ref) == ("Tea [with milk]", "item-1")
    (said,) = read_captions("WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n<v.loud  Ada Byron>Hello</v>\n")
    assert (said.who, said.text) == ("Ada Byron", "Hello")
    service = SyncMemoryService(Memory.create(":memory:"))
    turns = service.add("1/1/25,  10:00 - Ada: Hi\n1/1/25, 오후 10:01 - Bob: Ho", user_id="me").turns
    assert [(turn.who, turn.created_at[:16]) for turn in turns] == [
        ("Ada", "2025-01-01T10:00"),
        ("Bob", "2025-01-01T22:01"),
    ]
