"""Damage to the memory's file, with the index kept or deleted: results are right, or the damage is reported.

After each damage, every id, record, vector and word is queried. Content that was never written is always wrong. A state
that differs must have been announced: by a warning at opening or an error on reading, by ``info().lost``, and by
``verify``, which names any changed byte. Damage of one sector may lose the records of the commits in it and one more.
The warning is repeated until the damage is repaired, and a compaction refuses until then.
"""

from __future__ import annotations

import random
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from memvid_core import DamageWarning, Memory, MemoryFileError, MemvidError, ReadOnlyError, TornTailWarning
from soak.damage import Damaged, damage
from soak.model import State, WrongAnswer, check, put, unique_word, vector_of, versions_in
from soak.past import Past

__all__ = ["run"]

_SECONDS = 5.0
_CLOSE = 2e-3
_GO_ON = 0.08  # of the cases: written to, compacted, and looked at twice more


class Look:
    """Query everything in a memory that is opened."""

    def __init__(self, past: Past) -> None:
        self.unreadable: set[str] = set()
        self.unfound: set[str] = set()
        self.found: State = {}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with Memory.open(past.path, embedder="given") as memory:
                self.ids = memory.ids()
                for record_id in self.ids:
                    self._read(memory, record_id)
                self._search_all(memory)
                self.lost = memory.info().lost
                self.report = memory.verify()
        kinds = [warning.category for warning in caught]
        self.damage_named = DamageWarning in kinds
        self.torn_named = TornTailWarning in kinds
        strange = [str(w.message) for w in caught if not issubclass(w.category, DamageWarning | TornTailWarning)]
        check(not strange, f"strange: warnings {strange}")

    def _read(self, memory: Memory, record_id: str) -> None:
        try:
            self.found |= versions_in([memory.get(record_id)])
        except MemvidError:
            self.unreadable.add(record_id)

    def _search_all(self, memory: Memory) -> None:
        """Ask for every record by its vector, all at once where that works, and by its word."""
        found = list(self.found.items())
        try:
            self._take_vectors(memory, found)
        except MemvidError:
            for one in found:
                try:
                    self._take_vectors(memory, [one])
                except MemvidError:
                    self.unreadable.add(one[0])
        for record_id, version in found:
            try:
                worded = memory.search(unique_word(record_id, version), mode="lexical")
            except MemvidError:
                self.unreadable.add(record_id)
            else:
                if [hit.id for hit in worded] != [record_id]:
                    self.unfound.add(record_id)

    def _take_vectors(self, memory: Memory, records: list[tuple[str, int]]) -> None:
        stored = memory.get_vectors([record_id for record_id, _ in records])
        asked = [vector_of(*record) for record in records]
        for (record_id, _), query, hits in zip(records, asked, memory.search_many(asked, k=1), strict=True):
            vector = stored.get(record_id)
            close = vector is None or abs(vector - query).max() < 0.2
            check(close, f"garbage: the vector of {record_id} is {vector}")
            same = [(hit.id, hit.cosine or 0.0) for hit in hits]
            if vector is None or not (same and same[0][0] == record_id and abs(same[0][1] - 1) < _CLOSE):
                self.unfound.add(record_id)


def _judge(past: Past, made: Damaged, *, kept: bool) -> tuple[str, Look | None]:
    """Examine a damaged memory; return "right", "named" or "refused", and what was seen.

    Raises:
        WrongAnswer: Something differs and nothing was said, or more is lost than may be.
    """
    try:
        look = Look(past)
    except MemvidError as exc:
        check(not made.small, f"unopenable: {exc}")
        return "refused", None
    if not kept and past.is_older(made.data):
        return "right", look  # an intact older file, and nothing shows that it was newer
    for record_id, version in look.found.items():
        check(version in past.versions.get(record_id, set()), f"garbage: {record_id}@{version} was never written")
    missing = {i for i, v in past.state.items() if look.found.get(i) != v or i in look.unreadable}
    extra = set(look.ids) - set(past.state)
    named = look.damage_named or (look.torn_named and not kept)
    changed = len(made.data) == len(past.data) and made.data != past.data
    check(named or not (changed and look.report.ok), "unseen: bytes have changed, and verify() is clean")
    silent = (missing | extra | look.unfound) - look.unreadable
    check(named or not silent, f"silent: {sorted(silent)} differ (missing {sorted(missing)}, extra {sorted(extra)})")
    allowed = past.may_lose(made.touched)
    if made.small or "zeros" in made.what:
        costs = missing - allowed
        check(len(costs) < 2, f"amplified: {sorted(costs)} are lost in addition to {sorted(missing & allowed)}")
    if not missing and not extra and not look.unfound:
        return "named" if named or look.torn_named or not look.report.ok else "right", look
    check(not look.report.ok, f"unverified: {sorted(missing | extra | look.unfound)} differ and verify() is clean")
    gone = {i for i in missing if i not in look.ids} - (set() if kept else past.uncounted(made.touched))
    counted = look.torn_named or look.lost >= len(gone)
    check(counted, f"uncounted: {len(gone)} lost, info().lost is {look.lost}")
    return "named", look


def _go_on(past: Past, before: Look) -> None:
    """Write to a damaged memory: records stay, the warning is repeated, and a compaction refuses or repairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with Memory.open(past.path, "a", embedder="given") as memory:
            try:
                put(memory, {"after-0": 1})
            except ReadOnlyError as exc:  # without its header it can be read, and not written
                check("header is lost" in str(exc) and not before.report.ok, f"refused: {exc}")
                check(Look(past).found == before.found, "refused: a commit that was refused changed something")
                return
    after = Look(past)
    kept = {i: v for i, v in before.found.items() if after.found.get(i) != v}
    check(not kept, f"overwritten: {kept} were there before the next commit")
    check(after.found.get("after-0") == 1, "lost: the commit after the damage is not there")
    check(after.damage_named or not before.damage_named, "forgotten: no warning after the next commit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        memory = Memory.open(past.path, "a", embedder="given")
    with memory:
        if after.report.damage:
            with suppress(MemoryFileError):
                memory.compact()
                _check_repaired(past, after)
        memory.compact(drop_damaged=True)
        check(memory.verify().ok, f"unrepaired: {memory.verify()}")
    last = Look(past)
    kept = {i: v for i, v in after.found.items() if last.found.get(i) != v and i not in after.unreadable}
    check(not kept, f"dropped: {kept} could be read before the compaction")
    check(not last.damage_named, "unrepaired: a warning after compact(drop_damaged=True)")


def _check_repaired(past: Past, before: Look) -> None:
    """Check that a compaction, which did not refuse, lost nothing."""
    lasting = [damage for damage in before.report.damage if not damage.restored]
    check(not lasting, "compacted: a compaction made the damage final without drop_damaged")
    after = Look(past)
    found = {i: v for i, v in after.found.items() if i in before.found or i not in before.unreadable}
    check(found == before.found, "compacted: the repaired file has other records")
    check(not after.report.damage, f"compacted: {after.report.damage} is left")


def cases(folder: Path, seed: int, scale: float) -> Iterator[tuple[str, str]]:
    """Damage one memory many times; yield each damage and its outcome.

    A case that fails yields the message, so that a caller can count all of them.
    """
    rng = random.Random(seed)
    codec = "qr" if rng.random() < 0.08 else "pcm"
    past = Past(folder, seed, codec=codec, vector_dtype=rng.choice(["float16", "float32"]))
    for _ in range(max(4, int((20 if codec == "qr" else 300) * scale))):
        made, kept, on = damage(past.data, rng), rng.random() < 0.5, rng.random() < _GO_ON
        past.restore(made.data, past.index if kept else None)
        what = f"{codec}, {made.what}, index {'kept' if kept else 'deleted'}"
        started = time.monotonic()
        try:
            outcome, look = _judge(past, made, kept=kept)
            if on and look is not None:
                _go_on(past, look)
            check(time.monotonic() - started < _SECONDS, "hang")
        except WrongAnswer as exc:
            outcome = f"WRONG {exc}"
        except Exception as exc:
            outcome = f"WRONG raw: {type(exc).__name__}: {exc}"
        yield what, outcome


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Run one round: 300 damages of one memory (20 of a QR memory)."""
    counts: Counter[str] = Counter()
    for what, outcome in cases(folder, seed, scale):
        if outcome.startswith("WRONG"):
            raise WrongAnswer(f"case {counts['damages']} ({what}): {outcome}")
        counts.update(["damages", outcome])
    return counts
