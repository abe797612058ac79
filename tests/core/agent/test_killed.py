"""Killed while it memorizes, with another process reading: nothing half is there, and the same call completes it."""

from __future__ import annotations

import random
import time

import pytest

from memvid_core import Memory
from memvid_core.agent import SyncMemoryService
from tests.processes import start

CHILD = """
import sys
from itertools import count
from memvid_core import Memory
from memvid_core.agent import SyncMemoryService
from tests.core.agent.test_killed import conversation
service = SyncMemoryService(Memory.open(sys.argv[1], "a"), memorize_config={"extract": "rules"})
print("ready", flush=True)
for number in count(int(sys.argv[2])):
    service.add(conversation(number), user_id="me", session_id=str(number))
"""
ROUND = 1_000
LINES = 5


def conversation(number):
    return [
        {"role": "user", "content": f"I like song {number}-{line}.", "created_at": "2026-01-01"}
        for line in range(LINES)
    ]


def check_whole(memory):
    """Check one state of the memory, and return the numbers of its conversations."""
    records = memory.select()
    turns, items, resources = (
        [record for record in records if record.metadata["agent"]["kind"] == kind]
        for kind in ("turn", "item", "resource")
    )
    numbers = []
    for resource in resources:
        session, about = resource.id.removeprefix("session-"), resource.metadata["agent"]
        ids = {turn.id for turn in turns if turn.metadata["agent"]["session"] == session}
        known = [item for item in items if ids.issuperset(item.metadata["sources"])]
        assert len(ids) == about["turns"] == LINES
        assert about["extracted"] == len(known)
        assert len(known) in (0, LINES)
        numbers.append(int(resource.metadata["session_id"]))
    assert len(turns) == LINES * len(resources)
    return numbers


@pytest.mark.filterwarnings("ignore::memvid_core.TornTailWarning")  # the moment may be inside a commit
def test_killed_at_random_moments_while_another_process_reads(tmp_path, effort, sized):
    path, rng, rounds = tmp_path / "m.mp4", random.Random(1), effort(sized(3, 4))
    Memory.create(path).close()
    with Memory.open(path) as reader:
        for number in range(rounds):
            with start(CHILD, path, number * ROUND) as child:
                assert child.stdout.readline() == "ready\n"
                end = time.monotonic() + rng.random() * 0.1  # the random moment
                while time.monotonic() < end:
                    check_whole(reader)
                child.kill()
        there = check_whole(reader)
    with Memory.open(path, "a") as memory:
        service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
        begun = [max((n for n in there if n // ROUND == number), default=number * ROUND) for number in range(rounds)]
        wanted = [n for number, last in enumerate(begun) for n in range(number * ROUND, last + 1)]
        for number in wanted:
            service.add(conversation(number), user_id="me", session_id=str(number))
        assert sorted(check_whole(memory)) == wanted
        items = service.list_memory_items({"user_id": "me"})
        said = [message["content"] for number in wanted for message in conversation(number)]
        assert sorted((item.summary, item.count) for item in items) == sorted((text, 1) for text in said)
