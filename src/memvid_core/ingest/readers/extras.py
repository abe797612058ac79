"""Import of converters, which are installed with the ``documents`` extra, when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from memvid_core.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, purpose: str) -> Any:
    """Import a module of the ``documents`` extra.

    Args:
        module: Its import name.
        purpose: What the module is needed for, starting with "to".

    Raises:
        MissingExtraError: The module is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise MissingExtraError(
            f"{module.partition('.')[0]} is needed {purpose}: pip install 'memvid-core[documents]' ({exc})"
        ) from exc
