"""Memorizing: conversations into turns, turns into items, items into categories; and what changes them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from memvid_core.agent import extraction
from memvid_core.agent.categories import Categories, Summarize, bullets, category_id
from memvid_core.agent.config import MemorizeConfig
from memvid_core.agent.conversations import Conversations
from memvid_core.agent.forgetting import Receipt, plan_forget
from memvid_core.agent.item_plan import ItemPlan
from memvid_core.agent.items import Items, names_of, newest_items
from memvid_core.agent.messages import Conversation
from memvid_core.agent.models import Model
from memvid_core.agent.pipelines import Pipeline, Step
from memvid_core.agent.records import (
    Category,
    Draft,
    Item,
    Resource,
    Turn,
    changed,
    read_category,
    read_resource,
    read_turn,
    resource_draft,
    resource_id,
)
from memvid_core.agent.results import Memorized
from memvid_core.agent.rules import Fact, facts_of
from memvid_core.agent.scopes import ScopeRules
from memvid_core.agent.store import Changes, Store
from memvid_core.errors import ChatError, InvalidInputError

__all__ = ["Memorizer", "equal_to"]

_SHOWN = 30
"""How many known items a model is shown: the newest."""


def equal_to(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filter of the records that have all values of a scope."""
    return {name: {"$eq": value} for name, value in scope.items()}


class Memorizer:
    """Writes an agent's memory. A conversation and what rules read in it are one commit; what a model reads is another.

    Args:
        store: Where the records are.
        config: How to memorize.
        model: Extracts items and writes summaries, where the configuration says so.
        scopes: The rules of scopes.
        clock: Tells the present.
    """

    def __init__(
        self,
        store: Store,
        config: MemorizeConfig,
        model: Model | None,
        scopes: ScopeRules,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._config = config
        self._model = model
        self._scopes = scopes
        self._clock = clock
        self._conversations = Conversations(store)
        self._items = Items(store)
        self._categories = Categories(store, config.categories)
        self.pipeline = self._pipeline()

    def memorize(
        self, conversations: Sequence[Conversation], scope: dict[str, Any], url: str | None, modality: str
    ) -> Memorized:
        """Remember conversations: their turns, and the items that are read in them.

        Raises:
            InvalidInputError: There is nothing to remember.
        """
        given = {"conversations": conversations, "scope": scope, "url": url, "modality": modality}
        one = len(conversations) == 1 and self._config.extract == "rules" and self.pipeline.as_made
        with self._store.together() if one else nullcontext():  # steps of others may take long, and see commits
            memorized: Memorized = self.pipeline.run(**given)["memorized"]
        return memorized

    def _pipeline(self) -> Pipeline:
        kept = ("conversations", "scope", "url", "modality")
        steps = [
            Step("remember", self._remember, kept, ("resources", "turns")),
            Step("extract", self._extracted, ("resources", "turns", "scope"), ("memorized",)),
        ]
        has = [] if self._model is None else ["model"]
        return Pipeline("memorize", steps, given=kept, returns=["memorized"], has=has)

    def _remember(
        self, conversations: Sequence[Conversation], scope: dict[str, Any], url: str | None, modality: str
    ) -> dict[str, Any]:
        now = self._clock()
        roles = (*self._config.roles, "document")
        options: dict[str, Any] = {"roles": roles, "url": url, "modality": modality}
        with_text = [each for each in conversations if self._conversations.remembered(each, roles)]
        if not with_text:
            raise InvalidInputError(f"no message of {' or '.join(self._config.roles)} with a text")
        added = [self._conversations.add(each, scope, now, **options) for each in with_text]
        turns = [turn for each in added for turn in each.turns]
        return {"resources": [each.resource for each in added], "turns": turns}

    def _extracted(self, resources: Sequence[Resource], turns: Sequence[Turn], scope: dict[str, Any]) -> dict[str, Any]:
        return {"memorized": self.complete(resources, turns, scope)}

    def complete(self, resources: Sequence[Resource], turns: Sequence[Turn], scope: dict[str, Any]) -> Memorized:
        """Read items from the unread parts of resources that exist, and return what the steps produced."""
        calls = 0 if self._model is None else self._model.calls
        items, failures = ([], []) if self._config.extract == "raw" else self._extract(resources, turns, scope)
        owner = self._scopes.owner(scope)
        names = [category_id(owner, name) for name in names_of(items)]
        return Memorized(
            resource=resources[-1],
            resources=list(resources),
            turns=list(turns),
            items=items,
            categories=[read_category(record) for record in self._store.get(names).values()],
            failures=failures,
            model_calls=0 if self._model is None else self._model.calls - calls,
        )

    def _extract(
        self, resources: Sequence[Resource], new: Sequence[Turn], scope: Mapping[str, Any]
    ) -> tuple[list[Item], list[str]]:
        """Read items from the turns of resources that were not read yet, of which some are new."""
        known = {turn.id: turn for turn in new}
        facts: list[Fact] = []
        failures: list[str] = []
        done: list[Resource] = []
        for resource in resources:
            if resource.extracted >= resource.turns:
                continue
            session = resource.id.removeprefix("session-")
            ids = [f"{session}-{place}" for place in range(resource.extracted, resource.turns)]
            stored = self._store.get(name for name in ids if name not in known)
            there = known | {name: read_turn(record) for name, record in stored.items()}
            turns = [there[name] for name in ids if name in there]
            try:
                facts += self._facts(turns, scope)
                done.append(changed(resource, extracted=resource.turns))
            except ChatError as exc:
                failures.append(f"{resource.id}: {exc}")
        if not done:
            return [], failures
        plan = self.write_items(facts, scope, "rules" if self._config.extract == "rules" else "llm", done)
        return plan.result, failures

    def _facts(self, turns: Sequence[Turn], scope: Mapping[str, Any]) -> list[Fact]:
        if self._config.extract == "rules" or self._model is None:
            return [fact for turn in turns for fact in facts_of(turn)]
        known = newest_items(self._store, self._scopes.owner(scope), _SHOWN)
        facts: list[Fact] = []
        for part in extraction.segments(turns, self._config.segment_tokens):
            facts += extraction.extract(self._model, part, self._config.categories, known, self._config.attempts)
        return facts

    def write_items(
        self, facts: Sequence[Fact], scope: Mapping[str, Any], origin: str, done: Sequence[Resource] = ()
    ) -> ItemPlan:
        """Write items, the categories that they touch, and how far their resources were read, as one commit."""
        owner = self._scopes.owner(dict(scope))
        now = self._clock()
        written: dict[str, str] = {}

        def plan() -> Changes:
            current = self._still_there(done)
            there = self._store.get(source for fact in facts for source in fact.sources)
            unread = _of_turns(facts, _unread(there, done, current))
            planned = self._items.plan(self._categories.named(unread, owner), owner, now, origin)
            drafts = [*planned.drafts(), *self._summaries(planned, owner, now, self._summarizer(written))]
            drafts += _read_to(done, current)
            return Changes(drafts, result=planned)

        result: ItemPlan = self._store.write(plan)
        return result

    def _still_there(self, done: Sequence[Resource]) -> dict[str, Resource]:
        """Return resources as they are now, by id, without those that others have forgotten, or begun again."""
        born = {resource.id: resource.born for resource in done}
        found = {name: read_resource(record) for name, record in self._store.get(born).items()}
        return {name: resource for name, resource in found.items() if resource.born == born[name]}

    def _summarizer(self, written: dict[str, str]) -> Summarize:
        """Return what writes summaries; a model is asked once for the same items, however often a plan is made."""
        model = self._model if self._config.extract == "llm" else None
        if model is None:
            return bullets

        def summarize(category: Category, items: Sequence[Item]) -> str:
            key = f"{category.id} {[(item.id, item.version, item.count) for item in items]}"
            if key not in written:
                written[key] = extraction.summarize_with(model, category, items)
            return written[key]

        return summarize

    def _summaries(self, plan: ItemPlan, owner: Mapping[str, Any], now: datetime, summarize: Summarize) -> list[Any]:
        names = plan.categories()
        names |= self._categories.stale(plan.counted_categories() - names, owner)
        return self._categories.drafts(names, plan.items, owner, now, summarize)

    def update_item(self, memory_id: str, fields: Mapping[str, Any], owner: Mapping[str, Any]) -> Item:
        """Correct an item, and the summaries of its categories; of an older version, the one that holds now.

        Raises:
            RecordNotFoundError: The scope has no such item.
        """
        now = self._clock()
        written: dict[str, str] = {}

        def plan() -> Changes:
            item = self._items.held(self._items.get(memory_id, equal_to(owner)), equal_to(owner))
            planned = self._items.plan_update(item, self._categories.renamed(fields, item.scope), now)
            names = planned.categories() | set(item.categories)
            summarize = self._summarizer(written)
            summaries = self._categories.drafts(names, planned.items, item.scope, now, summarize)
            return Changes([*planned.drafts(), *summaries], result=planned.result[0])

        corrected: Item = self._store.write(plan)
        return corrected

    def edit_items(
        self, edits: Mapping[str, Mapping[str, Any]], facts: Sequence[Fact], owner: Mapping[str, Any]
    ) -> ItemPlan:
        """Correct items by their ids and write new ones, as one commit. Edits of items that are gone are left out."""
        now = self._clock()
        written: dict[str, str] = {}

        def plan() -> Changes:
            current = {item.id: item for item in self._items.owned(owner)}
            planned = self._items.plan(self._categories.named(facts, owner), owner, now, "user")
            names = planned.categories()
            for item_id, fields in edits.items():
                if item_id in current:
                    item = planned.items.get(item_id, current[item_id])
                    fields = self._categories.renamed(fields, owner)
                    corrected = self._items.plan_update(item, fields, now, planned.items)
                    planned.take(corrected)
                    names |= corrected.categories() | set(item.categories)
            summaries = self._categories.drafts(names, planned.items, owner, now, self._summarizer(written))
            return Changes([*planned.drafts(), *summaries], result=planned)

        result: ItemPlan = self._store.write(plan)
        return result

    def forget(self, where: Mapping[str, Any], ids: Sequence[str] | None) -> Receipt:
        """Forget records of a scope, and what rests on them alone."""
        now = self._clock()
        summarize = None if self._config.extract == "llm" else bullets
        receipt: Receipt = self._store.write(
            lambda: plan_forget(self._store, self._categories, where, ids, now, summarize)
        )
        return receipt


def _read_to(done: Sequence[Resource], current: Mapping[str, Resource]) -> list[Draft]:
    """Return the records of resources with how far they were read."""
    return [
        resource_draft(changed(current[each.id], extracted=max(current[each.id].extracted, each.extracted)))
        for each in done
        if each.id in current
    ]


def _unread(turns: Iterable[str], done: Sequence[Resource], current: Mapping[str, Resource]) -> set[str]:
    """Return those turns of which another call has not written the items meanwhile."""
    read = {each.id: current[each.id].extracted if each.id in current else each.extracted for each in done}
    places = {turn: turn.rpartition("-") for turn in turns}
    return {
        turn
        for turn, (session, _, place) in places.items()
        if (name := resource_id(session)) not in read or int(place) >= read[name]
    }


def _of_turns(facts: Sequence[Fact], there: Container[str]) -> list[Fact]:
    """Return facts without the turns that were forgotten or read since, and without facts of these alone."""
    kept = [(fact, tuple(source for source in fact.sources if source in there)) for fact in facts]
    return [fact._replace(sources=left) for fact, left in kept if left or not fact.sources]
