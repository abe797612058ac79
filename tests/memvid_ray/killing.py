"""An embedder that ends its process at chosen calls, and notes who called it; an actor that waits."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memvid_ray.executor import Opener
from tests.core.embedders import embed


class Killing:
    """Embed as ``embed`` does; a process dies at the calls with some numbers, counted over all processes.

    Args:
        folder: Has a file for each call, with the id of its process.
        at: The numbers of the calls, from 0.
        victim: The id of the process that dies; None for the one that is called.
    """

    name = "killing"

    def __init__(self, folder: Path, at: Sequence[int] = (), victim: int | None = None) -> None:
        self._folder, self._at, self._victim = folder, frozenset(at), victim

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Embed texts, or die."""
        number = 0
        while True:
            try:
                with (self._folder / str(number)).open("x") as file:
                    file.write(str(os.getpid()))
                break
            except FileExistsError:
                number += 1
        if number in self._at:
            os.kill(os.getpid() if self._victim is None else self._victim, signal.SIGKILL)
        return embed(texts)

    def embed_query(self, text: str) -> Any:
        """Embed a question."""
        return embed([text])[0]


class Locked:
    """An embedder that cannot be sent to another process."""

    name = "locked"

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Embed texts."""
        with self._lock:
            return embed(texts)

    def embed_query(self, text: str) -> Any:
        """Embed a question."""
        return embed([text])[0]


class Held(Opener):
    """An actor whose threads can be kept busy."""

    def hold(self, gate: str) -> None:
        """Wait until somebody writes to a named pipe."""
        with open(gate, "rb"):
            pass
