"""RayExecutor: actors of Ray open the shards of libraries and answer; those that die come back."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from memvid_core import InvalidInputError
from memvid_core.errors import ClosedError
from memvid_core.library import Failure, ShardRef, ThreadExecutor
from memvid_core.library.executor import Questions
from memvid_ray.cluster import cause_of, connected
from memvid_ray.messages import PARTS, answers_of, message

__all__ = ["RayExecutor"]

_LARGE: Final = frozenset({"contents"})  # calls whose answers may have more than Ray sends at once
_AT_ONCE: Final = 16  # questions that an actor answers at the same time
_SIGNS: Final = "signs"  # of life: they have a thread of their own
_SHARE: Final = 0.95  # of the time that is left
_PAUSE: Final = 0.05  # seconds between two looks at actors that are restarting
_PING: Final = 0.1  # seconds after which an actor is asked whether it is there
_SILENT: Final = 0.3  # seconds after which another replica is asked for one that has not said so
_HEDGE: Final = 1.0  # seconds after which another replica is asked in any case
_WITHOUT_LIMIT: Final = 60.0  # seconds for which an actor is asked again, if no timeout is given


class Opener:
    """What an actor does: open shards, and ask them in threads."""

    def __init__(self) -> None:
        self._executor = ThreadExecutor()

    def ask(self, call: str, questions: Questions, timeout: float | None) -> list[Any]:
        """Ask shards at the same time."""
        return self._executor.ask(call, questions, timeout)

    def ask_in_parts(self, call: str, questions: Questions, timeout: float | None) -> tuple[Any, ...]:
        """Ask shards at the same time; return the answers as a message."""
        return message(self.ask(call, questions, timeout))

    def pid(self) -> int:
        """Return the id of the process."""
        return os.getpid()


class _Asking:
    """A question to shards, and their answers so far."""

    def __init__(self, call: str, questions: Questions, timeout: float | None) -> None:
        self.call, self.questions, self.timeout = call, questions, timeout
        self._end = time.monotonic() + (_WITHOUT_LIMIT if timeout is None else timeout)
        late = Failure(f"did not answer within {round(timeout or 0.0, 2):g} seconds; a larger timeout= waits for it")
        self.answers: list[Any] = [late] * len(questions)
        self.pings: dict[int, Any] = {}  # of actors that are late, asked whether they are there

    def left(self) -> float:
        """Return how many seconds are left."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the time of the question is over; of one without a timeout it never is."""
        return self.timeout is not None and self.left() <= 0


class _Sent(NamedTuple):
    """A message to an actor about the shards at some places, and the references of the parts of its answer."""

    actor: int
    places: list[int]
    references: list[Any]


class RayExecutor:
    """Ask the shards of libraries by actors of Ray, in any number of processes and machines.

    A shard belongs to the same actors as long as their number stays. If an actor dies, a spare one takes its place, and
    the one that Ray starts again becomes the spare. Meanwhile its shards are asked of their other actors, or wait until
    the timeout of the search. Actors take no CPUs, so that they never stand in the way of tasks. Give it to
    :meth:`memvid_core.Library.open`, and close it in the end.

    Args:
        address: The address of a cluster; by default a local Ray is started, unless the program is connected.
        actors: The number of actors; by default one for each CPU.
        replicas: How many actors can answer for a shard.
        spares: The number of actors that wait to take the place of one that dies. Ray takes seconds to start a process,
            and the shards of more actors than there are replicas and spares wait for that if they die together.
        max_restarts: How often an actor is started again; -1 for any number.

    Raises:
        InvalidInputError: A number is out of its range.
    """

    distant: Final = True

    def __init__(
        self,
        address: str | None = None,
        *,
        actors: int | None = None,
        replicas: int = 1,
        spares: int = 1,
        max_restarts: int = -1,
    ) -> None:
        for name, number in (("actors", 1 if actors is None else actors), ("replicas", replicas)):
            if not (type(number) is int and number > 0):
                raise InvalidInputError(f"{name} is a positive number, not {number!r}")
        if not (type(spares) is int and spares >= 0):
            raise InvalidInputError(f"spares is 0 or a positive number, not {spares!r}")
        if not (type(max_restarts) is int and max_restarts >= -1):
            raise InvalidInputError(f"max_restarts is a number, or -1 for any, not {max_restarts!r}")
        self._ray = connected(address)
        count = actors or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        if replicas > count:
            raise InvalidInputError(f"{replicas} replicas need as many actors, and there are {count}")
        options = {"num_cpus": 0, "max_restarts": max_restarts, "max_concurrency": _AT_ONCE}
        self._ray.method(concurrency_group=_SIGNS)(Opener.pid)  # an actor that is busy answers it, too
        remote = self._ray.remote(concurrency_groups={_SIGNS: 1}, num_cpus=0)
        made = remote(Opener).options(**options, scheduling_strategy="SPREAD")
        self._actors: list[Any] = [made.remote() for _ in range(count + spares)]
        self._order = list(range(count + spares))  # the actors that have shards, and then the spare ones
        self._lock = threading.Lock()  # of the order
        self._count, self._replicas = count, replicas
        self._down: dict[int, Any] = {}  # actors that may have failed, with the answer for which they are waited
        self._cold: dict[int, Any] = {}  # actors that have just got shards, with the answer after opening them

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        """Ask shards through their actors; see :class:`memvid_core.Executor`."""
        self._there()
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
        self._warm(asking.questions)
        sent = self._sent(asking, groups)
        waiting = left.keys() - again.keys()
        begun = time.monotonic()
        checks = [] if self._replicas == 1 else [_HEDGE, _SILENT, _PING]
        enough = len(sent)  # all of them, until another one may be faster
        while waiting:
            waits = [max(0.0, begun + checks[-1] - time.monotonic())] if checks else []
            waits += [] if asking.timeout is None else [asking.left()]
            done, _ = self._ray.wait([*sent], num_returns=min(enough, len(sent)), timeout=min(waits, default=None))
            for reference in done:
                actor, places, references = sent.pop(reference)
                found = self._answer(references)
                if isinstance(found, Failure):
                    self._has_died(actor)
                    places = [*waiting.intersection(places).difference(*(one.places for one in sent.values()))]
                    again |= {place: left[place] + 1 for place in places}
                    found = [found] * len(places)
                for place, answer in zip(places, found, strict=True):
                    if place in waiting:
                        asking.answers[place] = answer
                        waiting.discard(place)
            if not done and (not checks or asking.is_over):
                break  # what is late has failed
            if waiting and checks and time.monotonic() >= begun + checks[-1]:
                enough = 1
                sent |= self._sent(asking, self._checked(checks.pop(), asking, sent, waiting))
        return again

    def _checked(
        self, late: float, asking: _Asking, sent: Mapping[Any, _Sent], waiting: set[int]
    ) -> dict[int, list[int]]:
        """Find out whether actors that are late are there; return whom to ask about which shards instead.

        Ray tells of a dead actor after a second, and of one that stands still never.
        """
        if late == _PING:
            actors = self._there()
            asking.pings = {one.actor: actors[one.actor].pid.remote() for one in sent.values()}
            return {}
        asked: dict[int, set[int]] = defaultdict(set)
        for actor, places, _ in sent.values():
            if late == _SILENT and actor in asking.pings:  # until now, other questions were not kept from it
                self._down.setdefault(actor, asking.pings[actor])
            for place in waiting.intersection(places):
                asked[place].add(actor)
        groups: dict[int, list[int]] = defaultdict(list)
        for place in sorted(asked):
            if late == _SILENT and any(self._is_up(actor) for actor in asked[place]):
                continue  # it only takes long
            numbers = (self._actor_of(asking.questions[place][0], replica) for replica in range(self._replicas))
            other = next((number for number in numbers if number not in asked[place] and self._is_up(number)), None)
            if other is not None:
                groups[other].append(place)
        return groups

    def _sent(self, asking: _Asking, groups: Mapping[int, list[int]]) -> dict[Any, _Sent]:
        """Ask actors about the shards at some places, each in one message; return what was sent by its reference."""
        own = None if asking.timeout is None else _SHARE * asking.left()  # so that an actor answers in time
        actors = self._there()
        sent: dict[Any, _Sent] = {}
        for actor, places in groups.items():
            questions = [asking.questions[place] for place in places]
            if asking.call in _LARGE:
                references = actors[actor].ask_in_parts.options(num_returns=PARTS).remote(asking.call, questions, own)
            else:
                references = [actors[actor].ask.remote(asking.call, questions, own)]
            sent[references[0]] = _Sent(actor, places, references)
        return sent

    def _there(self) -> list[Any]:
        """Return the actors.

        Raises:
            ClosedError: This executor was closed, maybe during a question.
        """
        if not (actors := self._actors):
            raise ClosedError("this executor is closed; make another one")
        return actors

    def _answer(self, references: list[Any]) -> list[Any] | Failure:
        """Return what an actor has answered, or that it has failed."""
        try:
            values: list[Any] = self._ray.get(references)
            return values[0] if len(values) == 1 else answers_of(values)
        except self._ray.exceptions.RayTaskError as exc:
            raise cause_of(exc) from None
        except self._ray.exceptions.RayError as exc:
            reason = str(exc).strip().partition("\n")[0]
            return Failure(f"its actor does not answer: {type(exc).__name__}: {reason}")

    def _living(self, ref: ShardRef, replica: int) -> int | None:
        """Return the number of an actor of a shard that is not known to be down, the ``replica``-th if it can be.

        One that has yet to open its shards is not asked before the others.
        """
        numbers = [self._actor_of(ref, replica + more) for more in range(self._replicas)]
        numbers.sort(key=self._is_cold)
        return next((number for number in numbers if self._is_up(number)), None)

    def _is_cold(self, actor: int) -> bool:
        """Return whether an actor has got shards in place of another one, and has not opened them yet."""
        if actor not in self._cold:
            return False
        opening = self._cold.get(actor)
        if opening is None or not self._ray.wait([opening], timeout=0)[0]:
            return True
        self._cold.pop(actor, None)
        return False

    def _warm(self, questions: Questions) -> None:
        """Let the actors that have just got shards open those of some questions, while others answer for them."""
        for actor in [actor for actor, opening in list(self._cold.items()) if opening is None]:
            own = [(ref, ()) for ref, _ in questions if self._actor_of(ref, 0) == actor]
            if own:
                self._cold[actor] = self._there()[actor].ask.remote("check", own, None)

    def _is_up(self, actor: int) -> bool:
        """Return whether an actor that had failed answers again: to ask one that is down takes seconds each time."""
        told = self._told(actor)
        if told is False:
            self._has_died(actor)
        return told is True

    def _told(self, actor: int) -> bool | None:
        """Return whether an actor is there, as far as is known: False if it has died, None as long as it is silent."""
        waiting = self._down.get(actor)
        if waiting is None:
            return True
        if not self._ray.wait([waiting], timeout=0)[0]:
            return None
        try:
            self._ray.get(waiting)
        except self._ray.exceptions.RayError:
            return False
        self._down.pop(actor, None)
        return True

    def _mark_down(self, actor: int) -> None:
        """Let an actor tell when it is there again; until it does, others are asked."""
        if actors := self._actors:  # otherwise this executor was closed meanwhile
            self._down[actor] = actors[actor].pid.options(max_task_retries=-1).remote()

    def _has_died(self, actor: int) -> None:
        """Let a spare actor take the place of one that has failed, and let that tell when it is there again."""
        self._mark_down(actor)
        spares = {number: self._told(number) for number in self._order[self._count :] if number != actor}
        for number, told in spares.items():
            if told is False:
                self._mark_down(number)
        spare = next((number for number, told in spares.items() if told), None)
        with self._lock:
            place = self._order.index(actor)
            if spare is not None and place < self._count <= (other := self._order.index(spare)):
                self._order[place], self._order[other] = spare, actor
                self._cold.pop(actor, None)
                if self._replicas > 1:
                    self._cold[spare] = None

    def _actor_of(self, ref: ShardRef, replica: int) -> int:
        """Return the number of the actor of a shard."""
        home = int.from_bytes(blake2b(ref.entry.name.encode(), digest_size=8).digest(), "big")
        return self._order[(home + replica % self._replicas) % self._count]

    def close(self) -> None:
        """End the actors. Closing twice is allowed."""
        actors, self._actors = self._actors, []
        if self._ray.is_initialized():
            for actor in actors:
                self._ray.kill(actor)
