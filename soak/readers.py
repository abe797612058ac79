"""One writer and concurrent readers, in processes and threads; each answer is checked against the writer's commits.

The writer logs a commit before it begins and after the call has returned. An answer must be that of a commit between
the last one done when the question was asked and the last one begun when the answer arrived, and never of an older
commit than this reader saw before.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from memvid_core import Memory
from soak.log import Log, Tail
from soak.model import Change, State, WrongAnswer, check, put, random_change
from soak.processes import start
from soak.questions import ask_everything, random_question

__all__ = ["run"]

_IDS = 60


class History:
    """Follow the states after each commit, according to the log."""

    def __init__(self, log: Path) -> None:
        self._tail = Tail(log)
        self._states: dict[int, State] = {0: {}}
        self.done = self.begun = 0
        self.ended = False

    def read(self) -> None:
        """Read the new lines of the log."""
        for entry in self._tail.read():
            if entry[0] == "begin":
                self.begun += 1
                self._states[self.begun] = Change(*entry[1]).apply(self._states[self.begun - 1])
            elif entry[0] == "done":
                self.done += 1
            else:
                self.ended = True

    def state(self, number: int) -> State:
        """Return the state after a number of commits."""
        return self._states[number]


def _write(memory: Memory, log: Path, seed: int, commits: int) -> None:
    """Commit changes and compactions, each logged before and after."""
    rng = random.Random(seed)
    notes = Log(log)
    state: State = {}
    for number in range(1, commits + 1):
        change = random_change(rng, state, _IDS, number)
        notes.write("begin", change)
        if change.put:
            put(memory, change.put)
        else:
            memory.delete(change.gone)
        notes.write("done")
        state = change.apply(state)
        if rng.random() < 0.02:
            memory.compact(keep_history=rng.random() < 0.3)
    notes.write("end")
    notes.close()


def _read(path: Path, log: Path, seed: int, given: bool, shared: Memory | None = None) -> Counter[str]:
    """Ask until the writer has ended, and then once more; count the questions."""
    rng = random.Random(seed)
    history, seen = History(log), 0
    counts: Counter[str] = Counter()
    embedder = "given" if given else None
    memory = shared or Memory.open(path, embedder=embedder)
    try:
        last = False
        while not last:
            history.read()
            last, low = history.ended, max(history.done, seen)
            if shared is None and rng.random() < 0.01:
                memory.close()
                memory = Memory.open(path, embedder=embedder)
            question = random_question(rng, history.state(low), _IDS, given=given)
            answer = question.ask(memory)
            history.read()
            fits = (number for number in range(low, history.begun + 1) if question.holds(history.state(number), answer))
            found = next(fits, None)
            if found is None:
                old = [number for number in range(low) if question.holds(history.state(number), answer)]
                raise WrongAnswer(
                    f"{question.name} -> {str(answer)[:300]}, which no commit from {low} (seen {seen}) to "
                    f"{history.begun} explains" + (f"; it is as of commit {old[-1]}" if old else "")
                )
            seen = found
            counts["reads"] += 1
        counts["reads"] += ask_everything(memory, history.state(history.begun), given=given)
    finally:
        if shared is None:
            memory.close()
    return counts


def _write_process(path: Path, log: Path, seed: int, commits: int, given: bool, index_dir: Path | None) -> None:
    with Memory.open(path, "a", embedder="given" if given else None, index_dir=index_dir) as memory:
        _write(memory, log, seed, commits)


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Run one round: 1, 2 or 8 readers in processes or threads, given vectors or the built-in embedder."""
    rng = random.Random(seed)
    path, log = folder / "m.mp4", folder / "log"
    given, readers = rng.random() < 0.6, rng.choice([1, 2, 8])
    threads = rng.random() < 0.35
    commits = max(20, int(400 * scale))
    vector_dtype: Literal["float16", "float32"] = rng.choice(["float16", "float32"])
    Memory.create(path, "given" if given else None, vector_dtype=vector_dtype if given else None).close()
    Log(log).close()
    if threads:
        counts = _threads(path, log, seed, readers, commits, given)
    else:
        elsewhere = folder / "writer.index" if rng.random() < 0.2 else None  # the others index what it commits
        children = [start(_read, path, log, seed + 1 + n, given) for n in range(readers)]
        writer = start(_write_process, path, log, seed, commits, given, elsewhere)
        counts = Counter()
        try:
            writer.result(120)
        except BaseException:
            for child in children:
                child.kill()
            raise
        failures = []
        for child in children:
            try:
                counts.update(child.result(120))
            except WrongAnswer as exc:
                failures.append(str(exc))
        check(not failures, "; ".join(failures))
    history = History(log)
    history.read()
    with Memory.open(path, embedder="given" if given else None) as memory:
        counts["reads"] += ask_everything(memory, history.state(history.begun), given=given)
        check(memory.verify().ok, f"{memory.verify()}")
    counts["commits"] += commits
    return counts


def _threads(path: Path, log: Path, seed: int, readers: int, commits: int, given: bool) -> Counter[str]:
    """Run writer and readers in one process: half of the readers share the writer's memory, half open the file."""
    counts: Counter[str] = Counter()
    failures: list[BaseException] = []
    with ExitStack() as stack:
        memory = stack.enter_context(Memory.open(path, "a", embedder="given" if given else None))

        def read(number: int) -> None:
            try:
                counts.update(_read(path, log, seed + 1 + number, given, memory if number % 2 else None))
            except BaseException as exc:
                failures.append(exc)

        workers = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
        for worker in workers:
            worker.start()
        try:
            _write(memory, log, seed, commits)
        finally:
            notes = Log(log)
            notes.write("end")  # also if the writer failed, or its readers would go on without end
            notes.close()
            for worker in workers:
                worker.join()
    if failures:
        raise failures[0] if isinstance(failures[0], WrongAnswer) else WrongAnswer(repr(failures[0])) from failures[0]
    return counts
