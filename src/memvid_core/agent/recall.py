"""Recall: a question in, exchanges out, in one pass and without a model.

Reads from top to bottom: candidates, neighbors, sessions, speakers and roles, times, budget, text.

A hit is seldom the whole answer: what answers a question is near the turn that repeats its words. So every
candidate lends a part of its score to its neighbors in the conversation, and a session lends to its turns.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from memvid_core.agent.checks import count_of, counter_of, text_of, texts_of
from memvid_core.agent.coverage import READ, coverage
from memvid_core.agent.folding import fold
from memvid_core.agent.passages import asked_of, terms_of
from memvid_core.agent.recalled import PASSAGE, LeftOut, Recall, Recalled, in_order, line_of
from memvid_core.agent.records import AGENT, Item, read_item, turn_id
from memvid_core.agent.speakers import asks_assistant, asks_both, names
from memvid_core.agent.store import Store
from memvid_core.agent.time_words import Span, spans
from memvid_core.agent.times import seconds, utc_now
from memvid_core.agent.tokens import estimate_tokens
from memvid_core.agent.trust import HEADING
from memvid_core.agent.versions import CURRENT, Time, newer_of
from memvid_core.model import Hit, Record

__all__ = ["recall"]

# Each constant was chosen on the questions of even number of two sets: LoCoMo 1-5 (people) and BEAM 100K 1-10 (a user
# and an assistant). A pair of figures is R@10 of all their questions in percent, LoCoMo first, with the other constants
# as they are here but LENGTH, which was added last: 81.0, 57.7.
# `python -m benchmarks.agent_memory --constants` measures recall without each.

CANDIDATES: Final = 250
"""How many turns and items to start from; 50 more cost a millisecond."""

KINDS: Final = ("turn", "item")

NEXT: Final = 0.25
"""The share of its score that a turn lends to the turns next to it, however long they are. 0: 80.7, 57.0."""

NEXT_NEAR: Final = 0.1
"""What it lends them above that, if they are near. 0: 81.2, 58.0, but 0.9 and 0.7 less in our own sets."""

ANSWER_NEAR: Final = 0.5
"""What a question lends to the turn after it, above that: the answer often repeats none of its words. 0: 80.4, 57.8."""

SECOND_NEAR: Final = 0.4
"""What a turn lends to the turns two before and two after it, if they are near. 0: 80.1, 58.0."""

DISTANCE: Final = 350.0
"""The characters between the middles of two turns over which nearness falls to 1/e."""

SESSION: Final = 0.3
"""What the best session adds to its turns, others in proportion. 0: 80.7, 58.5."""

SESSION_TURNS: Final = 2
"""How many of its turns a session is judged by. 4: 0.2 more, and 0.4 more of the sessions among the first five; but
a long session then hides a short one that corrects what it says."""

SESSION_WORDS: Final = 0.25
"""What the session that has most of the question's words adds to its turns, others in proportion. 0: 80.5, 58.1."""

WORDS: Final = 0.2
"""What the turn adds that has, with those next to it, most of the question's words. 0: 80.3, 57.8."""

SPEAKER: Final = 1.2
"""The factor for turns of the one speaker whom a question names. 1: 80.1, 57.7."""

ASSISTANT: Final = 0.67
"""The factor for turns of an assistant, unless a question is about these or about all that was said. 1: 81.0, 52.8."""

LONG: Final = 300
"""From how many characters a turn is long: it has the words of many questions by chance."""

LENGTH: Final = 0.1
"""The factor for long turns is LONG / length, to this power; not for questions about what the assistant said, or about
all that was said. 81.3, 59.1; 0: 81.3, 57.7."""

TIME: Final = 1.25
"""The factor for turns that were said, or speak of, when a question says. 1: 80.9, 57.7."""

ITEM: Final = 0.5
"""The share of its score that an item lends to its turns. Items by rules change R@10 by 0.1 at most."""

HALF_LIFE: Final = 30.0
"""The days after which an item counts half, where salience is asked for: memU's."""

FETCHED: Final = 30
"""How many turns that no search found are read: those to which the most was lent. 60: the same, and slower."""

SMALLEST: Final = 8
"""A budget with fewer tokens left than this is spent: no line is shorter."""


def recall(
    store: Store,
    question: str,
    where: Mapping[str, Any],
    *,
    budget: int = 1_000,
    now: datetime | None = None,
    as_of: datetime | None = None,
    count_tokens: Callable[[str], int] = estimate_tokens,
    heading: str = HEADING,
    salience: bool = False,
    k: int | None = None,
    known: Collection[str] = (),
) -> Recall:
    """Recall what answers a question.

    Args:
        store: Where the records are.
        question: Any text; no sign in it has a special meaning.
        where: The filter of a scope.
        budget: How many tokens the text may have, heading included.
        now: The present, for words such as "yesterday".
        as_of: Answer with what was known then.
        count_tokens: Counts the tokens of a text.
        heading: What the text begins with.
        salience: Whether items count more that were said often and lately. It is off: no measurement speaks for it.
        k: How many turns and items to show at most; None sets no limit but the budget.
        known: Texts that the reader has before it already: what says the same is not shown.

    Raises:
        InvalidInputError: The question is empty, ``budget`` or ``k`` is not a whole number of 0 or more, or ``known``
            is not a list of texts.
    """
    text_of(question, "question")
    count_of(budget, "budget")
    if k is not None:
        count_of(k, "k")
    seen = {fold(text[: 4 * PASSAGE]) for text in texts_of(known, "known")}
    present, asked = now or utc_now(), asked_of(question)
    named = spans(asked, present)
    found = _candidates(store, asked, where, as_of or present, past=as_of is not None)
    if salience:
        _weigh_items(found, present)
    _lend_to_neighbors(store, found, where, as_of)
    _lend_by_session(found, asked)
    _weigh_speakers(found, asked)
    _lift_times(found, named)
    _lift_corrections(store, found, where)
    ranked = sorted(found.values(), key=lambda hit: (-hit.score, hit.id))
    answer = Recall(question=question, ranked=ranked, spans=named)
    counted = count_tokens if count_tokens is estimate_tokens else counter_of(count_tokens)
    _fill(answer, budget, counted, heading, k, seen)
    return answer


# --- candidates ---


def _candidates(
    store: Store, question: str, where: Mapping[str, Any], present: datetime, *, past: bool
) -> dict[str, Recalled]:
    """Return the best turns and items by words and by meaning; items lend to the turns that they come from."""
    time = Time(present.timestamp(), past)
    hits = _searched(store, question, where, time)
    best = max((hit.score for hit in hits), default=0.0) or 1.0
    found: dict[str, Recalled] = {}
    corrected: list[tuple[Item, float]] = []
    for hit in hits:
        score = hit.score / best
        if hit.record.metadata[AGENT]["kind"] == "turn":  # the store has checked it
            if not past or _known_at(hit.record, present):
                found[hit.id] = _turn(hit.record, score)
        elif time.holds(item := read_item(hit.record)):
            found[hit.id] = _item(item, {"search": score})
        elif time.corrected(item):
            corrected.append((item, score))
    newer = newer_of(store, [item for item, _ in corrected], where, time) if corrected else {}
    for older, score in corrected:
        if older.id in newer:
            item = newer[older.id]
            there = found.setdefault(item.id, _item(item, {}))
            there.corrects = [*there.corrects, *older.sources]
            _add(there, "older", max(score - there.score, 0.0))
    _lend_to_sources(store, found, where, present if past else None)
    return found


def _searched(store: Store, question: str, where: Mapping[str, Any], time: Time) -> list[Hit]:
    """Search; where versions of what was corrected again and again crowd out the rest, for that alone, or deeper."""
    hits = store.search(question, where, CANDIDATES, KINDS)
    if sum("superseded_at" in hit.record.metadata[AGENT] for hit in hits) <= CANDIDATES // 2:
        return hits
    if time.past:
        return store.search(question, where, 4 * CANDIDATES, KINDS)
    return [*hits, *store.search(question, {**where, **CURRENT}, CANDIDATES, KINDS)]


def _known_at(record: Record, time: datetime) -> bool:
    return seconds(record.metadata["created_at"]) <= time.timestamp()


def _turn(record: Record, score: float) -> Recalled:
    metadata = record.metadata
    about = metadata[AGENT]
    return Recalled(
        id=record.id,
        kind="turn",
        text=record.text[about["head"] :],
        who=about["who"],
        role=about["role"],
        created_at=metadata["created_at"],
        happened_at=metadata.get("happened_at"),
        session=about["session"],
        position=about["at"],
        score=score,
        parts={"search": score} if score else {},
    )


def _item(item: Item, parts: dict[str, float]) -> Recalled:
    return Recalled(
        id=item.id,
        kind="item",
        text=item.summary,
        who=item.origin,
        role="item",
        created_at=item.created_at,
        happened_at=item.happened_at,
        score=sum(parts.values()),
        sources=item.sources,
        note=item.supersedes or "",
        same_as=item.same_as,
        count=item.count,
        parts=parts,
    )


def _weigh_items(found: Mapping[str, Recalled], present: datetime) -> None:
    """Weigh items by how often they were said, and halve them for every thirty days since."""
    for hit in found.values():
        if hit.kind == "item":
            days = max(present.timestamp() - seconds(hit.created_at), 0.0) / 86_400
            _multiply(hit, "salience", math.log(hit.count + 1) / math.log(2) * 2 ** (-days / HALF_LIFE))


def _lend_to_sources(
    store: Store, found: dict[str, Recalled], where: Mapping[str, Any], as_of: datetime | None
) -> None:
    """Let each item lend to the last of the turns that it comes from; those that no search found are read."""
    items = [hit for hit in found.values() if hit.kind == "item"]
    missing = [source for item in items for source in item.sources[-3:] if source not in found]
    read = store.get(missing, where, "turn")
    found.update(
        {name: _turn(record, 0.0) for name, record in read.items() if as_of is None or _known_at(record, as_of)}
    )
    for item in items:
        for source in item.sources[-3:]:
            if source in found:
                _add(found[source], "items", ITEM * item.score)


def _add(hit: Recalled, part: str, amount: float) -> None:
    hit.score += amount
    hit.parts[part] = hit.parts.get(part, 0.0) + amount


# --- neighbors ---


def _lend_to_neighbors(
    store: Store, found: dict[str, Recalled], where: Mapping[str, Any], as_of: datetime | None
) -> None:
    """Let each turn lend to the two before and the two after it; those that no search found are read."""
    lenders = [(hit, hit.score) for hit in found.values() if hit.session is not None and hit.score > 0]
    placed: defaultdict[str | None, dict[int, Recalled]] = defaultdict(dict)
    for hit in _turns(found):
        placed[hit.session][hit.position or 0] = hit
    for record in store.get(_most_lent_to(lenders, placed), where, "turn").values():
        if as_of is None or _known_at(record, as_of):
            hit = found[record.id] = _turn(record, 0.0)
            placed[hit.session][hit.position or 0] = hit
    # How near two turns are, from 1 to 0: e^(-d / DISTANCE), where d is the characters between their middles. It is the
    # product of these for the two, and of the square of that of a turn between them.
    half = {hit.id: math.exp(-len(hit.text) / 2 / DISTANCE) for hit in _turns(found)}
    gained: defaultdict[str, float] = defaultdict(float)
    for hit, score in lenders:
        there, position = placed[hit.session], hit.position or 0
        answered = ANSWER_NEAR if hit.text.rstrip().endswith(("?", "\uff1f")) else 0.0
        for step, near in ((-1, NEXT_NEAR), (1, NEXT_NEAR + answered)):
            nearness = half[hit.id]
            if (next_to := there.get(position + step)) is not None:
                gained[next_to.id] += score * (NEXT + near * nearness * half[next_to.id])
                nearness *= half[next_to.id] ** 2
            if (second := there.get(position + 2 * step)) is not None:
                gained[second.id] += score * SECOND_NEAR * nearness * half[second.id]
    for name, amount in gained.items():
        _add(found[name], "neighbors", amount)


def _most_lent_to(
    lenders: Iterable[tuple[Recalled, float]], placed: Mapping[str | None, Mapping[int, Recalled]]
) -> list[str]:
    """Return the ids of the turns that no search found and that are next to the best."""
    lent: defaultdict[tuple[str, int], float] = defaultdict(float)
    for hit, score in lenders:
        session, there, position = hit.session or "", placed[hit.session], hit.position or 0
        for near in (position - 2, position - 1, position + 1, position + 2):
            if near >= 0 and near not in there:
                lent[session, near] += score
    best = heapq.nlargest(FETCHED, lent, key=lent.__getitem__)
    return [turn_id(*place) for place in best]


# --- sessions ---


def _lend_by_session(found: dict[str, Recalled], question: str) -> None:
    """Let each session lend to its turns, by what the search gave its best ones, and by the question's words in it."""
    turns: defaultdict[str | None, list[Recalled]] = defaultdict(list)
    for hit in _turns(found):
        turns[hit.session].append(hit)
    worth = {
        session: sum(sorted((hit.parts.get("search", 0.0) for hit in hits), reverse=True)[:SESSION_TURNS])
        for session, hits in turns.items()
    }
    best = max(worth.values(), default=0.0)
    texts = {(hit.session, hit.position or 0): f"{hit.who} {hit.text[:READ]}" for hit in _turns(found)}
    covered = coverage(question, texts)
    for session, hits in turns.items():
        if best > 0 and worth[session] > 0:
            lent = SESSION * worth[session] / best
            words = SESSION_WORDS * covered.sessions[session]
            for hit in hits:
                shared = hit.parts["words"] = words + WORDS * covered.turns[session, hit.position or 0]
                hit.parts["session"] = lent
                hit.score += lent + shared


def _turns(found: Mapping[str, Recalled]) -> Iterator[Recalled]:
    return (hit for hit in found.values() if hit.kind == "turn")


# --- speakers and roles ---


def _weigh_speakers(found: dict[str, Recalled], question: str) -> None:
    """Raise the turns of the one speaker whom the question names; lower those of an assistant, and long ones."""
    asked = question.casefold()
    speakers = {hit.who for hit in found.values() if hit.kind == "turn" and hit.who != hit.role}
    named = [who for who in speakers if names(asked, who.casefold())]
    equal = asks_assistant(question) or asks_both(question)
    for hit in found.values():
        if len(named) == 1 and hit.who == named[0]:
            _multiply(hit, "speaker", SPEAKER)
        if hit.role == "assistant" and not equal:
            _multiply(hit, "role", ASSISTANT)
        if hit.kind == "turn" and len(hit.text) > LONG and not equal:
            _multiply(hit, "length", (LONG / len(hit.text)) ** LENGTH)


def _multiply(hit: Recalled, part: str, factor: float) -> None:
    hit.score *= factor
    hit.parts[part] = factor


# --- times ---


def _lift_times(found: dict[str, Recalled], named: Sequence[Span]) -> None:
    """Lift what was said, or happened, in the days that the question names. Nothing is left out for its time."""
    if named:
        for hit in found.values():
            if any(span.holds(day) for day in _days_of(hit) for span in named):
                _multiply(hit, "time", TIME)


def _days_of(hit: Recalled) -> Iterable[date]:
    for text in (hit.created_at, hit.happened_at):
        if text:
            yield date.fromisoformat(text[:10])


def _lift_corrections(store: Store, found: Mapping[str, Recalled], where: Mapping[str, Any]) -> None:
    """Put an item that was corrected before the turns of it and of older versions, and note what it said before.

    Forgotten records are never mentioned.
    """
    corrected = [hit for hit in found.values() if hit.note]
    older = store.get((hit.note for hit in corrected), where)
    for hit in corrected:
        record = older.get(hit.note)
        hit.note = "" if record is None else f"(until {hit.created_at[:10]}: {record.text})"
        before = [] if record is None else record.metadata.get("sources", [])
        hit.corrects = [name for name in {*hit.corrects, *before} - {*hit.sources} if name in found]
        best = max((found[name].score for name in (*hit.sources, *hit.corrects) if name in found), default=0.0)
        _add(hit, "correction", max(best - hit.score, 0.0) + 1e-6)


# --- budget and text ---


def _fill(
    answer: Recall,
    budget: int,
    count_tokens: Callable[[str], int],
    heading: str,
    k: int | None,
    seen: set[str],
) -> None:
    """Take the best that fit into the budget, and write them down: items first, then turns in the order of time."""
    left = budget - count_tokens(heading)
    terms = terms_of(asked_of(answer.question))
    taken: list[Recalled] = []
    outdated: set[str] = set()
    for hit in answer.ranked:
        why = "k" if k is not None and len(taken) >= k else _why_not(hit, seen, left)
        why = why or ("corrected" if hit.id in outdated else "")
        if not why:
            hit.shown = line_of(hit, terms)
            cost = count_tokens(f"\n{hit.shown}")
            why = "budget" if cost > left else ""
        if why:
            answer.left_out.append(LeftOut(hit.id, hit.score, why))
            outdated.update(hit.corrects)
            continue
        seen.update(_names_of(hit))
        left -= cost
        taken.append(hit)
    if taken:
        answer.hits = in_order(taken)
        answer.text = "\n".join([heading, *(hit.shown for hit in answer.hits)])
        answer.tokens = count_tokens(answer.text)


def _why_not(hit: Recalled, seen: set[str], left: int) -> str:
    """Return why something is not shown, as far as that is known before it is written down."""
    if left < SMALLEST or min(len(hit.text), 4 * PASSAGE) > 4 * left:
        return "budget"
    if hit.kind == "item" and hit.who == "rules" and not hit.note:
        return "turn"
    return "" if seen.isdisjoint(_names_of(hit)) else "repeat"


def _names_of(hit: Recalled) -> tuple[str, str]:
    """Return what a turn or item has in common with others that say the same: its text, or the item it is linked to."""
    return fold(hit.text[: 4 * PASSAGE]), hit.same_as or hit.id
