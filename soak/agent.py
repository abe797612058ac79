"""An agent's memory: ``memorize`` and ``import`` killed at random moments, while another process reads.

After each kill, and at every moment for the reader, nothing half may be there: a conversation has all of its turns, its
items were written all or not at all, the edits of an import were taken all or not at all. The same call, made again,
completes what was cut off, and nothing is there twice. What a conversation corrects, in itself and in those before it,
is one line of versions in the order of time.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from memvid_core import Record
from memvid_core.agent import SyncMemoryService, export_markdown, import_markdown
from soak.log import Log
from soak.model import check
from soak.processes import Child, start
from soak.scenes.core import quietly

__all__ = ["check_whole", "run"]

_SONGS, _BULLETS, _NOTES = 3, 6, 3
_OWNER: dict[str, Any] = {"user_id": "me"}
_SECONDS = 60.0
_OFTEN = "I like tea."
_BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Run one round: writers that are killed one after another, while a reader reads."""
    rng = random.Random(seed)
    start(_prepare, folder).result(_SECONDS)
    reader = start(_read_until_told, folder)
    counts: Counter[str] = Counter()
    try:
        for version in range(1, max(1, int(10 * scale)) + 1):
            counts["kills, memorize"] += _killed(folder, rng, _memorize, version * 1_000)
            start(_compare, folder).result(_SECONDS)
            _edit_pages(folder, version)
            counts["kills, import"] += _killed(folder, rng, _import, version)
            start(_compare, folder).result(_SECONDS)
            start(_complete_import, folder, version).result(_SECONDS)
        counts["items"] = start(_complete, folder).result(_SECONDS)
    finally:
        (folder / "stop").touch()
    counts["reads"] = reader.result(_SECONDS)
    return counts


def _killed(folder: Path, rng: random.Random, work: Callable[[Path, int, bool], None], number: int) -> int:
    """Start a writer and kill it at a random moment; return 0 if it was ready before that."""
    log = folder / "log"
    Log(log).close()
    child = start(work, folder, number, rng.random() < 0.5)
    _wait_until_begun(child, log)
    time.sleep(rng.random() ** 2 * rng.choice((0.2, 1.0)))  # the random moment
    if child.ended():
        child.result(0)
        return 0
    child.kill()
    return 1


def _wait_until_begun(child: Child, log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while b"begin" not in log.read_bytes() and not child.ended():
        check(time.monotonic() < deadline, f"no call has begun after {_SECONDS:.0f} s")
        time.sleep(0.001)


# --- the writers ---


def _service(folder: Path, mode: str = "a") -> SyncMemoryService:
    memory = quietly(folder / "m.mp4", mode, None)
    return SyncMemoryService(memory, memorize_config={"extract": "rules"})


def _prepare(folder: Path) -> None:
    from memvid_core import Memory

    with Memory.create(folder / "m.mp4") as memory:
        service = SyncMemoryService(memory)
        for number in range(_BULLETS):
            service.create_memory_item(memory_content=_bullet(number, 0), memory_categories=["book"], user=_OWNER)
        export_markdown(service, folder / "pages", **_OWNER)
    (folder / "talks").mkdir()


def _bullet(number: int, version: int) -> str:
    return f"thing {number} is in edition {version}"


def _memorize(folder: Path, first: int, in_pieces: bool) -> None:
    """Memorize new conversations without end; the file of each is written before the call."""
    service, notes = _service_of_writer(folder, in_pieces), Log(folder / "log")
    notes.write("begin")
    number = first
    while True:
        lines = [_OFTEN, *(_liked(number, song) for song in range(_SONGS)), _budget(number), _disliked(number)]
        time = (_BEGUN + timedelta(minutes=number)).isoformat()
        said = [{"role": "user", "content": text, "created_at": time} for text in lines]
        path = folder / "talks" / f"{number}.json"
        path.write_text(json.dumps(said), encoding="utf-8")
        service.memorize(resource_url=path, user={**_OWNER, "session_id": str(number)})
        number += 1


def _liked(number: int, song: int) -> str:
    return f"I like song {number}-{song}."


def _disliked(number: int) -> str:
    """What corrects one of the lines before it."""
    return f"I no longer like song {number}-0."


def _budget(number: int) -> str:
    """What corrects the conversation before it: there is one budget."""
    return f"My budget is {number} euros."


def _service_of_writer(folder: Path, in_pieces: bool) -> SyncMemoryService:
    from soak.scenes.core import write_in_pieces

    if in_pieces:
        write_in_pieces()
    return _service(folder)


def _edit_pages(folder: Path, version: int) -> None:
    """Do what a person does between two imports: change every bullet, and add notes."""
    for path in (folder / "pages").glob("*.md"):
        text = path.read_text(encoding="utf-8").replace(f"edition {version - 1}", f"edition {version}")
        path.write_text(text, encoding="utf-8")
    for number in range(_NOTES):
        (folder / "pages" / f"note-{version}-{number}.txt").write_text(f"note {version} {number}", encoding="utf-8")


def _import(folder: Path, _: int, in_pieces: bool) -> None:
    service = _service_of_writer(folder, in_pieces)
    Log(folder / "log").write("begin")
    import_markdown(service, folder / "pages", **_OWNER)


# --- what must hold at every moment ---


def _read_until_told(folder: Path) -> int:
    """Check the memory again and again, as another process sees it, until there is a file ``stop``."""
    reads = 0
    service = _service(folder, "r")
    while not (folder / "stop").exists():
        check_whole(service)
        service.recall("Which songs do I like, and which edition is it?", **_OWNER)
        reads += 1
    service.memory.close()
    return reads


def _compare(folder: Path) -> None:
    service = _service(folder, "r")
    report = service.memory.verify()
    check(not report.damage, f"{report}")
    check_whole(service)
    service.memory.close()


def check_whole(service: SyncMemoryService) -> None:
    """Check one state of the memory: all of its records are read at once."""
    records: defaultdict[str, list[Record]] = defaultdict(list)
    for record in service.memory.select():
        records[record.metadata["agent"]["kind"]].append(record)
    turns: defaultdict[str, list[int]] = defaultdict(list)
    for record in records["turn"]:
        turns[record.metadata["agent"]["session"]].append(record.metadata["agent"]["at"])
    sources = _sources(records["item"], records["sources"])
    for record in records["resource"]:
        session, about = record.id.removeprefix("session-"), record.metadata["agent"]
        check(sorted(turns.pop(session, [])) == list(range(about["turns"])), f"{record.id} lacks turns")
        read = sum(source.startswith(f"{session}-") for each in sources.values() for source in each)
        expected = about.get("extracted", 0) if about["modality"] == "conversation" else 0
        check(read == expected, f"{record.id}: {read} sources of {expected} turns that were read")
    check(not turns, f"turns without a resource: {list(turns)}")
    editions = {record.text.rpartition(" ")[2] for record in _current(records["item"]) if "edition" in record.text}
    check(len(editions) == 1, f"an import was taken in part: {editions}")
    budgets = [record.text for record in _current(records["item"]) if "budget" in record.text]
    check(len(budgets) < 2, f"two budgets at once: {budgets}")


def _current(items: Iterable[Record]) -> Iterator[Record]:
    return (record for record in items if "superseded_at" not in record.metadata["agent"])


def _sources(items: Iterable[Record], older: Iterable[Record]) -> dict[str, list[str]]:
    """Return the turns that each item comes from, and check that its count is theirs."""
    found = {record.id: list(record.metadata["sources"]) for record in items}
    for record in older:
        found[record.metadata["agent"]["item"]] += record.metadata["sources"]
    for record in items:
        counted, several = record.metadata["agent"]["count"], found[record.id]
        check(len(set(several)) == len(several), f"{record.id} has a turn twice")
        check(not several or counted == len(several), f"{record.id} has count {counted} and {len(several)} turns")
    return found


# --- completion ---


def _complete_import(folder: Path, version: int) -> None:
    """Import again, twice: the first completes what was cut off, the second changes nothing."""
    service = _service(folder)
    import_markdown(service, folder / "pages", **_OWNER)
    before = len(service.memory.history())
    again = import_markdown(service, folder / "pages", **_OWNER)
    check(not again.corrected and not again.added and not again.resources, f"imported again: {again}")
    check(len(service.memory.history()) == before, "an import of what is known has written something")
    items = [item for item in service.list_memory_items(_OWNER) if "edition" in item.summary]
    wanted = sorted(_bullet(number, version) for number in range(_BULLETS))
    check(sorted(item.summary for item in items) == wanted, f"{items}")
    for item in items:
        versions = [each.summary.rpartition(" ")[2] for each in service.history(item.id, **_OWNER)]
        check(versions == [str(number) for number in range(version + 1)], f"{item.id} has the versions {versions}")
    notes = service.memory.select({"agent.kind": "turn", "agent.role": "document"})
    check(len(notes) == _NOTES * version, f"{len(notes)} notes of {_NOTES * version}")
    export_markdown(service, folder / "pages", force=True, **_OWNER)
    service.memory.close()


def _complete(folder: Path) -> int:
    """Memorize every conversation again, and check that each thing is there once; return the number of items."""
    service = _service(folder)
    talks = sorted((folder / "talks").iterdir(), key=lambda path: int(path.stem))
    whole = [path for path in talks if path.read_bytes().endswith(b"]")]
    for path in whole:
        service.memorize(resource_url=path, user={**_OWNER, "session_id": path.stem})
    check_whole(service)
    numbers = [int(path.stem) for path in whole]
    expected = {_liked(number, song): 1 for number in numbers for song in range(1, _SONGS)}
    expected |= {_disliked(number): 1 for number in numbers} | {_budget(number): 1 for number in numbers[-1:]}
    expected |= {_OFTEN: len(whole)} if whole else {}
    items = [item for item in service.list_memory_items(_OWNER) if "edition" not in item.summary]
    found = {item.summary: item.count for item in items}
    check(found == expected, f"{len(found)} items of {len(expected)}: {set(found.items()) ^ set(expected.items())}")
    lines = {item.summary: [each.summary for each in service.history(item.id, **_OWNER)] for item in items}
    for number in numbers:
        check(lines[_disliked(number)] == [_liked(number, 0), _disliked(number)], f"{lines[_disliked(number)]}")
    budgets = [_budget(number) for number in numbers]
    for last in budgets[-1:]:  # of the newest conversation, unless it was killed before one was whole
        check(lines[last] == budgets, f"the budgets {lines[last]} of {budgets}")
    service.memory.close()
    return len(found)
