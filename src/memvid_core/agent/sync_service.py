"""SyncMemoryService: the methods of a memory service, for programs without an event loop."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from memvid_core.agent.categories import Categories
from memvid_core.agent.checks import (
    clock_of,
    content_of,
    count_of,
    function_of,
    ids_of,
    mapping_of,
    names_given,
    path_of,
)
from memvid_core.agent.config import MemorizeConfig, RetrieveConfig, UserConfig, configured
from memvid_core.agent.documents import memorize_file, read_document_file
from memvid_core.agent.forgetting import Receipt
from memvid_core.agent.items import Items, checked_type
from memvid_core.agent.media import audio_reader, image_reader, video_reader
from memvid_core.agent.memorizing import Memorizer, equal_to
from memvid_core.agent.messages import Conversation, read_conversations
from memvid_core.agent.models import as_model
from memvid_core.agent.pipelined import Pipelined
from memvid_core.agent.pipelines import Pipeline, Step
from memvid_core.agent.recall import recall
from memvid_core.agent.recalled import Recall, Recalled
from memvid_core.agent.records import (
    Category,
    Item,
    Resource,
    Turn,
    read_category,
    read_item,
    read_resource,
    read_turn,
)
from memvid_core.agent.results import Memorized, Retrieved
from memvid_core.agent.retrieval import Retriever
from memvid_core.agent.rules import Fact
from memvid_core.agent.scopes import SESSION, ScopeRules, nearest
from memvid_core.agent.store import Store
from memvid_core.agent.text_files import check_file, read_text
from memvid_core.agent.times import isoformat, parse_time, utc_now
from memvid_core.agent.tokens import estimate_tokens
from memvid_core.errors import InvalidInputError, MemvidError, RecordNotFoundError
from memvid_core.memory import Memory
from memvid_core.model import Embedder

__all__ = ["READERS", "SyncMemoryService"]

Reader = Callable[[Path], list[Conversation]]


def _read_conversation_file(path: Path) -> list[Conversation]:
    text = read_text(path)
    if path.suffix.lower() == ".json":
        try:
            return read_conversations(json.loads(text))
        except (ValueError, RecursionError) as exc:
            if not isinstance(exc, InvalidInputError):
                raise InvalidInputError(f"no valid JSON: {exc}") from exc
            raise
    return read_conversations(text)


READERS: dict[str, Reader] = {
    "conversation": _read_conversation_file,
    "document": read_document_file,
    "image": image_reader(),
    "audio": audio_reader(),
    "video": video_reader(),
}
"""What reads a file of each modality."""


class SyncMemoryService(Pipelined):
    r"""The methods of :class:`~memvid_core.agent.MemoryService`, each of which returns when its work is done.

    Args:
        memory: An open memory; open for writing, if anything is to be remembered.
        model: Asks a model: a callable from a prompt to a text, a LangChain chat model, a LlamaIndex LLM, or a name
            such as ``"openai:gpt-5-mini"``, which needs the extra ``agents`` and the provider's package.
        memorize_config: See :class:`~memvid_core.agent.MemorizeConfig`; a struct or a dict.
        retrieve_config: See :class:`~memvid_core.agent.RetrieveConfig`.
        user_config: See :class:`~memvid_core.agent.UserConfig`.
        clock: Tells the present.
        embedder: Embeds for a memory that has no embedder, such as one whose vectors all come with the records.
        readers: Read files of further modalities, or read one in another way: ``{"image": image_reader(describe)}``.

    ``pipelines`` has the steps of ``"memorize"`` (every way to add), ``"recall"`` and ``"retrieve"``, to be changed
    before use.

    Raises:
        InvalidInputError: A configuration has an unknown key, or needs a model and there is none.

    Example:
        >>> service = SyncMemoryService(Memory.create(":memory:"))
        >>> _ = service.add("Ada: When is the office party?\nBob: At six, on Friday.", user_id="ada")
        >>> "At six, on Friday." in service.recall("When is the party?", user_id="ada").text
        True
    """

    def __init__(
        self,
        memory: Memory,
        *,
        model: Any = None,
        memorize_config: MemorizeConfig | Mapping[str, Any] | None = None,
        retrieve_config: RetrieveConfig | Mapping[str, Any] | None = None,
        user_config: UserConfig | Mapping[str, Any] | None = None,
        clock: Callable[[], datetime] = utc_now,
        embedder: Embedder | None = None,
        readers: Mapping[str, Reader] | None = None,
    ) -> None:
        given: object = memory
        if not isinstance(given, Memory):
            raise InvalidInputError(f"a memory service needs an open Memory, not {given!r:.60}")
        self.memory = memory
        self.config = configured(MemorizeConfig, memorize_config)
        self.retrieving = configured(RetrieveConfig, retrieve_config)
        user = configured(UserConfig, user_config)
        self.scopes = ScopeRules(user.model, user.default)
        self._model = as_model(model)
        if self._model is None and "llm" in (self.config.extract, self.retrieving.method):
            raise InvalidInputError("extract='llm' and method='llm' need a model; give model=")
        clock = self._clock = clock_of(clock)
        self._store = Store(memory, embedder, [name for name in self.scopes.fields if name != SESSION])
        given_readers = mapping_of(readers, "readers")
        self._readers = {**READERS, **{name: function_of(each, name) for name, each in given_readers.items()}}
        self._memorizer = Memorizer(self._store, self.config, self._model, self.scopes, clock)
        self._items = Items(self._store)
        self._categories = Categories(self._store, self.config.categories)
        asked = ("question", "where", "options")
        self._retriever = Retriever(self._store, self.retrieving, self._model, clock)
        find = Step("find", self._find, asked, ("answer",))
        self.pipelines = {
            "memorize": self._memorizer.pipeline,
            "recall": Pipeline("recall", [find], given=asked, returns=["answer"], has=self._memorizer.pipeline.has),
            "retrieve": self._retriever.pipeline,
        }

    # --- memorizing ---

    def memorize(
        self,
        *,
        resource_url: str | os.PathLike[str],
        modality: str = "conversation",
        user: Mapping[str, Any] | None = None,
    ) -> Memorized:
        """Memorize a file. Doing it again adds nothing, and completes what was not.

        Args:
            resource_url: The path of the file.
            modality: What the file is: ``"conversation"``, ``"document"``, ``"image"``, ``"audio"`` or ``"video"``.
            user: The scope.

        Raises:
            InvalidInputError: The modality is unknown, the file is not there or holds nothing of it.
        """
        if modality not in self._readers:
            raise InvalidInputError(f"{modality!r} is not a modality{nearest(str(modality), self._readers)}")
        scope = self.scopes.check(mapping_of(user, "user"))
        path, read = path_of(resource_url, "resource_url"), self._readers[modality]
        try:
            check_file(path)
            if modality != "conversation":
                return memorize_file(self, path, modality, self.scopes.owner(scope), read)
            return self._memorizer.memorize(read(path), scope, str(path), modality)
        except (OSError, UnicodeDecodeError) as exc:
            if isinstance(exc, MemvidError):
                raise
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise InvalidInputError(f"{path} cannot be read: {reason or exc}") from exc
        except InvalidInputError as exc:
            raise InvalidInputError(f"{path}: {exc}") from exc

    def add(self, messages: Any, **scope: Any) -> Memorized:
        """Remember messages.

        Args:
            messages: A text, a transcript, messages as dicts, of LangChain or of LlamaIndex, or an export.
            **scope: Whose they are, such as ``user_id``. Messages with the same ``session_id`` are one conversation.

        Raises:
            InvalidInputError: A message is malformed, there is none, or the scope has no owner.
        """
        return self._memorizer.memorize(read_conversations(messages), self.scopes.check(scope), None, "conversation")

    # --- recalling ---

    def recall(
        self,
        question: str,
        *,
        budget: int | None = None,
        now: datetime | None = None,
        as_of: datetime | str | None = None,
        k: int | None = None,
        known: Collection[str] = (),
        count_tokens: Callable[[str], int] = estimate_tokens,
        **scope: Any,
    ) -> Recall:
        """Recall what answers a question, as exchanges, within a budget of tokens. No model is asked.

        Args:
            question: Any text.
            budget: How many tokens the text may have.
            now: The present, for words such as "yesterday".
            as_of: Answer with what was known then.
            k: How many turns and items to show at most.
            known: Texts that the conversation holds already; they are not shown.
            count_tokens: Counts the tokens of a text.
            **scope: Whose memory; fields that are not given may have any value.

        Raises:
            InvalidInputError: The question is empty, the budget is not a number, or the scope has no owner.
        """
        where = self.scopes.where(scope)
        past = None if as_of is None else parse_time(as_of, name="as_of")
        tokens = self.retrieving.budget if budget is None else budget
        options: dict[str, Any] = {"budget": tokens, "as_of": past, "salience": self.retrieving.salience}
        options |= {"k": k, "known": known, "count_tokens": count_tokens}
        options["now"] = self._clock() if now is None else parse_time(now, name="now")
        answer: Recall = self.pipelines["recall"].run(question=question, where=where, options=options)["answer"]
        return answer

    def _find(self, question: str, where: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        return {"answer": recall(self._store, question, where, **options)}

    def search(self, question: str, *, k: int | None = None, budget: int | None = None, **scope: Any) -> list[Recalled]:
        """Return turns and items that answer a question: the best ``k``, or those that fit into a budget.

        Raises:
            InvalidInputError: As for :meth:`recall`.
        """
        wanted = self.retrieving.k if k is None else count_of(k, "k")
        answer = self.recall(question, budget=budget, **scope)
        if budget is not None and k is None:
            return answer.hits
        return answer.ranked[:wanted]

    def retrieve(
        self,
        queries: Any,
        where: Mapping[str, Any] | None = None,
        *,
        method: Literal["rag", "llm"] | None = None,
    ) -> Retrieved:
        """Retrieve categories, items and resources that answer the last of some messages.

        Args:
            queries: A text, or messages: the last is the question, the others are its context.
            where: The scope; ``user_id__in`` takes several values.
            method: ``"rag"`` asks no model, ``"llm"`` asks one at most twice.

        Raises:
            InvalidInputError: The question is missing, the method is unknown, or it needs a model and there is none.
        """
        chosen = method or self.retrieving.method
        if chosen not in ("rag", "llm"):
            raise InvalidInputError(f"method is 'rag' or 'llm', not {chosen!r}")
        if chosen == "llm" and self._model is None:
            raise InvalidInputError("method='llm' needs a model; give model= to the service")
        return self._retriever.retrieve(queries, self.scopes.where(where), chosen)

    # --- items and categories ---

    def list_memory_items(self, where: Mapping[str, Any] | None = None) -> list[Item]:
        """Return the items of a scope, oldest first, without those that were corrected away.

        With a session, those that come from it, and those that come from no conversation.
        """
        return self._items.within(self.scopes.where(where))

    def list_memory_categories(self, where: Mapping[str, Any] | None = None) -> list[Category]:
        """Return the categories of a scope."""
        filters = self.scopes.where(where)
        return self._categories.within(filters, self._items.within(filters))

    def _owners(self, where: Mapping[str, Any] | None) -> dict[str, Any]:
        return {name: value for name, value in self.scopes.where(where).items() if name != SESSION}

    def create_memory_item(
        self,
        *,
        memory_type: str = "knowledge",
        memory_content: str,
        memory_categories: Sequence[str] = (),
        user: Mapping[str, Any] | None = None,
        expires_at: datetime | str | None = None,
    ) -> Item:
        """Write an item by hand. One that says the same is counted once more by what it comes from, not doubled.

        Raises:
            InvalidInputError: The type is unknown, or the content is empty.
        """
        content = content_of(memory_content)
        expires = None if expires_at is None else isoformat(parse_time(expires_at, name="expires_at"))
        names = names_given(memory_categories, "memory_categories")
        fact = Fact(checked_type(memory_type), content, names, expires_at=expires)
        scope = self.scopes.check(mapping_of(user, "user"))
        return self._memorizer.write_items([fact], scope, "user").result[0]

    def update_memory_item(
        self,
        *,
        memory_id: str,
        memory_type: str | None = None,
        memory_content: str | None = None,
        memory_categories: Sequence[str] | None = None,
        user: Mapping[str, Any] | None = None,
    ) -> Item:
        """Correct an item. It keeps its id; what is not given stays, and the old text stays in its history.

        The id of an older version stands for the one that holds now.

        Raises:
            RecordNotFoundError: The scope has no such item.
        """
        owner = self.scopes.owner(self.scopes.check(mapping_of(user, "user")))
        fields: dict[str, Any] = {}
        if memory_type is not None:
            fields["memory_type"] = checked_type(memory_type)
        if memory_content is not None:
            fields |= {"summary": content_of(memory_content), "origin": "user"}
        if memory_categories is not None:
            fields["categories"] = list(names_given(memory_categories, "memory_categories"))
        return self._memorizer.update_item(memory_id, fields, owner)

    def delete_memory_item(self, *, memory_id: str, user: Mapping[str, Any] | None = None) -> Item:
        """Forget an item, and return what it was.

        Raises:
            RecordNotFoundError: The scope has no such item.
        """
        owner = self.scopes.owner(self.scopes.check(mapping_of(user, "user")))
        item = self._items.get(memory_id, equal_to(owner))
        self._memorizer.forget(equal_to(owner), [memory_id])
        return item

    def clear_memory(self, where: Mapping[str, Any] | None = None) -> Receipt:
        """Forget all of a scope."""
        return self._memorizer.forget(self.scopes.where(where), None)

    # --- forgetting and the past ---

    def forget(
        self, ids: Iterable[str] | str | None = None, *, where: Mapping[str, Any] | None = None, **scope: Any
    ) -> Receipt:
        """Forget turns, items, categories or whole conversations, and what rests on them alone.

        Nothing of it is recalled from then on. The bytes stay in the file until ``memory.compact()``.

        Args:
            ids: Their ids; None forgets all of the scope, such as a session.
            where: The scope; its fields may also be given by name.
            **scope: Whose memory.

        Raises:
            InvalidInputError: The scope has no owner, or two different values of a field.
        """
        given = mapping_of(where, "where")
        twice = next((name for name in scope if name in given and given[name] != scope[name]), None)
        if twice is not None:
            raise InvalidInputError(f"forget gives {twice} twice, in where and by name: give one of them")
        filters = self.scopes.where({**given, **scope})
        return self._memorizer.forget(filters, ids_of(ids))

    def history(self, memory_id: str, **scope: Any) -> list[Item]:
        """Return the versions of an item, oldest first.

        Raises:
            RecordNotFoundError: The scope has no such item.
        """
        where = self._owners(scope)
        return self._items.history(self._items.get(memory_id, where), where)

    def get(self, record_id: str, **scope: Any) -> Turn | Item | Category | Resource:
        """Return a turn, an item, a category or a resource by the id that a recall names.

        Raises:
            RecordNotFoundError: The scope has no such record.
        """
        where = self.scopes.where(scope)
        owners = self._owners(scope)
        for kind, filters, read in (
            ("turn", where, read_turn),
            ("resource", where, read_resource),
            ("item", owners, read_item),
            ("category", owners, read_category),
        ):
            for record in self._store.select(kind, {**filters, "$id": {"$eq": record_id}}):
                found: Turn | Item | Category | Resource = read(record)
                return self._items.whole(found) if isinstance(found, Item) else found
        raise RecordNotFoundError(f"no record has the id {record_id!r} in this scope")
