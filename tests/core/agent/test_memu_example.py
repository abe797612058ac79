"""memU's first example, offline: conversations in, items and categories out, a Markdown file each, questions answered.

The program is memU's own: a service, ``memorize`` for each file, the counts, a file for each category. It runs with
rules, and with a scripted model, whose calls are counted.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from memvid_core import Memory
from memvid_core.agent import MemoryService

USER = {"user_id": "ada"}
CONVERSATIONS = {
    "conv1.json": [
        {"role": "user", "content": "I moved to Lisbon. My sister lives in Porto."},
        {"role": "assistant", "content": "How do you like the city so far?"},
        {"role": "user", "content": "I love the trams. I want to visit the Azores."},
        {"role": "assistant", "content": "The hydrangeas bloom there in June."},
    ],
    "conv2.json": [
        {"role": "user", "content": {"text": "I work at a bakery. I usually start at five."}},
        {"role": "assistant", "content": {"text": "That is early! Which bread sells best?"}},
        {"role": "user", "content": {"text": "Rye, by far."}},
    ],
    "conv3.json": [
        {"role": "user", "content": "When is the office party?", "created_at": "2026-05-08T10:00:00"},
        {"role": "assistant", "content": "At six, on Friday.", "created_at": "2026-05-08T10:00:05"},
        {"role": "user", "content": "I like karaoke, so I am in.", "created_at": "2026-05-08T10:01:00"},
    ],
}
QUESTIONS = {
    "When does the office party begin?": "At six, on Friday.",
    "Which bread sells best at the bakery?": "Rye, by far.",
    "When do the hydrangeas bloom on the Azores?": "The hydrangeas bloom there in June.",
    "In which city does my sister live?": "I moved to Lisbon. My sister lives in Porto.",
}
READ = {
    "moved to Lisbon": {
        "text": "Ada lives in Lisbon",
        "type": "profile",
        "categories": ["personal_info"],
        "turns": [0],
    },
    "sells best": {"text": "Ada sells rye bread", "type": "knowledge", "categories": ["work_life"], "turns": [0, 2]},
    "office party": {
        "text": "The office party is on Friday",
        "type": "event",
        "categories": ["activities"],
        "turns": [1],
    },
}


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in CONVERSATIONS]
    for path, said in zip(paths, CONVERSATIONS.values(), strict=True):
        path.write_text(json.dumps({"content": said} if path.name == "conv2.json" else said), encoding="utf-8")
    return paths


def generate_memory_md(categories, folder):
    folder.mkdir(exist_ok=True)
    for category in categories:
        (folder / f"{category.get('name', 'unknown')}.md").write_text(category["summary"], encoding="utf-8")


async def example(service, files, folder):
    """Return what was memorized, and what was retrieved for each question."""
    memorized = []
    for path in files:
        memorized.append(await service.memorize(resource_url=str(path), modality="conversation", user=USER))
    total = sum(len(result.get("items", [])) for result in memorized)
    print(f"✓ Processed {len(files)} files, extracted {total} items")
    categories = await service.list_memory_categories(USER)
    generate_memory_md(categories, folder)
    print(f"✓ Generated {len(categories)} categories")
    asked = {}
    for question in QUESTIONS:
        queries = [{"role": "user", "content": {"text": question}}]
        asked[question] = await service.retrieve(queries, where=USER, method="rag")
    return memorized, asked


def ran(files, folder, capsys, **options: Any):
    """Run the program; return what was memorized and retrieved, the lines it printed, and the text of its memory."""

    async def run():
        async with MemoryService(Memory.create(":memory:"), **options) as service:
            done = await example(service, files, folder)
            turns = {record.id: record.text for record in service.memory.select({"agent.kind": "turn"})}
            again = [await service.memorize(resource_url=path, user=USER) for path in files]
            assert [(each.turns, each.items, each.model_calls) for each in again] == [([], [], 0)] * len(files)
            return (*done, turns)

    memorized, asked, turns = asyncio.run(run())
    return memorized, asked, turns, capsys.readouterr().out.splitlines()


def cites_the_right_turn(asked, turns):
    """Check that the text that answers each question has the turn that holds the answer, by its id."""
    for question, answer in QUESTIONS.items():
        (turn,) = [name for name, text in turns.items() if text.endswith(answer)]
        lines = [line for line in asked[question]["text"].splitlines() if line.startswith(f"[ref:{turn}] ")]
        assert [line.endswith(answer) for line in lines] == [True], question


def test_by_rules(files, tmp_path, capsys):
    folder = tmp_path / "output"
    memorized, asked, turns, printed = ran(files, folder, capsys, memorize_config={"extract": "rules"})
    assert printed == ["✓ Processed 3 files, extracted 7 items", "✓ Generated 6 categories"]
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{name}.md" for name in ("goals", "habits", "personal_info", "preferences", "relationships", "work_life")
    ]
    summaries = [line for path in folder.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    items = [item for result in memorized for item in result["items"]]
    assert sorted(summaries) == sorted(f"- {item['summary']} [ref:{item['id']}]" for item in items)
    assert all(item["sources"] and set(item["sources"]) <= set(turns) for item in items)
    assert sum(result.model_calls for result in memorized) == 0
    cites_the_right_turn(asked, turns)


def test_by_a_model(files, tmp_path, capsys):
    prompts: list[str] = []

    def scripted(prompt):
        prompts.append(prompt)
        if prompt.startswith("Read a part of a conversation"):
            return json.dumps({"items": [item for words, item in READ.items() if words in prompt]})
        return f"- A summary, number {len(prompts)}"

    folder = tmp_path / "output"
    options = {"model": scripted, "memorize_config": {"extract": "llm"}}
    memorized, asked, turns, printed = ran(files, folder, capsys, **options)
    assert printed == ["✓ Processed 3 files, extracted 3 items", "✓ Generated 3 categories"]
    assert sorted(path.name for path in folder.iterdir()) == ["activities.md", "personal_info.md", "work_life.md"]
    assert [result.model_calls for result in memorized] == [2, 2, 2]  # one segment, one category
    assert len(prompts) == 6
    assert [result["categories"][0]["summary"] for result in memorized] == [
        f"- A summary, number {number}" for number in (2, 4, 6)
    ]
    items = [item for result in memorized for item in result["items"]]
    assert [[turns[source].rpartition(": ")[2] for source in item.sources] for item in items] == [
        ["I moved to Lisbon. My sister lives in Porto."],
        ["I work at a bakery. I usually start at five.", "Rye, by far."],
        ["At six, on Friday."],
    ]
    cites_the_right_turn(asked, turns)
