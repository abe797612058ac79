"""Errors and warnings: they cross processes whole, and each package words their hints."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

import langchain_memvid
import llama_index_memvid
import memvid_core
from memvid_core.errors import (
    Action,
    DamagedFrameError,
    EmbedderWarning,
    FilterError,
    Hint,
    LockedError,
    MemvidError,
    MemvidWarning,
    MissingExtraError,
    ReadOnlyError,
    RecordNotFoundError,
    StorageError,
    worded,
)
from tests.core.failing import read_a_damaged_frame
from tests.late_modules import MODULES

HINT = Hint(Action.FORCE, {"embedder": "model2vec:{m}"})
SAMPLES: dict[str, Any] = {
    "int": 3,
    "str": "a {text}",
    "str | None": "a {text}",
    "Sequence[Any]": ["a {hit}"],
    "Any": 3,
}


class Awkward(StorageError):
    """An error of a user's own: its constructor takes what its message does not hold."""

    def __init__(self, *, where: str, size: int) -> None:
        super().__init__(28, "No space left", where)
        self.size = size


def family(left_out: tuple[str, ...] = ()) -> list[type[BaseException]]:
    """Every error and warning of the three packages, but for those of some modules."""
    for package in (memvid_core, langchain_memvid, llama_index_memvid):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and module.name not in left_out:
                importlib.import_module(module.name)
    found, waiting = [], [MemvidError, MemvidWarning]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if cls.__module__.startswith(("memvid_core", "langchain_memvid", "llama_index_memvid")):
            found.append(cls)
    return sorted(set(found), key=lambda cls: cls.__qualname__)


def made(cls: type[BaseException]) -> BaseException:
    """One of the class, with every argument given and an attribute and a note that it did not come with."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    positional = [SAMPLES[p.annotation] for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
    error = cls(*(positional or ["what is wrong"]))
    error.hint = error.hint or HINT  # type: ignore[attr-defined]
    error.extra = (1, "two")  # type: ignore[attr-defined]
    error.add_note("noted")
    return error


def state(error: BaseException) -> dict[str, Any]:
    names = [name for name in dir(error) if not name.startswith("__") and not callable(getattr(error, name, None))]
    return {
        "type": type(error),
        "text": str(error),
        "notes": error.__notes__,
        **{name: getattr(error, name, None) for name in names},
    }


FAMILY = family(left_out=MODULES)  # these take a second in each worker, and have none; a test imports them too
OTHERS = [
    Awkward(where="/mnt/a.mp4", size=7),
    StorageError(28, "No space left", "/mnt/a.mp4"),
    StorageError(18, "Cross-device", "a", None, "b"),
    StorageError(),
    LockedError(11, "Resource temporarily unavailable"),
    MissingExtraError("needs it", hint=Hint(Action.INSTALL_EXTRA, {"extra": "openai"})),
    RecordNotFoundError("no record has the id 'a'"),
]


@pytest.mark.parametrize("error", [*map(made, FAMILY), *OTHERS], ids=lambda error: type(error).__name__)
def test_every_error_and_warning_is_whole_after_a_copy_or_a_pickle(error):
    error.add_note("of the test")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert state(pickle.loads(pickle.dumps(error, protocol))) == state(error)
    assert state(copy.copy(error)) == state(error)
    assert state(copy.deepcopy(error)) == state(error)


def test_the_family_is_found():
    assert family() == FAMILY
    names = {cls.__name__ for cls in FAMILY}
    assert {"DamagedFrameError", "IndexStaleError", "TextMatchError", "DamageWarning", "EmbedderWarning"} <= names
    assert len(names) > 25


def test_an_error_comes_out_of_a_pool_of_processes():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(DamagedFrameError) as caught:
        pool.submit(read_a_damaged_frame, 7).result()
    assert caught.value.frame == 7
    assert str(caught.value) == "frame 7 is damaged: its bytes are not what was written"


def test_a_hint_is_worded_by_each_package():
    error = FilterError("written by {m}", hint=HINT)
    assert str(error) == "written by {m}; open it with 'model2vec:{m}', or pass force=True if both are the same model"
    assert worded(error, {Action.FORCE: "--embedder {embedder}"}) == "written by {m}; --embedder model2vec:{m}"
    assert worded(error, {Action.FILTER: "filter="}) == str(error)
    assert str(FilterError("plain")) == "plain"
    assert worded(ValueError("not ours")) == "not ours"


@pytest.mark.parametrize("action", Action)
def test_showing_a_hint_never_fails(action):
    assert str(ReadOnlyError("no", hint=Hint(action))).startswith("no; ")
    assert str(
        ReadOnlyError("no", hint=Hint(action, {"embedder": "e", "path": "p", "extra": "x", "fields": "f"}))
    ).count("...") == (1 if action is Action.FILTER else 0)


def test_the_warning_names_the_embedder_and_says_what_to_do():
    with pytest.warns(EmbedderWarning, match="written by 'x:y' and is opened without it") as caught:
        warnings.warn(EmbedderWarning("x:y"), stacklevel=1)
    warning = caught[0].message
    assert isinstance(warning, EmbedderWarning)
    assert (warning.embedder, warning.hint) == ("x:y", Hint(Action.GIVE_EMBEDDER, {"embedder": "x:y"}))
    assert worded(warning, {Action.GIVE_EMBEDDER: "pass embedding="}).endswith("; pass embedding=")
