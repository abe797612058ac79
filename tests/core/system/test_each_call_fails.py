"""Every single call of the system fails once: whole files are made, or none, and errors are of this package."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from memvid_core import Memory, MemvidError, convert, rescue
from tests.core.embedders import embed
from tests.processes import run

CALLS = ("fstat", "fsync", "link", "mkdir", "open", "pread", "rename", "replace", "rmdir", "scandir", "stat", "unlink")
MAKERS: dict[str, Callable[[Path, Path], object]] = {
    "convert": lambda source, target: convert(source, target, codec="pcm"),
    "convert without history": lambda source, target: convert(source, target, codec="pcm", keep_history=False),
    "rescue": rescue,
    "save": lambda source, target: _saved(source, target),
}


def _saved(source: Path, target: Path) -> None:
    with Memory.open(source, embedder=embed) as memory:
        memory.save(target)


def _content(path: Path) -> list[str]:
    with Memory.open(path, embedder=embed, index_dir=path.with_name("look.index")) as memory:
        return [record.text for record in memory]


@contextmanager
def _failing(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[list[str]]:
    """Let one call of this thread fail with EIO; the list has the names of all that were made."""
    made: list[str] = []
    thread = threading.get_ident()

    def wrapped(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if threading.get_ident() == thread:
                made.append(name)
                if len(made) == number:
                    raise OSError(errno.EIO, os.strerror(errno.EIO), str(arguments[0]))
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in CALLS:
            if hasattr(os, name):
                patched.setattr(os, name, wrapped(name))
        yield made


@pytest.mark.parametrize("what", MAKERS)
def test_a_file_is_made_whole_or_not_at_all(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, source, target = MAKERS[what], tmp_path / "source.mp4", tmp_path / "target.mp4"
    with Memory.create(source, embed) as memory:
        memory.add(["one", "two"], ids=["a", "b"])
        memory.delete("a")
        memory.add(["three"], ids=["c"])
    make(source, target)
    content = _content(target)
    target.unlink()
    number, made, refused = 0, [""], 0
    while len(made) > number - 1:
        number += 1
        with _failing(monkeypatch, number) as made:
            try:
                make(source, target)
            except MemvidError:
                failed = True
            else:
                failed = False
        refused += failed
        assert _content(target) == content if not failed else not target.exists(), made[-1]
        target.unlink(missing_ok=True)
        make(source, target)  # nothing is in its way
        names = {"source.mp4", "source.mp4.index", "target.mp4", "look.index"}
        assert {path.name for path in tmp_path.iterdir()} <= names, made
        target.unlink()
    assert refused > 3


def test_a_memory_is_created_or_an_error_of_this_package_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, number, made = tmp_path / "new.mp4", 0, [""]
    while len(made) > number - 1:
        number += 1
        with _failing(monkeypatch, number) as made, suppress(MemvidError):
            Memory.create(target, embed).close()
        with Memory.open(target, "a", embedder=embed, create=True) as memory:
            assert not len(memory)
        target.unlink()
        shutil.rmtree(f"{target}.index")
        assert not list(tmp_path.iterdir())
    assert number > 20


SHORT = """
import os, sys

real = os.pread
os.pread = lambda descriptor, size, offset: real(descriptor, min(size, 700), offset)

from memvid_core import Memory
from tests.core.embedders import embed

texts = [f"{n} " + "word " * n for n in range(300)]
with Memory.create(sys.argv[1], embed) as memory:
    memory.add(texts[:150])
    memory.add(texts[150:])
    memory.compact()
    print(memory.verify().ok, [record.text for record in memory] == texts)
"""


@pytest.mark.skipif(not hasattr(os, "pread"), reason="Windows has no positional reads")
def test_a_read_that_returns_less_is_continued_and_no_damage(tmp_path: Path) -> None:
    """File systems of networks and containers return less than was asked for."""
    done = run(SHORT, tmp_path / "m.mp4", modules=())
    assert done.stdout.split() == ["True", "True"], done.stderr
