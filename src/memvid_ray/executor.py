"""RayExecutor: actors of Ray open the shards of libraries and answer; those that die come back."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping
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
_PAUSE: Final = 0.05  # seconds between two looks at actors that are restarting
_HEDGE: Final = 1.0  # seconds after which another replica is asked, too
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


class _Asking:
    """A question to shards, and their answers so far."""

    def __init__(self, call: str, questions: Questions, timeout: float | None) -> None:
        self.call, self.questions, self.timeout = call, questions, timeout
        self._end = time.monotonic() + (_WITHOUT_LIMIT if timeout is None else timeout)
        late = Failure(f"did not answer within {timeout} seconds; a larger timeout= waits for it")
        self.answers: list[Any] = [late] * len(questions)

    def left(self) -> float:
        """Return how many seconds are left."""
        return max(0.0, self._end - time.monotonic())


class RayExecutor:
    """Ask the shards of libraries by actors of Ray, in any number of processes and machines.

    A shard belongs to the same actors as long as their number stays. If an actor dies, Ray starts it again, and until
    it is there, its shards are asked of their other actors, or wait for it until the timeout of the search. Actors take
    no CPUs, so that they never stand in the way of tasks. Give it to :meth:`memvid_core.Library.open`, and close it in
    the end.

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
        self._down: dict[int, Any] = {}  # actors that have failed, with the answer for which they are waited

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        """Ask shards through their actors; see :class:`memvid_core.Executor`."""
        if not self._actors:
            raise ClosedError("this executor is closed; make another one")
        asking = _Asking(call, questions, timeout)
        left = dict.fromkeys(range(len(questions)), 0)  # the replica to ask
        while left:
            left = self._round(asking, left)
            if left and asking.left() <= 0:
                break
            if any(replica % self._replicas == 0 for replica in left.values()):  # all of them have failed
                time.sleep(_PAUSE)
        return asking.answers

    def _round(self, asking: _Asking, left: dict[int, int]) -> dict[int, int]:
        """Ask the shards that are left; return those that must be asked again, with the replica to ask."""
        again: dict[int, int] = {}
        groups: dict[int, list[int]] = defaultdict(list)
        for place, replica in left.items():
            actor = self._living(asking.questions[place][0], replica)
            if actor is None:
                asking.answers[place] = Failure("its actor does not answer: it is being started again")
                again[place] = 0
            else:
                groups[actor].append(place)
        sent = self._sent(asking, groups)
        waiting = left.keys() - again.keys()
        hedged = self._replicas == 1
        while waiting:
            waits = [] if hedged else [_HEDGE]
            waits += [] if asking.timeout is None else [asking.left()]
            done, _ = self._ray.wait([*sent], timeout=min(waits, default=None))
            if not done and hedged:
                break  # what is late has failed
            if not done:  # an actor that has died is told of late, and one may be slow: another one can be faster
                hedged = True
                others = self._others(asking, sent, waiting)
                for actor, _ in sent.values():
                    self._is_down(actor)  # unless it answers at once that it is not
                sent |= self._sent(asking, others)
            for reference in done:
                actor, places = sent.pop(reference)
                found = self._answer(reference)
                if isinstance(found, Failure):
                    self._is_down(actor)
                    places = [*waiting.intersection(places).difference(*(others for _, others in sent.values()))]
                    again |= {place: left[place] + 1 for place in places}
                    found = [found] * len(places)
                for place, answer in zip(places, found, strict=True):
                    if place in waiting:
                        asking.answers[place] = answer
                        waiting.discard(place)
        return again

    def _sent(self, asking: _Asking, groups: Mapping[int, list[int]]) -> dict[Any, tuple[int, list[int]]]:
        """Ask actors about the shards at some places, each in one message; return both by the reference."""
        own = None if asking.timeout is None else _SHARE * asking.left()  # so that an actor answers in time
        return {
            self._actors[actor].ask.remote(asking.call, [asking.questions[place] for place in places], own): (
                actor,
                places,
            )
            for actor, places in groups.items()
        }

    def _answer(self, reference: Any) -> list[Any] | Failure:
        """Return what an actor has answered, or that it has failed."""
        try:
            answers: list[Any] = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as exc:
            raise cause_of(exc) from None
        except self._ray.exceptions.RayError as exc:
            reason = str(exc).strip().partition("\n")[0]
            return Failure(f"its actor does not answer: {type(exc).__name__}: {reason}")
        return answers

    def _others(
        self, asking: _Asking, sent: Mapping[Any, tuple[int, list[int]]], waiting: set[int]
    ) -> dict[int, list[int]]:
        """Return other actors for the shards that are late."""
        asked = {place: actor for actor, places in sent.values() for place in places}
        groups: dict[int, list[int]] = defaultdict(list)
        for place in sorted(waiting):
            numbers = (self._actor_of(asking.questions[place][0], replica) for replica in range(self._replicas))
            other = next((number for number in numbers if number != asked[place] and self._is_up(number)), None)
            if other is not None:
                groups[other].append(place)
        return groups

    def _living(self, ref: ShardRef, replica: int) -> int | None:
        """Return the number of an actor of a shard that is not known to be down, the ``replica``-th if it can be."""
        numbers = (self._actor_of(ref, replica + more) for more in range(self._replicas))
        return next((number for number in numbers if self._is_up(number)), None)

    def _is_up(self, actor: int) -> bool:
        """Return whether an actor that had failed answers again: to ask one that is down takes seconds each time."""
        waiting = self._down.get(actor)
        if waiting is None:
            return True
        if not self._ray.wait([waiting], timeout=0)[0]:
            return False
        try:
            self._ray.get(waiting)
        except self._ray.exceptions.RayError:
            self._is_down(actor)
            return False
        self._down.pop(actor, None)
        return True

    def _is_down(self, actor: int) -> None:
        """Take note that an actor has failed, and let it tell when it is there again."""
        if actor < len(self._actors):  # otherwise this executor was closed meanwhile
            self._down[actor] = self._actors[actor].pid.options(max_task_retries=-1).remote()

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
