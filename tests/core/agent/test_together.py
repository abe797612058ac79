"""Two processes that add, correct, edit, import and forget at once, while a third reads: no link leads to nothing."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

from memvid_core import Memory, RecordNotFoundError
from memvid_core.agent import SyncMemoryService, export_markdown, import_markdown
from memvid_core.agent.records import read_category, read_item
from tests.processes import start

ME: dict[str, Any] = {"user_id": "me"}
CHILD = """
import sys
from tests.core.agent.test_together import work
work(*sys.argv[1:3], int(sys.argv[3]))
"""
LINKS = ("supersedes", "superseded_by", "same_as")


def work(path, seed, calls):
    """Make random calls. What another process has forgotten meanwhile is not there."""
    rng, folder = random.Random(seed), Path(path).with_name(f"pages {seed}")
    with Memory.open(path, "a") as memory:
        service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
        for number in range(calls):
            call = rng.choice([said, said, said, by_hand, edit, forget_turns, forget_item, edit_pages])
            try:
                call(service, rng, folder, f"{seed}-{number}")
            except RecordNotFoundError:
                assert call is edit


def said(service, rng, _, name):
    text = rng.choice(["I like tea.", f"I like thing {name}.", f"I moved to Town{rng.randrange(9)}.", "I like tea."])
    day = f"2026-0{rng.randrange(1, 9)}-{rng.randrange(10, 28)}"
    message = {"role": "user", "content": text, "created_at": day}
    service.add([message], **ME, session_id=str(rng.randrange(4)))


def by_hand(service, rng, *_):
    service.create_memory_item(memory_content=f"by hand {rng.randrange(4)}", memory_categories=["hand"], user=ME)


def edit(service, rng, *_):
    items = service.list_memory_items(ME)
    if items:
        text = rng.choice(["I like tea", "by hand 1", f"new {rng.randrange(9)}"])
        service.update_memory_item(memory_id=rng.choice(items).id, memory_content=text, user=ME)


def forget_turns(service, rng, *_):
    turns = service.memory.ids({"agent.kind": "turn"})
    service.forget(rng.sample(turns, min(2, len(turns))), **ME)


def forget_item(service, rng, *_):
    items = service.list_memory_items(ME)
    service.forget([item.id for item in rng.sample(items, min(1, len(items)))], **ME)


def edit_pages(service, rng, folder, _):
    export_markdown(service, folder, force=True, **ME)
    for page in folder.glob("*.md"):
        page.write_text(page.read_text(encoding="utf-8").replace("I like", "I love"), encoding="utf-8")
    import_markdown(service, folder, forget_missing=rng.random() < 0.5, **ME)


def check_links(memory):
    """Check one state of the memory."""
    by_kind: dict[str, list[Any]] = {
        kind: [] for kind in ("turn", "item", "category", "resource", "sources", "forgotten")
    }
    for record in memory.select():
        by_kind[record.metadata["agent"]["kind"]].append(record)
    turns = {record.id for record in by_kind["turn"]}
    items = {record.id: read_item(record) for record in by_kind["item"]}
    older = {
        (record.metadata["agent"]["item"], source)
        for record in by_kind["sources"]
        for source in record.metadata["sources"]
    }
    for item in items.values():
        sources = [*item.sources, *(source for name, source in older if name == item.id)]
        assert turns.issuperset(sources)
        assert len(set(sources)) == len(sources) <= max(item.count, 0)
        assert {name for link in LINKS if (name := getattr(item, link))} <= items.keys() - {item.id}
        assert item.superseded_by is None or _leads_back(item, items)
        assert item.supersedes is None or items[item.supersedes].superseded_by == item.id
    current = [item for item in items.values() if item.superseded_at is None]
    assert [key for key, count in Counter(each.key for each in current if not each.same_as).items() if count > 1] == []
    assert len([each for each in current if each.slot == "user home"]) < 2
    for category in map(read_category, by_kind["category"]):
        told = [line.rpartition("[ref:")[2].rstrip("]") for line in category.summary.splitlines()]
        inside = [each.id for each in current if category.name in each.categories]
        assert sorted(told) == sorted(inside)


def _leads_back(item, items):
    """Whether the line of versions after an item ends; it may join another's, if both said the same."""
    passed = [item.id]
    while (name := items[passed[-1]].superseded_by) is not None and name not in passed:
        passed.append(name)
    return items[passed[-1]].superseded_by is None


def test_two_processes_change_everything_while_a_third_reads(tmp_path, effort):
    for number in range(effort(1)):
        path = tmp_path / f"{number}.mp4"
        Memory.create(path).close()
        with start(CHILD, path, 2 * number, 30) as one, start(CHILD, path, 2 * number + 1, 30) as other:
            with Memory.open(path) as reader:
                while one.poll() is None or other.poll() is None:
                    check_links(reader)
            assert [(child.wait(), child.stderr.read()) for child in (one, other)] == [(0, ""), (0, "")]
        with Memory.open(path) as memory:
            check_links(memory)
            assert len(memory) > 0
            assert not memory.verify().damage
