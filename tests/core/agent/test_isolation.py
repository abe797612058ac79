"""Isolation: whatever is called, in whatever order, nothing of another scope is seen."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memvid_core import Memory, MemvidError
from memvid_core.agent import SyncMemoryService

USERS = ("ada", "bob", "eve")
WORDS = ("tea", "Berlin", "hiking", "green", "jazz")
users = st.sampled_from(USERS)
words = st.sampled_from(WORDS)
sessions = st.one_of(st.none(), st.sampled_from(["1", "2"]))


def scope_of(user, session):
    return {"user_id": user} if session is None else {"user_id": user, "session_id": session}


class Scopes(RuleBasedStateMachine):
    """Each user says the user's own secret word with everything; no one else's may ever come back."""

    @initialize()
    def begin(self):
        self.memory = Memory.create(":memory:")
        self.service = SyncMemoryService(self.memory, memorize_config={"extract": "rules"})
        self.ids: dict[str, set[str]] = {user: set() for user in USERS}

    def teardown(self):
        self.memory.close()

    def seen_by(self, user, value):
        text = repr(value)
        for other in USERS:
            if other != user:
                assert f"secret-{other}" not in text
                assert not any(name in text for name in self.ids[other] - self.ids[user])

    def owned(self, user):
        return {record.id for record in self.memory.select({"user_id": user})}

    @rule(user=users, session=sessions, word=words, verb=st.sampled_from(["like", "live in", "work at"]))
    def add(self, user, session, word, verb):
        said = [
            {"role": "user", "content": f"I {verb} {word} secret-{user}."},
            {"role": "assistant", "content": f"You {verb} {word}? secret-{user}"},
        ]
        self.seen_by(user, self.service.add(said, **scope_of(user, session)))

    @rule(user=users, word=words)
    def create(self, user, word):
        made = self.service.create_memory_item(
            memory_content=f"{word} secret-{user}", memory_categories=["habits"], user={"user_id": user}
        )
        self.seen_by(user, made)

    @rule(user=users, other=users, data=st.data())
    def use_an_id_of_anyone(self, user, other, data):
        ids = sorted(self.ids[other])
        if not ids:
            return
        name = data.draw(st.sampled_from(ids))
        before = {each: self.owned(each) for each in USERS if each != user}
        mine: dict[str, Any] = {"user": {"user_id": user}}
        for call in (
            lambda: self.service.get(name, user_id=user),
            lambda: self.service.history(name, user_id=user),
            lambda: self.service.update_memory_item(memory_id=name, memory_content=f"new secret-{user}", **mine),
            lambda: self.service.delete_memory_item(memory_id=name, **mine),
            lambda: self.service.forget([name], user_id=user),
        ):
            try:
                self.seen_by(user, (str(call()).replace(name, ""), ""))
            except MemvidError as exc:
                self.seen_by(user, str(exc).replace(name, ""))
        assert before == {each: self.owned(each) for each in USERS if each != user}

    @rule(user=users, session=sessions, word=words)
    def ask(self, user, session, word):
        scope = scope_of(user, session)
        answer = self.service.recall(f"{word} secret-eve secret-ada", **scope)
        self.seen_by(user, (answer.text, answer.hits, answer.ranked, answer.left_out))
        self.seen_by(user, self.service.search(word, **scope))
        self.seen_by(user, self.service.retrieve(word, scope))
        self.seen_by(user, self.service.list_memory_items(scope))
        self.seen_by(user, self.service.list_memory_categories({"user_id__in": [user]}))

    @rule(user=users, session=sessions)
    def forget(self, user, session):
        before = {each: self.owned(each) for each in USERS if each != user}
        self.seen_by(user, self.service.forget(**scope_of(user, session)))
        assert before == {each: self.owned(each) for each in USERS if each != user}
        if session is None:
            assert not self.owned(user)

    @invariant()
    def know_the_ids(self):
        if hasattr(self, "ids"):
            for user in USERS:
                self.ids[user] |= self.owned(user)


Scopes.TestCase.settings = settings(deadline=None, stateful_step_count=12, max_examples=12)
TestScopes = Scopes.TestCase
