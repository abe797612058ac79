"""What a value is to a memory: what JSON says it is, wherever it goes in and wherever it is asked for."""

from __future__ import annotations

import json
import types
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core import FilterError, InvalidInputError, Memory, MetadataError, RecordNotFoundError, TextError
from memvid_core.catalog.json_values import DEEPEST, plain
from memvid_core.engine.validation import check_answer, check_ids, check_metadata, check_texts, wanted_ids


class Text(str):
    """Says something else of itself in every way that it can."""

    __slots__ = ()

    def __str__(self) -> str:
        return "a lie"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return "a lie"


class Whole(int):
    def __int__(self) -> int:
        return 99

    __index__ = __trunc__ = __int__

    def __str__(self) -> str:
        return "99"

    __repr__ = __str__


class Broken(float):
    def __float__(self) -> float:
        return 99.0

    def __str__(self) -> str:
        return "99"

    __repr__ = __str__


class Kind(str, Enum):  # noqa: UP042  # the older form, which formats as "Kind.A"
    A = "x"
    B = "두 번째"


class Named(StrEnum):
    A = "x"


class Level(IntEnum):
    LOW = 1


class Flags(IntFlag):
    READ = 4


class Share(float, Enum):
    HALF = 0.5


class Plain(Enum):
    A = "x"


class Row(list[Any]):
    pass


Pair = namedtuple("Pair", "left right")  # noqa: PYI024  # its untyped form is what people have

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    texts,
    texts.map(Text),
    texts.map(np.str_),
    st.sampled_from([*Kind, *Named, *Level, *Flags, *Share]),
    numbers,
    numbers.map(Whole),
    numbers.map(np.int64),
    st.integers(0, 255).map(np.uint8),
    floats,
    floats.map(Broken),
    floats.map(np.float64),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32),
    st.booleans().map(np.bool_),
)
dressed = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(Row),
        st.lists(inner, max_size=3).map(tuple),
        st.tuples(inner, inner).map(lambda two: Pair(*two)),
        st.dictionaries(texts | texts.map(Text), inner, max_size=3).map(OrderedDict),
        st.dictionaries(texts, inner, max_size=3),
    ),
    max_leaves=6,
)


def bare(value: Any) -> Any:
    """What JSON says a value is, found without our code: by the methods of the builtin types alone."""
    if isinstance(value, np.generic) and not isinstance(value, str | float):
        value = value.item()
    if isinstance(value, dict):
        return {str.__str__(key): bare(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bare(item) for item in value]
    return json.loads(json.dumps(value))


def exact(value: Any) -> bool:
    """Whether a value consists of nothing but the builtin types themselves."""
    if type(value) is dict:
        return all(type(key) is str and exact(item) for key, item in value.items())
    if type(value) is list:
        return all(map(exact, value))
    return type(value) in (str, int, float, bool, type(None))


@given(dressed)
def test_metadata_is_what_json_says(value):
    (found,) = check_metadata([{"field": value}], 1)
    assert found == {"field": bare(value)}
    assert exact(found)


@pytest.fixture(scope="module")
def memory():
    with Memory.create(":memory:") as made:
        yield made


@given(dressed)
def test_a_filter_finds_what_was_stored(memory, value):
    memory.clear()
    memory.add(["a", "b"], [{"field": value}, {"field": "another value"}], ["one", "two"])
    for where in ({"field": {"$eq": value}}, {Text("field"): {Text("$in"): [value]}}, {"field": {"$in": (value,)}}):
        assert [record.id for record in memory.select(where)] == ["one"]
    assert [record.id for record in memory.select({"field": {"$ne": value}})] == ["two"]


@given(texts.filter(str.strip))
def test_texts_and_ids_are_what_they_hold(memory, text):
    memory.clear()
    assert memory.add([Text(text)], ids=[Text(text)]) == [text]
    (record,) = memory.select({"$id": Text(text)})
    assert (record.id, record.text) == (text, text)
    assert type(record.id) is type(record.text) is str
    assert memory.get(Text(text)) == memory.get([Text(text)])[0] == record
    memory.update(text, metadata={"kind": Kind.A})
    assert [found.id for found in memory.select({"kind": Kind.A}, order_by=Text("kind"))] == [text]
    assert memory.delete([Text(text)]) == 1


def test_columns_come_out_as_builtins():
    assert list(map(type, check_texts([Kind.A, "y"]))) == [str, str]
    assert check_ids([Kind.A, None], 2)[0] == "x"
    assert all(type(found) is str for found in [*check_ids([Kind.A], 1), *wanted_ids([Kind.A]), *wanted_ids(Kind.A)])


@pytest.mark.parametrize("mapping", [UserDict, types.MappingProxyType, OrderedDict])
def test_any_mapping_is_a_dict(mapping):
    assert check_metadata([mapping({"a": mapping({Kind.A: 1})})], 1) == [{"a": {"x": 1}}]


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (Plain.A, "Plain.A.value"),
        (date(2020, 1, 1), "isoformat"),
        (datetime(2020, 1, 1, tzinfo=UTC), "isoformat"),
        (time(1), "isoformat"),
        (timedelta(1), "total_seconds"),
        (np.datetime64("2020-01-01", "ns"), "str"),
        (np.timedelta64(1, "ns"), "str"),
        ({1}, "sorted list"),
        (np.zeros(2), "tolist"),
        (Decimal(1), "float"),
        (b"x", "hex"),
        (1j, "None, bool, int"),
        (object(), "None, bool, int"),
    ],
)
def test_what_has_no_form_in_json_is_refused_with_what_to_write_instead(memory, value, advice):
    for nested, path in ((value, "field"), ([value], "field[0]"), ({"a": (1, value)}, "field.a[1]")):
        with pytest.raises(MetadataError, match=f"'{path.replace('[', chr(92) + '[')}' is of type.*{advice}"):
            memory.add("a", {"field": nested})
        with pytest.raises(FilterError, match=advice):
            memory.select({"field": nested})


def deep(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


def circles() -> list[Any]:
    """Values that contain themselves, at once or by a way around."""
    one: dict[str, Any] = {}
    one["me"] = one
    two: list[Any] = [1]
    two.append({"back": two})
    three: tuple[Any, ...] = (["in a tuple"],)
    three[0].append(three)
    return [one, two, three]


def test_as_deep_as_it_may_be_is_stored_and_found(memory):
    memory.clear()
    memory.add("a", {"field": deep(DEEPEST)})
    assert memory.select({"field": deep(DEEPEST)})[0].metadata == {"field": deep(DEEPEST)}


@pytest.mark.parametrize("levels", [DEEPEST + 1, 500, 100_000])
def test_deeper_is_refused_by_name(memory, levels):
    with pytest.raises(MetadataError, match=r"'field[\[.].* \.\.\. .*' is nested more than 64 deep") as caught:
        memory.add("a", {"field": deep(levels)})
    assert len(str(caught.value)) < 200
    for where in ({"field": deep(levels)}, {"field": {"$in": [deep(levels)]}}, {"field": {"$gt": deep(levels)}}):
        with pytest.raises(FilterError) as refused:
            memory.select(where)
        assert len(str(refused.value)) < 250


@pytest.mark.parametrize("value", circles(), ids=["dict", "list", "tuple"])
def test_a_circle_is_named(memory, value):
    with pytest.raises(MetadataError, match=r"'field.*' is a list or dict that contains itself"):
        memory.add("a", {"field": value})
    with pytest.raises(FilterError, match=r"where\[\"field\"\].* contains itself"):
        memory.select({"field": value})


def test_the_same_list_twice_is_no_circle(memory):
    memory.clear()
    shared = [1, 2]
    memory.add("a", {"field": {"one": shared, "two": shared}})
    assert memory.select({"field": {"one": shared, "two": shared}})[0].metadata["field"]["two"] == [1, 2]


def test_what_is_no_scalar_is_left_alone():
    for value in ([1], {"a": 1}, Plain.A, np.zeros(1), np.datetime64("2020"), np.timedelta64(1, "D"), None):
        assert plain(value) is value


@pytest.mark.parametrize(("answer", "expected"), [(True, True), (False, False), (np.True_, True), (np.False_, False)])
def test_a_filter_answers_with_a_bool(answer, expected):
    assert check_answer(answer) is expected


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "answer", [None, 0, 1, "", "no", [], [1], np.array([True]), np.int8(1), object(), Unprintable(), deep(100_000)]
)
def test_any_other_answer_is_refused(answer):
    with pytest.raises(FilterError, match="must return True or False") as caught:
        check_answer(answer)
    assert len(str(caught.value)) < 200


async def test_an_async_filter_is_named_and_leaves_no_warning():
    async def function(record: object) -> bool:
        return False

    async def generator(record: object) -> AsyncIterator[bool]:
        yield False

    for answer in (function(None), generator(None)):
        with pytest.raises(FilterError, match="an async function cannot be a filter here"):
            check_answer(answer)


@pytest.mark.parametrize("bad", [3, None, b"x", Plain.A])
def test_what_is_no_str_is_no_text_and_no_id(memory, bad):
    with pytest.raises(TextError):
        memory.add([bad])
    with pytest.raises((InvalidInputError, RecordNotFoundError)):
        memory.get([bad])
