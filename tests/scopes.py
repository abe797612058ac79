"""A machine for tests of isolation: several owners use one memory, and none may see or change what is another's."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from memvid_core import Memory, MemvidError
from memvid_core.agent import MemoryService, SyncMemoryService, export_markdown, import_markdown

__all__ = ["Scopes", "owners", "settings", "words"]

OWNERS: tuple[dict[str, Any], ...] = (
    {"user_id": "ada"},
    {"user_id": "bob"},
    {"user_id": "ada", "agent_id": "bot"},
    {"agent_id": "bot"},
    {"user_id": "ada", "agent_id": "cook"},
)
WORDS = ("tea", "Berlin")
VERBS = ("live in", "no longer like", "switched from milk to", "meet at five. Sorry, it is at six. We meet with")
"""What makes facts and corrections: of what is named, and of what was said just before."""
KINDS = ("turn", "item", "category", "resource")
owners = st.sampled_from(OWNERS)
words = st.sampled_from(WORDS)
sessions = st.one_of(st.none(), st.sampled_from(["1", "2"]))
faces = st.sampled_from(["sync", "async"])


def settings(examples: int, steps: int) -> hypothesis.settings:
    """So many runs of the machine in a short test, and as many more as the profile has."""
    more = (hypothesis.settings.get_current_profile_name() == "soak") * hypothesis.settings().max_examples
    return hypothesis.settings(stateful_step_count=steps, max_examples=max(examples, more // 10))


def in_session(owner: dict[str, Any], session: str | None) -> dict[str, Any]:
    return owner if session is None else {**owner, "session_id": session}


def secret(owner: dict[str, Any]) -> str:
    return "secret" + "".join(f"-{name}-{value}" for name, value in sorted(owner.items())) + "-end"


def sees(viewer: dict[str, Any], owner: dict[str, Any]) -> bool:
    return viewer.items() <= owner.items()


class _Awaited:
    """The asynchronous service as if it were the other."""

    def __init__(self, service: MemoryService, loop: asyncio.AbstractEventLoop) -> None:
        self._service, self._loop = service, loop

    def __getattr__(self, name: str) -> Any:
        return lambda *given, **named: self._loop.run_until_complete(getattr(self._service, name)(*given, **named))


class Scopes(RuleBasedStateMachine):
    """Each owner says a secret word of its own with everything; only scopes that it lies in may ever see it."""

    def made(self, folder: Path) -> Memory:
        """Make the memory."""
        return Memory.create(":memory:")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.memory = self.made(self.folder)
        self.loop = asyncio.new_event_loop()
        options: dict[str, Any] = {"memorize_config": {"extract": "rules"}}
        self.service = SyncMemoryService(self.memory, **options)
        self.twin = MemoryService(self.memory, **options)
        self.faces: dict[str, Any] = {"sync": self.service, "async": _Awaited(self.twin, self.loop)}
        self.files = 0

    def teardown(self) -> None:
        if hasattr(self, "memory"):
            self.loop.run_until_complete(self.twin.aclose())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self.memory.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- what must hold ---

    def ids(self, owner: dict[str, Any]) -> set[str]:
        """The ids of the records of exactly this owner."""
        found = self.memory.select({name: {"$eq": value} for name, value in owner.items()})
        fields = {"user_id", "agent_id"}
        return {each.id for each in found if {k: v for k, v in each.metadata.items() if k in fields} == owner}

    def seen_by(self, viewer: dict[str, Any], value: object, given: str = "") -> None:
        text = str(value).replace(given, "") if given else value if isinstance(value, str) else repr(value)
        for owner in OWNERS:
            if not sees(viewer, owner):
                assert secret(owner) not in text, (viewer, owner)
                assert not any(name in text for name in self.ids(owner)), (viewer, owner)

    def counts(self, viewer: dict[str, Any]) -> dict[str, int]:
        """How many records of each kind a viewer has."""
        own = set().union(*(self.ids(owner) for owner in OWNERS if sees(viewer, owner)))
        abouts = [record.metadata["agent"] for record in self.memory.get(sorted(own)) if "agent" in record.metadata]
        counted = Counter(about["kind"] for about in abouts if "superseded_at" not in about)
        return {kind: counted[kind] for kind in KINDS}

    def others(self, viewer: dict[str, Any]) -> list[Any]:
        """What must not change by anything that a viewer does."""
        hidden = [self.ids(owner) for owner in OWNERS if not sees(viewer, owner)]
        records = self.memory.get(sorted(set().union(*hidden)))
        return [(record.id, record.text, record.metadata) for record in records]

    @contextmanager
    def alone(self, viewer: dict[str, Any]) -> Iterator[None]:
        """Check that a block of the test changes nothing of others."""
        before = self.others(viewer)
        yield
        assert before == self.others(viewer)

    def said(self, owner: dict[str, Any], verb: str, word: str) -> list[dict[str, str]]:
        return [
            {"role": "user", "content": f"I {verb} {word}."},
            {"role": "assistant", "content": f"You {verb} {word}? {secret(owner)}"},
            {"role": "user", "content": f"I like {secret(owner)}."},
        ]

    # --- what owners do ---

    @rule(face=faces, owner=owners, session=sessions, word=words, verb=st.sampled_from(VERBS))
    def add(self, face: str, owner: dict[str, Any], session: str | None, word: str, verb: str) -> None:
        with self.alone(owner):
            self.seen_by(owner, self.faces[face].add(self.said(owner, verb, word), **in_session(owner, session)))

    @rule(
        face=faces, owner=owners, session=sessions, word=words, modality=st.sampled_from(["conversation", "document"])
    )
    def memorize(self, face: str, owner: dict[str, Any], session: str | None, word: str, modality: str) -> None:
        """Memorize a file; other owners memorize files of the same name."""
        path = self.folder / f"{word}.{'json' if modality == 'conversation' else 'md'}"
        said = self.said(owner, "like", word)
        text = json.dumps(said) if path.suffix == ".json" else "\n\n".join(each["content"] for each in said)
        path.write_text(text, encoding="utf-8")
        user = in_session(owner, session)
        with self.alone(owner):
            self.seen_by(owner, self.faces[face].memorize(resource_url=path, modality=modality, user=user))

    @rule(face=faces, owner=owners, session=sessions, word=words)
    def create(self, face: str, owner: dict[str, Any], session: str | None, word: str) -> None:
        content = f"I like {word}." if session else f"{word} {secret(owner)}"
        made = self.faces[face].create_memory_item(
            memory_content=content, memory_categories=["habits", "preferences"], user=in_session(owner, session)
        )
        self.seen_by(owner, made)

    @rule(face=faces, owner=owners, data=st.data())
    def use_an_id_of_anyone(self, face: str, owner: dict[str, Any], data: Any) -> None:
        service = self.faces[face]
        ids = self.memory.ids()  # in the order added: ids are random
        if not ids:
            return
        name = data.draw(st.sampled_from(ids))
        new = {"memory_content": f"new {secret(owner)}", "memory_categories": ["habits"], "user": owner}
        with self.alone(owner):
            for call in (
                lambda: service.get(name, **owner),
                lambda: service.history(name, **owner),
                lambda: service.update_memory_item(memory_id=name, **new),
                lambda: service.delete_memory_item(memory_id=name, user=owner),
                lambda: service.forget([name], **owner),
            ):
                try:
                    self.seen_by(owner, call(), name)
                except MemvidError as exc:
                    self.seen_by(owner, exc, name)

    @rule(face=faces, owner=owners, session=sessions, word=words)
    def ask(self, face: str, owner: dict[str, Any], session: str | None, word: str) -> None:
        service, scope = self.faces[face], in_session(owner, session)
        answer = service.recall(f"{word} secret", **scope)
        self.seen_by(owner, (answer.text, answer.hits, answer.ranked, answer.left_out))
        self.seen_by(owner, service.recall(word, as_of="2026-01-01", **scope))
        self.seen_by(owner, service.search(word, **scope))
        self.seen_by(owner, service.retrieve(word, scope))
        self.seen_by(owner, service.list_memory_items(scope))
        self.seen_by(owner, service.list_memory_categories(scope))

    @rule(face=faces, owner=owners, other=owners)
    def list_by_filters(self, face: str, owner: dict[str, Any], other: dict[str, Any]) -> None:
        """``__in`` of one value is the value, and of two it is what either sees; the numbers are those of the scope."""
        service = self.faces[face]
        named = {f"{name}__in": [value] for name, value in owner.items()}
        items, categories = service.list_memory_items(named), service.list_memory_categories(named)
        self.seen_by(owner, (items, categories))
        counted = self.counts(owner)
        assert (len(items), len(categories)) == (counted["item"], counted["category"])
        if owner.keys() == other.keys() == {"user_id"}:
            both = service.list_memory_items({"user_id__in": sorted({owner["user_id"], other["user_id"]})})
            singles = [item for each in (owner, other) for item in service.list_memory_items(each)]
            assert {item.id for item in both} == {item.id for item in singles}

    @rule(face=faces, owner=owners)
    def ask_wrongly(self, face: str, owner: dict[str, Any]) -> None:
        """Errors, with what they suggest, name nothing of others."""
        service, name = self.faces[face], next(iter(owner))
        for call in (
            lambda: service.recall("", **owner),
            lambda: service.recall("tea", users=secret(owner), **owner),
            lambda: service.list_memory_items({**owner, "user_ids__in": ["a"]}),
            lambda: service.list_memory_items({**owner, "user_id__like": "%"}),
            lambda: service.create_memory_item(memory_content="tea", memory_type="profil", user=owner),
            lambda: service.update_memory_item(memory_id="item-", memory_content="x", user=owner),
            lambda: service.memorize(resource_url=self.folder / "none.json", user=owner),
            lambda: service.add([{"role": "user", "content": 5}], **owner),
            lambda: service.forget(where=owner, **{**owner, name: "other"}),
        ):
            before = [self.ids(each) for each in OWNERS]
            try:
                call()
            except MemvidError as exc:
                self.seen_by(owner, exc)
            else:
                raise AssertionError("no error")
            assert before == [self.ids(each) for each in OWNERS]

    @rule(owner=owners)
    def write_out(self, owner: dict[str, Any]) -> None:
        folder = self.folder / str(OWNERS.index(owner))
        self.seen_by(owner, export_markdown(self.service, folder, force=True, **owner))
        for path in folder.iterdir():
            self.seen_by(owner, path.read_text(encoding="utf-8"))

    @rule(owner=owners, of=owners, forget=st.booleans())
    def read_in(self, owner: dict[str, Any], of: dict[str, Any], forget: bool) -> None:
        """Read an export, one's own or that of another, with an edit: what it says becomes the reader's."""
        folder = self.folder / str(OWNERS.index(of))
        if not folder.is_dir():
            return
        for path in folder.glob("*.md"):
            text = path.read_text(encoding="utf-8").replace("I like", "I love")
            path.write_text(text.replace(secret(of), secret(owner)), encoding="utf-8")
        mentioned = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.md"))
        with self.alone(owner):
            try:
                done = import_markdown(self.service, folder, forget_missing=forget, **owner)
                changed = [*done.added, *done.corrected]
                self.seen_by(owner, [(item.summary, item.sources, item.scope) for item in changed])
                assert not forget or owner == of
            except MemvidError as exc:
                self.seen_by(owner, exc, mentioned)
        shutil.rmtree(folder)

    @rule(face=faces, owner=owners, session=sessions, clear=st.booleans())
    def forget(self, face: str, owner: dict[str, Any], session: str | None, clear: bool) -> None:
        service, scope = self.faces[face], in_session(owner, session)
        with self.alone(owner):
            receipt = service.clear_memory(scope) if clear else service.forget(**scope)
            self.seen_by(owner, str(receipt), str(sorted(receipt.unknown)))
        if session is None:
            assert not self.ids(owner)
            assert secret(owner) not in repr([record.text for record in self.memory.select({})])
