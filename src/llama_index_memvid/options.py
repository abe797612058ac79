"""Unknown options: methods reject them and suggest the closest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from memvid_core import InvalidInputError

__all__ = ["UnknownOptionError", "check_options", "unknown_option"]


class UnknownOptionError(InvalidInputError, TypeError):
    """Report an option that the method does not have. Ignoring a mistyped filter would return hidden records."""


def unknown_option(method: str, name: str, known: Iterable[str]) -> UnknownOptionError:
    """Return the error for an unknown option, with the closest known name.

    Example:
        >>> str(unknown_option("delete", "fliter", ["ids", "filter"]))
        "delete has no option 'fliter'; did you mean 'filter'? Its options are ids, filter"
    """
    there = list(known)
    near = difflib.get_close_matches(name, there, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UnknownOptionError(f"{method} has no option {name!r}{hint} Its options are {', '.join(there)}")


def check_options(method: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Check that ``method`` has every option.

    Raises:
        UnknownOptionError: An option is unknown.
    """
    there = list(known)
    for name in given:
        if name not in there:
            raise unknown_option(method, name, there)
