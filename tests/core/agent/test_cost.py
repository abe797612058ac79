"""What a call costs, counted in the records that it reads: it does not grow with what is remembered already."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from memvid_core import EmbeddingError, HashingEmbedder, Memory
from memvid_core.agent import SyncMemoryService, rules, time_words
from memvid_core.agent.folding import fold
from memvid_core.agent.items import newest_by_category, newest_items
from memvid_core.agent.records import Item, digest, item_draft
from memvid_core.agent.store import Store

ME: dict[str, Any] = {"user_id": "me"}
SAID = (
    "I don't like thing7 any more, now I like tea.",
    "I don't like it any more.",
    "Not chess any more, now go.",
    "I no longer use vim.",
    "이제 커피는 안 마셔요.",
    "I moved to Berlin.",
    "I moved to Rome.",
    "I like thing9 of town63.",
)


class Counting(Memory):
    """A memory that counts the records it returns."""

    read = selected = 0
    longest_query = 0

    def _counted(self, found):
        self.read += len(found)
        return found

    def select(self, *arguments, **options):
        self.selected += 1
        return self._counted(super().select(*arguments, **options))

    def get(self, *arguments, **options):
        return self._counted(super().get(*arguments, **options))

    def search(self, query, *arguments, **options):
        self.longest_query = max(self.longest_query, len(query))
        return self._counted(super().search(query, *arguments, **options))


def filled(lines, **scope):
    """Return a service with an item for each number, written as rules write them."""
    memory = Counting.create(":memory:")
    drafts = [item_draft(item(number, {**ME, **scope})) for number in lines]
    memory.add([d.text for d in drafts], [d.metadata for d in drafts], [d.id for d in drafts])
    return SyncMemoryService(memory, memorize_config={"extract": "rules"})


def item(number, scope):
    text, since = f"I like thing{number} of town{number * 7}.", f"2026-01-01T00:00:00.{number:06}+00:00"
    fields: dict[str, Any] = {"memory_type": "profile", "categories": ["preferences"], "scope": scope}
    return Item(id=f"item-{number}", summary=text, key=digest(fold(text)), created_at=since, **fields)


class CountingEmbedder(HashingEmbedder):
    """The built-in embedder, which counts its calls."""

    calls = 0

    def embed_documents(self, texts):
        self.calls += 1
        return super().embed_documents(texts)


def cost(service, call):
    service.memory.read = 0
    call(service)
    return service.memory.read


def test_items_are_embedded_many_at_once():
    def calls(count):
        with Memory.create(":memory:", CountingEmbedder()) as memory:
            service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
            service.add("I like tea.", **ME)
            embedder: Any = memory.embedder
            before = embedder.calls
            service.add([{"role": "user", "content": f"I like thing{number}."} for number in range(count)], **ME)
            assert len(service.list_memory_items(ME)) == 1 + count
            return embedder.calls - before

    assert calls(20) == calls(2)


@pytest.mark.parametrize("scope", [{}, {"agent_id": "narrower"}], ids=["own", "narrower"])
def test_a_write_reads_as_much_in_a_memory_of_many_items(scope):
    def costs(lines):
        service = filled(lines, **scope)
        day = {"role": "user", "created_at": "2026-02-01"}
        for number, text in enumerate(SAID):
            said = [{**day, "content": text}]
            yield text, cost(service, lambda s, said=said, n=number: s.add(said, **ME, session_id=str(n)))
        item = service.create_memory_item(memory_content="by hand", user=ME)
        yield "create", cost(service, lambda s: s.create_memory_item(memory_content="once more", user=ME))
        yield "update", cost(service, lambda s: s.update_memory_item(memory_id=item.id, memory_content="new", user=ME))
        yield "history", cost(service, lambda s: s.history(item.id, **ME))
        yield "forget", cost(service, lambda s: s.forget(item.id, **ME))

    few, many = dict(costs(range(220))), dict(costs(range(440)))
    assert max(many.values()) > 0
    assert {name: many[name] for name in few if many[name] > few[name] + 60} == {}


def test_a_correction_finds_its_item_among_many():
    service = filled(range(300))
    service.add("I don't like thing123 any more.", **ME, session_id="s")
    assert "I like thing123 of town861." not in [item.summary for item in service.list_memory_items(ME)]
    assert len(service.list_memory_items(ME)) == 300


def test_corrections_within_one_call():
    lines = [f"I moved to Town{n}. I like tea{n}. I don't like tea{n} any more." for n in range(40)]
    service = SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
    service.add([{"role": "user", "content": line, "created_at": "2026-01-01"} for line in lines], **ME)
    found = [item.summary for item in service.list_memory_items(ME)]
    assert [text for text in found if "moved" in text] == ["I moved to Town39."]
    assert sorted(text for text in found if "tea" in text) == sorted(
        f"I don't like tea{n} any more." for n in range(40)
    )


@pytest.mark.parametrize("message", ["{} {}", "{1}\n{0}"], ids=["asked first", "asked last"])
def test_of_a_question_with_a_log_in_it_its_ends_are_read(message):
    service = filled(range(20))
    log = "".join(f"2026-01-01 error {number} in 2020\n" for number in range(30_000))
    answer = service.recall(message.format("What do I like of thing7?", log), **ME)
    assert answer.hits[0].id == "item-7"
    assert service.retrieve(message.format("What do I like of thing7?", log), ME).items[0].id == "item-7"
    assert 0 < service.memory.longest_query < 5_000


def test_a_memory_without_an_embedder_says_what_to_do():
    with Memory.create(":memory:", "given") as memory:
        with pytest.raises(EmbeddingError, match="give embedder= to the memory service"):
            SyncMemoryService(memory).add("I like tea.", **ME)
        assert SyncMemoryService(memory).list_memory_items(ME) == []


LINES = [
    {"role": "user", "name": "Ada", "content": text, "created_at": f"2026-01-0{day}"}
    for day, text in enumerate(["I live in Turin.", "I like tea.", "I don't like tea any more.", "It rains."], 1)
]


@pytest.mark.parametrize("commits", [1, 2], ids=["as made", "with a step between"])
def test_a_conversation_and_what_rules_read_in_it_are_one_commit(commits):
    service = SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
    seen = []
    if commits == 2:  # what is called between the steps may look at what was written before
        service.pipelines["memorize"].after.append(lambda name, _: seen.append((name, len(service.memory))))
    assert len(service.add(LINES[:2], **ME).items) == 2
    assert len(service.memory.history()) == commits
    assert seen == ([("remember", 3), ("extract", 7)] if commits == 2 else [])
    assert service.add(LINES[:2], **ME).items == []
    assert len(service.memory.history()) == commits


def test_what_a_call_corrects_of_itself_is_found_in_it():
    """A search inside a call writes first what it may find."""
    service = SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
    made = service.add(LINES, **ME)
    assert [item.summary for item in service.list_memory_items(ME)] == [
        "Ada: I live in Turin.",
        "Ada: I don't like tea any more.",
    ]
    assert len(made.turns) == len(service.recall("What was said?", **ME).ranked) - 2 == 4


@pytest.mark.parametrize(
    ("older", "newer", "commits"),
    [
        ("It rains.", "I no longer use vim.", 1),
        ("비가 온다.", "이제 커피는 안 마셔요.", 1),
        ("I use vim.", "I no longer use vim.", 2),
        ("저는 커피를 마셔요.", "이제 커피는 안 마셔요.", 2),
    ],
)
def test_a_correction_of_nothing_in_its_own_call_is_one_commit_with_it(older, newer, commits):
    """What a search cannot find in the call need not be written before it."""
    service = SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
    (item,) = service.add([{"role": "user", "content": text} for text in (older, newer)], **ME).items
    assert len(service.memory.history()) == commits
    corrected = [older, newer] if commits == 2 else [newer]
    assert [each.summary for each in service.history(item.id, **ME)] == corrected


def test_the_newest_of_several_categories_are_asked_for_at_once():
    rng, names = random.Random(0), ("often", "seldom", "never")
    with Counting.create(":memory:") as memory:
        service, store = SyncMemoryService(memory), Store(memory, owners=("user_id", "agent_id"))
        for number in range(40):
            chosen = [name for name, share in (("often", 0.9), ("seldom", 0.1)) if rng.random() < share]
            service.create_memory_item(memory_content=f"item {number}", memory_categories=chosen or ["often"], user=ME)
        for most in (1, 3, 5, 20, 50):
            found = newest_by_category(store, ME, most, names)
            assert found == {name: newest_items(store, ME, most, [name]) for name in names}
        memory.selected = 0
        assert newest_by_category(store, ME, 50, names)["never"] == []
        assert newest_by_category(store, ME, 50, ()) == {}
        assert memory.selected == 1


def test_a_call_that_fails_in_the_middle_writes_nothing(monkeypatch):
    service = SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
    with monkeypatch.context() as patched:
        patched.setattr("memvid_core.agent.memorizing.facts_of", lambda turn: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            service.add(LINES, **ME)
    assert len(service.memory) == 0
    assert len(service.add(LINES, **ME).turns) == len(LINES)


PIECES = [
    *(
        "I",
        "we",
        "We've",
        "my",
        "My",
        "also",
        "just",
        "live",
        "moved",
        "in",
        "to",
        "at",
        "the flat",
        "Turin",
        "name is",
    ),
    *(
        "call me",
        "started",
        "with",
        "vegan",
        "favorite food is",
        "boss is",
        "dog",
        "has",
        "like",
        "I'd rather",
        "never",
    ),
    *(
        "every day",
        "decided",
        "let's go with",
        "need to",
        "TODO",
        "remind me",
        "went",
        "think so",
        "can",
        "on weekends",
    ),
    *(
        "last",
        "this",
        "next",
        "Monday",
        "May",
        "Sept.",
        "5th",
        "of",
        "2023",
        "31/12/2025",
        "2024-05-01",
        "a few",
        "days",
    ),
    *("week", "month", "year", "ago", "fortnight", "yesterday", "day before", "tonight", "tomorrow", "since", "12"),
    *("weekend", "before last", "1.2.2024", "back", "during", "morning", "this morning"),
]


def _sentences(count):
    rng = random.Random(7)
    for _ in range(count):
        said = " ".join(rng.choices(PIECES, k=rng.randint(1, 7)))
        yield rng.choice([said, said.upper(), said.lower()])


def test_a_first_look_finds_what_the_rules_read():
    read = [said for said in _sentences(4_000) if any(found.search(said) for found, _ in rules._ENGLISH_RULES)]
    seen = [said for said in _sentences(4_000) if rules._ANY_ENGLISH.search(said)]
    assert seen == read
    assert len(read) > 500


def test_a_pattern_of_times_is_not_tried_only_where_it_finds_nothing():
    named = 0
    for said in _sentences(4_000):
        lowered = said.lower()
        words = time_words._words_of(lowered)
        for needs, pattern, _ in time_words._ENGLISH_RULES:
            assert not needs.isdisjoint(words) or pattern.search(lowered) is None, (said, pattern.pattern)
        named += bool(time_words.spans(said, datetime(2026, 5, 8, tzinfo=UTC)))
    assert named > 1_000
