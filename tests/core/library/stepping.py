"""Another program at a chosen moment of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memvid_core.library.objects import Objects


class Stepping:
    """The objects of a library; another program runs before the ``at``-th call of a method."""

    def __init__(self, objects: Objects, at: int, other: Callable[[], object]) -> None:
        self._objects, self._at, self._other = objects, at, other
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._objects, name)
        if not callable(found):
            return found

        def called(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self._at:
                self._other()
            return found(*arguments, **options)

        return called
