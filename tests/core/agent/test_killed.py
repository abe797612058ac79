"""Killed while it memorizes: nothing half is there, and the same call completes it."""

from __future__ import annotations

import json
import random
import time

from memvid_core import Memory
from memvid_core.agent import SyncMemoryService
from tests.processes import start

CHILD = """
import sys
from memvid_core import Memory
from memvid_core.agent import SyncMemoryService
from tests.core.agent.test_killed import conversation
memory = Memory.open(sys.argv[1], "a", create=True)
service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    service.add(conversation(number), user_id="me", session_id=str(number))
"""


def conversation(number):
    return [
        {"role": "user", "content": f"I like song {number}-{line}.", "created_at": "2026-01-01"} for line in range(5)
    ]


def test_killed_at_random_moments(tmp_path, effort):
    path, rng, rounds = tmp_path / "m.mp4", random.Random(1), effort(4)
    wanted = 15 * rounds
    for _ in range(rounds):
        with start(CHILD, path, wanted) as child:
            assert child.stdout.readline() == "ready\n"
            time.sleep(rng.random() * 0.2)  # the random moment
            child.kill()
        with Memory.open(path) as memory:
            for record in memory.select({"agent.kind": "resource"}):
                session = record.id.removeprefix("session-")
                turns = memory.select({"agent.session": session, "agent.kind": "turn"})
                assert len(turns) == record.metadata["agent"]["turns"] == 5
                known = memory.select({"sources": {"$in": [turn.id for turn in turns]}})
                assert record.metadata["agent"]["extracted"] == len(known)
                assert len(known) in (0, 5)
    with Memory.open(path, "a") as memory:
        service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
        for number in range(wanted):
            service.add(conversation(number), user_id="me", session_id=str(number))
        items = service.list_memory_items({"user_id": "me"})
        assert sorted(json.dumps([item.summary, item.count]) for item in items) == sorted(
            json.dumps([f"I like song {number}-{line}.", 1]) for number in range(wanted) for line in range(5)
        )
        assert len(memory.select({"agent.kind": "turn"})) == 5 * wanted
