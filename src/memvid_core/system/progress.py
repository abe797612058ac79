"""Progress bars for long work on a terminal; no output elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Advance", "progress"]

Advance = Callable[[int], None]
"""A function of the amount done so far."""


@contextmanager
def progress(title: str, total: int, *, show: bool | None = None) -> Iterator[Advance]:
    """Show a progress bar on standard error.

    Args:
        title: What is being done.
        total: The total amount, in any unit.
        show: Whether to show it; None shows it if standard error is a terminal.

    Example:
        >>> with progress("Indexing", 10, show=False) as advance:
        ...     advance(10)
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)
