"""The Ray that a program is connected to, or a local one."""

from __future__ import annotations

import logging
import os
from typing import Any

from memvid_core import MemvidError

__all__ = ["cause_of", "connected"]


def connected(address: str | None = None) -> Any:
    """Return the module ``ray``, connected: as the program has, or to an address, or to a local Ray that is started.

    Args:
        address: The address of a cluster; by default ``RAY_ADDRESS``.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent that the user did not ask for
    import ray

    if not ray.is_initialized():
        options: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
        if address is None and "RAY_ADDRESS" not in os.environ:
            options["include_dashboard"] = False
        ray.init(address=address, **options)
    return ray


def cause_of(exc: BaseException) -> BaseException:
    """Return the error of this package that a task has raised, without what Ray has put around it.

    Args:
        exc: What Ray has raised; it is returned if the task has raised something else.
    """
    found: BaseException | None = exc
    while found is not None:
        if isinstance(found, MemvidError) and "RayTaskError" not in type(found).__name__:
            return found
        inner = getattr(found, "cause", None)
        found = inner if isinstance(inner, BaseException) else found.__cause__
    return exc
