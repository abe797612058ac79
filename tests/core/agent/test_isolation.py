"""Isolation: whatever is called, in whatever order, nothing of another scope is seen."""

from __future__ import annotations

from typing import Any

import pytest

from memvid_core import Memory, MemvidError
from memvid_core.agent import SyncMemoryService
from memvid_core.agent.records import read_item, read_turn
from tests.scopes import Scopes, settings

Scopes.TestCase.settings = settings(examples=12, steps=16)
TestScopes = Scopes.TestCase


def test_a_wider_scope_leaves_a_narrower_one_alone():
    service = SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
    narrow: dict[str, Any] = {"user_id": "ada", "agent_id": "bot"}
    service.add([{"role": "user", "content": "I live in Berlin.", "created_at": "2026-01-01"}], **narrow)
    wide = [("I live in Berlin.", "2026-01-02"), ("The code is 1234.", "2026-01-02"), ("I live in Rome.", "2026-01-03")]
    said = [{"role": "user", "content": text, "created_at": day} for text, day in wide]
    service.add(said, user_id="ada")
    (item,) = service.list_memory_items(narrow)
    assert (item.summary, item.count, len(item.sources)) == ("I live in Berlin.", 1, 1)
    assert [hit.text for hit in service.recall("Berlin code", **narrow).hits] == ["I live in Berlin."]
    assert [each.summary.count("- ") for each in service.list_memory_categories({"user_id": "ada"})] == [1, 1]


def test_what_is_forgotten_in_a_narrow_scope_is_in_no_summary():
    service = SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
    said = service.add("I like zebras.", user_id="ada", agent_id="bot")
    service.create_memory_item(memory_content="I like tea", memory_categories=["preferences"], user={"user_id": "ada"})
    service.forget(said.turns[0].id, user_id="ada", agent_id="bot")
    assert not [record.text for record in service.memory.select({}) if "zebra" in record.text]


def test_items_and_categories_of_a_session():
    service = SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
    for session, said in (("1", "I like figs."), ("2", "I like dates.")):
        service.add(said, user_id="ada", session_id=session)
    service.create_memory_item(memory_content="By hand", user={"user_id": "ada", "session_id": "1"})
    where = {"user_id": "ada", "session_id": "1"}
    assert [item.summary for item in service.list_memory_items(where)] == ["I like figs.", "By hand"]
    (category,) = service.list_memory_categories(where)
    assert "figs" in category.summary
    assert "dates" not in category.summary
    found = service.retrieve("What do I like?", where)
    assert "dates" not in repr(found)
    assert [each.scope["session_id"] for each in found.resources] == ["1"]


@pytest.mark.parametrize("method", ["recall", "search", "history", "get", "forget"])
def test_a_scope_without_an_owner(method):
    service = SyncMemoryService(Memory.create(":memory:"))
    for scope in ({}, {"session_id": "1"}):
        with pytest.raises(MemvidError, match="owner"):
            getattr(service, method)("x", **scope)


def test_the_records_of_a_scope_read_back():
    memory = Memory.create(":memory:")
    said = SyncMemoryService(memory, memorize_config={"extract": "rules"}).add("I like figs.", user_id="ada")
    assert read_turn(memory.get([said.turns[0].id])[0]) == said.turns[0]
    assert read_item(memory.get([said.items[0].id])[0]) == said.items[0]
