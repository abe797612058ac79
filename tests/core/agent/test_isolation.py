"""Isolation: whatever is called, in whatever order, nothing of another scope is seen."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from memvid_core import Memory, MemvidError
from memvid_core.agent import SyncMemoryService, export_markdown, import_markdown
from memvid_core.agent.records import read_item, read_turn

OWNERS: tuple[dict[str, Any], ...] = (
    {"user_id": "ada"},
    {"user_id": "bob"},
    {"user_id": "ada", "agent_id": "bot"},
    {"agent_id": "bot"},
    {"user_id": "ada", "agent_id": "cook"},
)
WORDS = ("tea", "Berlin")
owners = st.sampled_from(OWNERS)
words = st.sampled_from(WORDS)
sessions = st.one_of(st.none(), st.sampled_from(["1", "2"]))


def in_session(owner, session):
    return owner if session is None else {**owner, "session_id": session}


def secret(owner):
    return "secret" + "".join(f"-{name}-{value}" for name, value in sorted(owner.items())) + "-end"


def sees(viewer, owner):
    return viewer.items() <= owner.items()


class Scopes(RuleBasedStateMachine):
    """Each owner says a secret word of its own with everything; only scopes that it lies in may ever see it."""

    @initialize()
    def begin(self):
        self.memory = Memory.create(":memory:")
        self.service = SyncMemoryService(self.memory, memorize_config={"extract": "rules"})
        self.folder = Path(tempfile.mkdtemp())

    def teardown(self):
        if hasattr(self, "memory"):
            self.memory.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def ids(self, owner):
        """The ids of the records of exactly this owner."""
        found = self.memory.select({name: {"$eq": value} for name, value in owner.items()})
        fields = {"user_id", "agent_id"}
        return {each.id for each in found if {k: v for k, v in each.metadata.items() if k in fields} == owner}

    def seen_by(self, viewer, value, given=""):
        text = str(value).replace(given, "") if given else repr(value)
        for owner in OWNERS:
            if not sees(viewer, owner):
                assert secret(owner) not in text, (viewer, owner)
                assert not any(name in text for name in self.ids(owner)), (viewer, owner)

    def others(self, viewer):
        """What must not change by anything that a viewer does."""
        return [self.ids(owner) for owner in OWNERS if not sees(viewer, owner)], [
            record.text
            for owner in OWNERS
            if not sees(viewer, owner)
            for record in self.memory.get(list(self.ids(owner)))
        ]

    @rule(
        owner=owners,
        session=sessions,
        word=words,
        verb=st.sampled_from(["live in", "no longer like"]),
    )
    def add(self, owner, session, word, verb):
        before = self.others(owner)
        said = [
            {"role": "user", "content": f"I {verb} {word}."},
            {"role": "assistant", "content": f"You {verb} {word}? {secret(owner)}"},
            {"role": "user", "content": f"I like {secret(owner)}."},
        ]
        self.seen_by(owner, self.service.add(said, **in_session(owner, session)))
        assert before == self.others(owner)

    @rule(owner=owners, session=sessions, word=words)
    def create(self, owner, session, word):
        content = f"I like {word}." if session else f"{word} {secret(owner)}"
        made = self.service.create_memory_item(
            memory_content=content, memory_categories=["habits", "preferences"], user=in_session(owner, session)
        )
        self.seen_by(owner, made)

    @rule(owner=owners, data=st.data())
    def use_an_id_of_anyone(self, owner, data):
        ids = sorted(record.id for record in self.memory.select({}))
        if not ids:
            return
        name = data.draw(st.sampled_from(ids))
        before = self.others(owner)
        for call in (
            lambda: self.service.get(name, **owner),
            lambda: self.service.history(name, **owner),
            lambda: self.service.update_memory_item(
                memory_id=name, memory_content=f"new {secret(owner)}", memory_categories=["habits"], user=owner
            ),
            lambda: self.service.delete_memory_item(memory_id=name, user=owner),
            lambda: self.service.forget([name], **owner),
        ):
            try:
                self.seen_by(owner, call(), name)
            except MemvidError as exc:
                self.seen_by(owner, exc, name)
        assert before == self.others(owner)

    @rule(owner=owners, session=sessions, word=words)
    def ask(self, owner, session, word):
        scope = in_session(owner, session)
        answer = self.service.recall(f"{word} secret", **scope)
        self.seen_by(owner, (answer.text, answer.hits, answer.ranked, answer.left_out))
        self.seen_by(owner, self.service.recall(word, as_of="2026-01-01", **scope))
        self.seen_by(owner, self.service.search(word, **scope))
        self.seen_by(owner, self.service.retrieve(word, scope))
        self.seen_by(owner, self.service.list_memory_items(scope))
        self.seen_by(owner, self.service.list_memory_categories(scope))
        self.seen_by(
            owner, self.service.list_memory_categories({f"{name}__in": [each] for name, each in owner.items()})
        )

    @rule(owner=owners)
    def write_out(self, owner):
        folder = self.folder / str(OWNERS.index(owner))
        self.seen_by(owner, export_markdown(self.service, folder, force=True, **owner))
        for path in folder.iterdir():
            self.seen_by(owner, path.read_text(encoding="utf-8"))

    @rule(owner=owners, of=owners, forget=st.booleans())
    def read_in(self, owner, of, forget):
        """Read an export, one's own or that of another, with an edit: what it says becomes the reader's."""
        folder, before = self.folder / str(OWNERS.index(of)), self.others(owner)
        if not folder.is_dir():
            return
        for path in folder.glob("*.md"):
            text = path.read_text(encoding="utf-8").replace("I like", "I love")
            path.write_text(text.replace(secret(of), secret(owner)), encoding="utf-8")
        mentioned = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.md"))
        try:
            done = import_markdown(self.service, folder, forget_missing=forget, **owner)
            self.seen_by(owner, [(item.summary, item.sources, item.scope) for item in (*done.added, *done.corrected)])
            assert not forget or owner == of
        except MemvidError as exc:
            self.seen_by(owner, exc, mentioned)
        assert before == self.others(owner)
        shutil.rmtree(folder)

    @rule(owner=owners, session=sessions)
    def forget(self, owner, session):
        before = self.others(owner)
        self.seen_by(owner, self.service.forget(**in_session(owner, session)))
        assert before == self.others(owner)
        if session is None:
            assert not self.ids(owner)
            assert secret(owner) not in repr([record.text for record in self.memory.select({})])


Scopes.TestCase.settings = settings(deadline=None, stateful_step_count=14, max_examples=10)
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
