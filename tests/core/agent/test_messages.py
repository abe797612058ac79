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
    ],
)
def test_malformed_messages_name_their_index(given, told):
    with pytest.raises(InvalidInputError, match=told):
        read_messages(given)


def test_a_message_stays_what_it_is():
    message = Message("user", "hi")
    assert read_messages(message) == [message] == read_messages([message])
