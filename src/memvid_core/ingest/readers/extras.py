"""Converters that are installed with the ``documents`` extra, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from memvid_core.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, purpose: str) -> Any:
    """Import a module of the ``documents`` extra.

    Args:
        module: Its import name.
        purpose: What it is needed for, starting with "to".

    Raises:
        MissingExtraError: It is not installed; names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise MissingExtraError(
            f"{module.partition('.')[0]} is needed {purpose}: pip install 'memvid-core[documents]' ({exc})"
        ) from exc
