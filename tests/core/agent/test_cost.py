"""What a call costs, counted in the records that it reads: it does not grow with what is remembered already."""

from __future__ import annotations

from typing import Any

import pytest

from memvid_core import EmbeddingError, Memory
from memvid_core.agent import SyncMemoryService
from memvid_core.agent.folding import fold
from memvid_core.agent.records import Item, digest, item_draft

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

    read = 0
    longest_query = 0

    def _counted(self, found):
        self.read += len(found)
        return found

    def select(self, *arguments, **options):
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


def cost(service, call):
    service.memory.read = 0
    call(service)
    return service.memory.read


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
