"""RayExecutor: actors of Ray open the shards of libraries and answer; those that die come back."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from hashlib import blake2b
from typing import Any, Final

from memvid_core import InvalidInputError
from memvid_core.errors import ClosedError
from memvid_core.library import Failure, ShardRef, ThreadExecutor
from memvid_core.library.executor import Questions
from memvid_ray.cluster import cause_of, connected

__all__ = ["RayExecutor"]

_AT_ONCE: Final = 16  # questions that an actor answers at the same time
_SHARE: Final = 0.95  # of the time that is left
_PAUSE: Final = 0.05  # seconds between two questions to an actor that is restarting
_WITHOUT_LIMIT: Final = 60.0  # seconds for which an actor is asked again, if no timeout is given


class Opener:
    """What an actor does: open shards, and ask them in threads."""

    def __init__(self) -> None:
        self._executor = ThreadExecutor()

    def ask(self, call: str, questions: Questions, timeout: float | None) -> list[Any]:
        """Ask shards at the same time."""
        return self._executor.ask(call, questions, timeout)

    def pid(self) -> int:
        """Return the id of the process."""
        return os.getpid()


class RayExecutor:
    """Ask the shards of libraries by actors of Ray, in any number of processes and machines.

    A shard belongs to the same actors as long as their number stays. If an actor dies, Ray starts it again, and its
    shards are asked of their other actors, or again until the timeout of the search. Actors take no CPUs, so that they
    never stand in the way of tasks. Give it to :meth:`memvid_core.Library.open`, and close it in the end.

    Args:
        address: The address of a cluster; by default a local Ray is started, unless the program is connected.
        actors: The number of actors; by default one for each CPU.
        replicas: How many actors can answer for a shard.
        max_restarts: How often an actor is started again; -1 for any number.

    Raises:
        InvalidInputError: A number is out of its range.
    """

    def __init__(
        self, address: str | None = None, *, actors: int | None = None, replicas: int = 1, max_restarts: int = -1
    ) -> None:
        for name, number in (("actors", 1 if actors is None else actors), ("replicas", replicas)):
            if not (type(number) is int and number > 0):
                raise InvalidInputError(f"{name} is a positive number, not {number!r}")
        if not (type(max_restarts) is int and max_restarts >= -1):
            raise InvalidInputError(f"max_restarts is a number, or -1 for any, not {max_restarts!r}")
        self._ray = connected(address)
        count = actors or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        if replicas > count:
            raise InvalidInputError(f"{replicas} replicas need as many actors, and there are {count}")
        options = {"num_cpus": 0, "max_restarts": max_restarts, "max_concurrency": _AT_ONCE}
        made = self._ray.remote(Opener).options(**options, scheduling_strategy="SPREAD")
        self._actors: list[Any] = [made.remote() for _ in range(count)]
        self._replicas = replicas

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        """Ask shards through their actors; see :class:`memvid_core.Executor`."""
        if not self._actors:
            raise ClosedError("this executor is closed; make another one")
        end = time.monotonic() + (_WITHOUT_LIMIT if timeout is None else timeout)
        answers: list[Any] = [None] * len(questions)
        left = dict.fromkeys(range(len(questions)), 0)  # the replica to ask
        while left:
            again = self._round(call, questions, timeout, end, left, answers)
            if again and time.monotonic() >= end:
                break
            if any(replica % self._replicas == 0 for replica in again.values()):  # all of them have failed
                time.sleep(_PAUSE)
            left = again
        return answers

    def _round(
        self,
        call: str,
        questions: Questions,
        timeout: float | None,
        end: float,
        left: dict[int, int],
        answers: list[Any],
    ) -> dict[int, int]:
        """Ask the shards that are left; return those that must be asked again, of another actor."""
        groups: dict[int, list[int]] = defaultdict(list)
        for place, replica in left.items():
            groups[self._actor_of(questions[place][0], replica)].append(place)
        waited = None if timeout is None else max(0.0, end - time.monotonic())
        own = None if waited is None else _SHARE * waited  # so that what is late in an actor is not all that it answers
        sent: dict[Any, list[int]] = {}
        again: dict[int, int] = {}
        for actor, places in groups.items():
            some = [questions[place] for place in places]
            sent[self._actors[actor].ask.remote(call, some, own)] = places
        done, late = self._ray.wait(list(sent), num_returns=len(sent), timeout=waited)
        for reference in late:
            for place in sent[reference]:
                answers[place] = Failure(f"did not answer within {timeout} seconds; a larger timeout= waits for it")
        for reference in done:
            try:
                found = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as exc:
                raise cause_of(exc) from None
            except self._ray.exceptions.RayError as exc:
                reason = str(exc).strip().partition("\n")[0]
                for place in sent[reference]:
                    answers[place] = Failure(f"its actor does not answer: {type(exc).__name__}: {reason}")
                    again[place] = left[place] + 1
                continue
            for place, answer in zip(sent[reference], found, strict=True):
                answers[place] = answer
        return again

    def _actor_of(self, ref: ShardRef, replica: int) -> int:
        """Return the number of the actor of a shard."""
        home = int.from_bytes(blake2b(ref.entry.name.encode(), digest_size=8).digest(), "big")
        return (home + replica % self._replicas) % len(self._actors)

    def close(self) -> None:
        """End the actors. Closing twice is allowed."""
        actors, self._actors = self._actors, []
        if self._ray.is_initialized():
            for actor in actors:
                self._ray.kill(actor)
