"""The benchmark's reader of LoCoMo's layout takes what is missing or written in another way."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from benchmarks.agent_memory.chats import chat_sets
from benchmarks.agent_memory.engines import Ours

QUESTIONS = [
    {"question": "When is the party?", "evidence": ["D3:2"], "category": 4, "answer": 6},
    {"question": "Who likes figs?", "evidence": "D1:1; D3:1", "category": "new"},
    {"question": "Nothing?", "evidence": [], "category": 5},
]
ENTRY = {
    "conversation": {
        "session_3": [
            {"speaker": "Ada", "dia_id": "D3:1", "text": "When is the party? I like figs."},
            {"speaker": "", "dia_id": "D3:2", "clean_text": "At six.", "date_time": "May 9, 2023 1:00 PM"},
        ],
        "session_3_date_time": "soon",
        "session_2": [],
        "session_1": [{"speaker": "Bob", "dia_id": "D1:1", "text": "Figs!"}, {"dia_id": "D1:2", "text": None}],
        "session_1_date_time": "8.5.2023, 13:56:00",
        "speaker_a": "Ada",
    },
    "qa": QUESTIONS,
}


def test_a_layout_with_gaps_is_read_whole(tmp_path):
    (tmp_path / "locomo").mkdir()
    (tmp_path / "locomo" / "people.json").write_text(json.dumps([ENTRY]), encoding="utf-8")
    ((chat,), *_) = (chats for name, chats in chat_sets(tmp_path).items() if name == "people")
    assert [[message.text for message in session] for session in chat.sessions] == [
        ["Figs!", ""],
        [],
        ["When is the party? I like figs.", "At six."],
    ]
    assert [message.speaker for message in chat.messages] == ["Bob", "user", "Ada", "user"]
    assert [message.created_at for message in chat.messages] == [
        datetime(2023, 5, 8, 13, 56, tzinfo=UTC),
        datetime(2023, 5, 8, 13, 56, tzinfo=UTC),
        None,
        datetime(2023, 5, 9, 13, tzinfo=UTC),
    ]
    assert [(asked.evidence, asked.category) for asked in chat.questions] == [([3], "one turn"), ([0, 2], "new")]
    answer = Ours(chat).ask(chat.questions[0], (200,))
    assert set(answer.ranked) == {0, 2, 3}
