"""The error for a package that is not installed."""

from __future__ import annotations

from memvid_core.errors import Action, Hint, MissingExtraError

__all__ = ["missing"]


def missing(extra: str, cause: ImportError) -> MissingExtraError:
    """Return the error that names the extra which brings a package.

    Example:
        >>> print(missing("mcp", ImportError("No module named 'mcp'")))
        the package mcp cannot be imported (No module named 'mcp'); install it with: pip install 'memvid-core[mcp]'
    """
    return MissingExtraError(
        f"the package {extra} cannot be imported ({cause})", hint=Hint(Action.INSTALL_EXTRA, {"extra": extra})
    )
