"""Every async method of a public class takes and returns what its sync twin does, under the same names and types."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pytest

from memvid_core import MemoryService, SyncMemoryService
from memvid_core.agent.pipelined import Pipelined

PACKAGES = ("memvid_core", "langchain_memvid", "langchain_memvid.agents", "llama_index_memvid")
OURS = ("memvid_core", "langchain_memvid", "llama_index_memvid")
# A result that is delivered one by one, and a function that is awaited, have async types of their own.
ASYNC_TYPES = {
    r"\bAsync(Iterator|Generator|Iterable)\b": r"\1",
    r"\bAwaitable\[(ModelResponse\[Any\])\]": r"\1",
    r"(Generator\[[^,\]]+, None), None\]": r"\1]",
}
# LlamaIndex gives the async add of a vector store this name.
OTHER_NAMES = {"async_add": "add"}

# Methods without an async twin: they compute or start something and wait for nothing, or the framework's own class has
# them sync only.
_BASE = {"class_name", "from_dict", "from_name", "model_post_init"}
_FITTING = {"clone", "dump", "fit", "load"}
SYNC_ONLY: dict[str, set[str]] = {
    "langchain_memvid.agents.MemvidMiddleware": {"remembered"},  # text from text
    "langchain_memvid.agents.MemvidSaver": {"get_next_version"},  # a number from a number
    "llama_index_memvid.MemvidVectorStore": {"from_params", "from_persist_path", "persist"},  # as LlamaIndex
    "memvid_core.CallableEmbedder": {"matches"},
    "memvid_core.EncodeEmbedder": {"matches"},
    "memvid_core.FittableEmbedder": _FITTING,
    "memvid_core.HashingEmbedder": {*_FITTING, "should_learn"},
    "memvid_core.LangChainEmbedder": {"matches"},
    "memvid_core.LlamaIndexEmbedder": {"matches"},
    "memvid_core.Library": {"explain_shards", "shards"},  # of the manifest in RAM
    "memvid_core.MemoryLoop": {"record"},  # puts the turn into a queue
}


def _public_classes() -> dict[str, type]:
    found: dict[str, type] = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) and value.__module__.split(".")[0] in OURS:
                found[f"{package}.{name}"] = value
    return found


def _ours(owner: type) -> dict[str, Any]:
    """Return the public methods that the class itself or a base class of this repository defines."""
    methods: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.split(".")[0] in OURS:
            methods |= {name: getattr(owner, name) for name in vars(base) if not name.startswith("_")}
    return {name: value for name, value in methods.items() if callable(value)}


def _plain(annotation: Any) -> str:
    text = str(annotation)
    for its, plain in ASYNC_TYPES.items():
        text = re.sub(its, plain, text)
    return text


def _parameters(method: Any) -> list[tuple[str, Any, Any, str]]:
    signature = inspect.signature(method)
    return [(one.name, one.kind, one.default, _plain(one.annotation)) for one in signature.parameters.values()]


def _returned(method: Any) -> str:
    return _plain(inspect.signature(method).return_annotation)


def _is_async(method: Any) -> bool:
    plain = inspect.unwrap(method)
    return inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain)


def _twins(methods: dict[str, Any]) -> dict[str, str]:
    """Return the sync name of each async method that has a twin in the same class."""
    named = {name: OTHER_NAMES.get(name, name.removeprefix("a")) for name, method in methods.items()}
    return {name: twin for name, twin in named.items() if twin != name and twin in methods}


CLASSES = {name: owner for name, owner in _public_classes().items() if any(map(_is_async, _ours(owner).values()))}


def test_every_class_with_async_methods_is_here() -> None:
    assert {"memvid_core.Memory", "langchain_memvid.MemvidVectorStore", "llama_index_memvid.MemvidChatStore"} <= set(
        CLASSES
    )
    assert set(SYNC_ONLY) <= set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_twins_have_the_same_parameters_and_result(name: str) -> None:
    methods = _ours(CLASSES[name])
    twins = _twins(methods)
    for its, plain in twins.items():
        assert _parameters(methods[its]) == _parameters(methods[plain]), its
        assert _returned(methods[its]) == _returned(methods[plain]), its
    alone = {plain for plain, method in methods.items() if not _is_async(method)} - set(twins.values())
    assert not twins or alone - _BASE == SYNC_ONLY.get(name, set())


def test_the_service_and_its_sync_face_have_the_same_methods() -> None:
    methods = {name: method for name, method in _ours(MemoryService).items() if _is_async(method)}
    plain = {name: method for name, method in _ours(SyncMemoryService).items() if name not in _ours(Pipelined)}
    del methods["aclose"]  # the sync service leaves its memory to the program that opened it
    assert set(methods) == set(plain)
    for name, method in methods.items():
        assert _parameters(method) == _parameters(plain[name]), name
        assert _returned(method) == _returned(plain[name]), name
