"""Messages: the forms that are read, and what is said of those that are not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import Enum

import pytest

from memvid_core import InvalidInputError
from memvid_core.agent import Message, read_conversations, read_messages


def said(given):
    return [(message.role, message.name, message.text) for message in read_messages(given)]


def test_a_text_is_one_message_of_the_user():
    assert said("I moved to Turin.") == [("user", None, "I moved to Turin.")]
    assert said("Note: buy milk") == [("user", None, "Note: buy milk")]
    assert said("   ") == []


def test_dicts_with_parts_names_and_times():
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "x"}}]
    given = [
        {"role": "user", "content": parts, "name": "Ada", "created_at": "2026-05-08T10:00:00"},
        {"role": "assistant", "content": {"text": "A cat."}},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ]
    assert said(given) == [("user", "Ada", "What is this?"), ("assistant", None, "A cat.")]
    assert read_messages(given)[0].created_at == datetime(2026, 5, 8, 10, tzinfo=UTC)
    assert said({"content": given}) == said(given) == said({"messages": given}) == said(json.dumps(given))


def test_messages_of_langchain():
    messages = pytest.importorskip("langchain_core.messages")
    given = [messages.HumanMessage("hi", name="Ada"), messages.AIMessage([{"type": "text", "text": "hello"}])]
    assert said(given) == [("user", "Ada", "hi"), ("assistant", None, "hello")]
    assert said([("human", "hi"), ("ai", "hello")]) == [("user", None, "hi"), ("assistant", None, "hello")]
    assert said(given[0]) == [("user", "Ada", "hi")]
    assert said(messages.messages_to_dict(given)) == said(given)


def test_messages_of_llama_index():
    types = pytest.importorskip("llama_index.core.base.llms.types")
    given = [types.ChatMessage(role="user", content="hi"), types.ChatMessage(role="assistant", content="hello")]
    assert said(given) == [("user", None, "hi"), ("assistant", None, "hello")]


def test_an_object_with_a_role_of_its_own():
    class Role(Enum):
        BOT = "assistant"

    class Said:
        role, content = Role.BOT, "hello"

    assert said([Said()]) == [("assistant", None, "hello")]


@pytest.mark.parametrize(
    "text",
    [
        "[2026-05-08, 13:56:02] Ada: When is it?\n[2026-05-08, 13:57:10] Bob: At six,\non Friday.",
        "08/05/2026, 13:56 - Ada: When is it?\n13/05/2026, 13:57 - Bob: At six,\non Friday.",
        "5/8/26, 1:56 PM - Ada: When is it?\n5/13/26, 1:57 PM - Bob: At six,\non Friday.",
        "2026년 5월 8일 오후 1:56, Ada : When is it?\n2026년 5월 8일 오후 1:57, Bob : At six,\non Friday.",
        "[2026. 5. 8. 오후 1:56:02] Ada: When is it?\n[2026. 5. 8. 오후 1:57:02] Bob: At six,\non Friday.",
    ],
)
def test_exports_of_messengers(text):
    assert said(text) == [("user", "Ada", "When is it?"), ("user", "Bob", "At six,\non Friday.")]
    assert read_messages(text)[0].created_at == datetime(2026, 5, 8, 13, 56, tzinfo=UTC)


def test_lines_of_the_messenger_itself_are_left_out():
    text = "5/13/26, 1:56 PM - Messages are end-to-end encrypted.\n5/13/26, 1:57 PM - Ada: <Media omitted>\n"
    assert said(text + "5/13/26, 1:58 PM - Ada: hello") == [("user", "Ada", "hello")]


KAKAO = {
    "Windows": "지우 님과 카카오톡 대화\n저장한 날짜 : 2026-05-08 14:00:00\n\n"
    "--------------- 2026년 5월 8일 금요일 ---------------\n"
    "[지우] [오후 1:56] 회식 언제야?\n[민지] [오후 1:57] 금요일 여섯 시.\n장소는 강남\n",
    "Windows, English": "KakaoTalk Chats with 지우\nDate Saved : 2026-05-08 14:00:00\n\n"
    "--------------- Friday, May 8, 2026 ---------------\n"
    "[지우] [1:56 PM] 회식 언제야?\n[민지] [1:57 PM] 금요일 여섯 시.\n장소는 강남\n",
    "Android": "지우 님과 카카오톡 대화\n저장한 날짜 : 2026년 5월 8일 오후 2:00\n\n2026년 5월 8일 오후 1:56\n"
    "2026년 5월 8일 오후 1:56, 지우 : 회식 언제야?\n2026년 5월 8일 오후 1:57, 민지 : 금요일 여섯 시.\n장소는 강남\n",
    "iOS": "지우 님과 카카오톡 대화\n저장한 날짜 : 2026. 5. 8. 오후 2:00\n\n2026년 5월 8일 금요일\n"
    "2026. 5. 8. 오후 1:56, 지우 : 회식 언제야?\n2026. 5. 8. 오후 1:57, 민지 : 금요일 여섯 시.\n장소는 강남\n",
    "macOS": "Date,User,Message\n2026-05-08 13:56:00,지우,회식 언제야?\n"
    '2026-05-08 13:57:00,민지,"금요일 여섯 시.\n장소는 강남"\n',
}


@pytest.mark.parametrize("text", KAKAO.values(), ids=KAKAO)
def test_exports_of_kakaotalk_as_they_are(text):
    for given in (text, "\ufeff" + text, text.replace("\n", "\r\n")):
        first, second = read_messages(given)
        assert (first.name, first.text, first.created_at) == (
            "지우",
            "회식 언제야?",
            datetime(2026, 5, 8, 13, 56, tzinfo=UTC),
        )
        assert (second.name, second.text.splitlines()) == ("민지", ["금요일 여섯 시.", "장소는 강남"])


@pytest.mark.parametrize("end", [-1, -4, -9, -14])
def test_an_export_that_was_cut_off_loses_nothing_of_what_it_has(end):
    whole = (
        "08/05/2026, 13:56 - Ada: When is it?\n13/05/2026, 13:57 - Bob: At six,\non Friday.\n14/05/2026, 9:01 - Ada: Ok"
    )
    first, second, *_ = read_messages(whole[:end])
    assert (first.name, first.text) == ("Ada", "When is it?")
    assert "on Friday." in second.text
    begun = read_messages(f"and a half line\n{whole}")
    assert [(each.name, each.text) for each in begun] == [
        (None, "and a half line"),
        *((each.name, each.text) for each in read_messages(whole)),
    ]


def test_text_around_one_stamped_line_is_no_transcript():
    text = "Please look at this:\n2026-05-08 13:56 - Ada: it failed\nWhat does it mean?"
    assert said(text) == [("user", None, text)]


def test_json_lines():
    lines = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    text = "\n".join(map(json.dumps, lines))
    assert said(text) == said(f"\ufeff{text}\n") == [("user", None, "hi"), ("assistant", None, "hello")]
    assert said("{a}\n{b}") == [("user", None, "{a}\n{b}")]


def test_half_of_a_character_is_replaced_and_two_halves_are_one():
    given = [{"role": "user", "content": "a \ud83d b", "name": "x\udc00"}, {"role": "user", "content": "\ud83d\ude00"}]
    assert said(given) == [("user", "x\ufffd", "a \ufffd b"), ("user", None, "\U0001f600")]
    assert said(json.dumps(given)) == said(given)


def test_plain_transcripts():
    assert said("User: hi\nAssistant: hello") == [("user", None, "hi"), ("assistant", None, "hello")]
    assert said("Ada: hi\nBob: hello\nthere\nAda: bye")[1] == ("user", "Bob", "hello\nthere")
    assert said("지우: 파티 언제야?\n민수: 금요일 여섯 시.")[1] == ("user", "민수", "금요일 여섯 시.")
    assert said("**Ada:** hi\n**Bob:** hello") == [("user", "Ada", "hi"), ("user", "Bob", "hello")]


def test_exports_of_chatgpt_and_claude():
    node = {"author": {"role": "user"}, "content": {"parts": ["hi"]}, "create_time": 1778241600}
    answer = {"author": {"role": "assistant"}, "content": {"parts": ["hello"]}, "create_time": 1778241601}
    mapping = {
        "root": {"message": None, "parent": None},
        "a": {"message": node, "parent": "root"},
        "b": {"message": answer, "parent": "a"},
        "dropped": {"message": {**answer, "content": {"parts": ["no"]}}, "parent": "a"},
    }
    export = [{"title": "Greeting", "mapping": mapping, "current_node": "b", "id": "c1"}] * 2
    conversations = read_conversations(export)
    assert [each.title for each in conversations] == ["Greeting", "Greeting"]
    assert said(export[0]) == [("user", None, "hi"), ("assistant", None, "hello")]
    claude = {
        "uuid": "u",
        "name": "Greeting",
        "chat_messages": [
            {"sender": "human", "text": "hi", "created_at": "2026-05-08T10:00:00Z"},
            {"sender": "assistant", "content": [{"type": "text", "text": "hello"}]},
        ],
    }
    assert said([claude]) == [("user", None, "hi"), ("assistant", None, "hello")]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([{"role": "user", "content": "a"}, {"role": "user"}], "message 1"),
        ([{"role": "user", "content": "a"}, {"role": 3, "content": "b"}], "message 1"),
        ([{"role": "user", "content": "a"}, 7], "message 1"),
        ([{"role": "user", "content": "a", "created_at": "soon"}], "message 0"),
        ([{"role": "user", "content": 7}], "message 0"),
        ([{"role": "user", "content": "a", "name": 7}], "message 0"),
        ([{"chat_messages": [{"text": "a"}]}, {"title": "cut off"}], "conversation 1 must have .* it has title"),
        ([{"chat_messages": []}, {"chat_messages": ["a"]}], r"conversation 1: chat_messages\[0\]"),
        ([{"chat_messages": [{"text": "a", "created_at": "soon"}]}], r"conversation 0: the time of chat_messages\[0\]"),
        (
            [{"mapping": {"n1": {"message": {"author": {}, "create_time": float("nan")}}}}],
            "conversation 0: the time of n1",
        ),
    ],
)
def test_malformed_messages_name_their_index(given, told):
    with pytest.raises(InvalidInputError, match=told):
        read_messages(given)


def test_a_name_of_spaces_is_none():
    assert [each.speaker for each in read_messages([{"role": "user", "name": " \t", "content": "a"}])] == ["user"]
    assert [each.name for each in read_messages([{"role": "user", "name": " Ada ", "content": "a"}])] == ["Ada"]


def test_a_message_stays_what_it_is():
    message = Message("user", "hi")
    assert read_messages(message) == [message] == read_messages([message])
