"""LangGraph's InMemoryStore with its defects mended, one method a defect: what a store has to answer."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from langgraph.store.base import GetOp, Op, PutOp, Result, SearchItem, SearchOp, validate_op_namespace
from langgraph.store.memory import InMemoryStore
from typing_extensions import override

_ALL = 1_000_000


class MendedStore(InMemoryStore):
    """What InMemoryStore does, but for the defects that the methods name.

    ``born`` is the order in which items were created: the order in which ours come. Theirs come by namespace, in the
    order in which somebody first touched it, be it by a ``get`` that found nothing.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.born: dict[tuple[tuple[str, ...], str], int] = {}
        self.clock = 0

    @override
    def batch(self, ops: Iterable[Op]) -> list[Result]:
        results = super().batch(ops)
        self._forget_empty_namespaces()
        return results

    def _forget_empty_namespaces(self) -> None:
        """Defect: a ``get`` makes a namespace, and one whose items are all deleted stays."""
        for namespace in [namespace for namespace, items in self._data.items() if not items]:
            del self._data[namespace]

    @override
    def _prepare_ops(self, ops: Iterable[Op]) -> Any:
        """Defects: a batch takes dotted namespaces; what ``get`` gives is the store's own object."""
        self._forget_empty_namespaces()
        listed = list(ops)
        for op in listed:
            validate_op_namespace(op)
        self._asked = {place: op for place, op in enumerate(listed) if isinstance(op, SearchOp)}
        wide = [op._replace(limit=_ALL, offset=0) if isinstance(op, SearchOp) else op for op in listed]
        gets: list[tuple[int, GetOp]] = []
        others: list[tuple[int, Op]] = []
        for place, op in enumerate(wide):  # gets go elsewhere: a listing after one sees the namespace that it makes
            if isinstance(op, GetOp):
                gets.append((place, op))
            else:
                others.append((place, op))
        results: list[Result] = [None] * len(wide)
        found, puts, searches = super()._prepare_ops([op for _, op in others])
        for (place, _), result in zip(others, found, strict=True):
            results[place] = result
        for place, get in gets:
            results[place] = copy.deepcopy(self._data.get(get.namespace, {}).get(get.key))
        return results, puts, {others[at][0]: search for at, search in searches.items()}

    @override
    def _filter_items(self, op: SearchOp) -> Any:
        """Defects: an order crashes on what ``float()`` does not take; there is no ``$in`` and no ``$nin``."""
        given = op.filter or {}
        ours = {key: wanted for key, wanted in given.items() if isinstance(wanted, dict) and _mended(wanted)}
        theirs = {key: wanted for key, wanted in given.items() if key not in ours}
        found = super()._filter_items(op._replace(filter=theirs or None))
        return [
            (item, vectors)
            for item, vectors in found
            if all(_holds(item.value.get(key), wanted) for key, wanted in ours.items())
        ]

    @override
    def _batch_search(self, ops: Any, queryinmem_store: Any, results: list[Result]) -> None:
        """Defect: the offset is not taken from items without a score, so the next page repeats them."""
        super()._batch_search(ops, queryinmem_store, results)
        for place in ops:
            asked, found = self._asked[place], results[place]
            assert isinstance(found, list)
            ordered = sorted(found, key=self._order)
            results[place] = copy.deepcopy(ordered[asked.offset : asked.offset + asked.limit])

    def _order(self, item: Any) -> tuple[float, int]:
        assert isinstance(item, SearchItem)
        return (float("inf") if item.score is None else -item.score), self.born[item.namespace, item.key]

    @override
    def _extract_texts(self, put_ops: Any) -> Any:
        """Defect: an item that is put anew keeps the vectors of texts it no longer has."""
        for op in put_ops.values():
            self._vectors[op.namespace].pop(op.key, None)
        return super()._extract_texts(put_ops)

    @override
    def _insertinmem_store(self, to_embed: Any, embeddings: list[list[float]]) -> None:
        """Defect: one text at two places of a batch crashes, its vector being counted once."""
        for places, embedding in zip(to_embed.values(), embeddings, strict=True):
            for namespace, key, path in places:
                self._vectors[namespace][key][path] = embedding

    @override
    def _apply_put_ops(self, put_ops: Any) -> None:
        """Defect: an update forgets when the item was created."""
        before = {name: self._data.get(name[0], {}).get(name[1]) for name in put_ops}
        super()._apply_put_ops(copy.deepcopy(put_ops))
        for name, op in put_ops.items():
            assert isinstance(op, PutOp)
            old = before[name]
            if op.value is None:
                self.born.pop(name, None)
            elif old is None:
                self.clock += 1
                self.born[name] = self.clock
            else:
                self._data[name[0]][name[1]].created_at = old.created_at


def _mended(wanted: dict[str, Any]) -> bool:
    return bool(wanted.keys() & {"$gt", "$gte", "$lt", "$lte", "$in", "$nin"})


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ordered(value: Any, operand: Any) -> bool:
    same = (_number(value) and _number(operand)) or (type(value) is type(operand) and isinstance(value, str | bool))
    return same


def _holds(value: Any, wanted: dict[str, Any]) -> bool:
    answers = {
        "$eq": lambda operand: value == operand,
        "$ne": lambda operand: value != operand,
        "$gt": lambda operand: _ordered(value, operand) and value > operand,
        "$gte": lambda operand: _ordered(value, operand) and value >= operand,
        "$lt": lambda operand: _ordered(value, operand) and value < operand,
        "$lte": lambda operand: _ordered(value, operand) and value <= operand,
        "$in": lambda operand: value in operand,
        "$nin": lambda operand: value not in operand,
    }
    return all(answers[name](operand) for name, operand in wanted.items())
