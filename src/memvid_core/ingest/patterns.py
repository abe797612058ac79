"""Patterns of paths: those of ``include`` and ``exclude``, and the rules of ``.gitignore`` files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from memvid_core.errors import InvalidInputError

__all__ = ["IgnoreRules", "Patterns", "nfc"]

_LARGEST_FILE = 1 << 20  # bytes of a .gitignore


def nfc(text: str) -> str:
    """Return a name in its composed form: macOS stores names as they were typed, often decomposed."""
    return unicodedata.normalize("NFC", text)


class Patterns:
    """Match files by patterns: ``*`` matches any characters, ``**/`` any folders, also none.

    A pattern matches a file's name, or its path below the given folder. Patterns that never matched are in `unused`.

    Args:
        patterns: The patterns, with ``/``.

    Raises:
        InvalidInputError: A pattern is not valid.

    Example:
        >>> patterns = Patterns(["**/*.md", "docs/*.txt"])
        >>> [patterns.match(path) for path in ("a.md", "x/y/a.md", "docs/a.txt", "a.txt")]
        [True, True, True, False]
        >>> Patterns(["*.pdf"]).unused
        ['*.pdf']
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = {pattern: _loose(nfc(pattern)) for pattern in patterns}
        self._unused = dict.fromkeys(self._patterns)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    @property
    def unused(self) -> list[str]:
        """The patterns that have not matched anything."""
        return list(self._unused)

    def match(self, relative: str) -> bool:
        """Return whether a pattern matches a path below the given folder, or its last part."""
        relative = nfc(relative)
        name = relative.rpartition("/")[2]
        matched = [
            pattern
            for pattern, regex in self._patterns.items()
            # A name that looks like a pattern matches itself.
            if regex.match(name) or regex.match(relative) or nfc(pattern) in (name, relative)
        ]
        for pattern in matched:
            self._unused.pop(pattern, None)
        return bool(matched)


def _loose(pattern: str) -> re.Pattern[str]:
    pattern = pattern.replace("\\", "/").removeprefix("./").rstrip("/") or "/"
    try:
        return re.compile(_regex(pattern, star=".*") + r"\Z", re.DOTALL)
    except re.error as exc:
        raise InvalidInputError(f"{pattern!r} is not a pattern of file names: {exc}") from exc


_DEEP, _ALL, _STAR = "deep", "all", "star"
_MOST_DEEP = 4  # "**" in a pattern: each multiplies the time of matching


@lru_cache(maxsize=4096)
def _regex(pattern: str, star: str) -> str:
    """Return the regular expression of a pattern; ``star`` is that of ``*``.

    A star that another one follows takes the shortest text, for good: that never misses a match, and takes linear time.
    """
    tokens = _tokens(pattern)
    if sum(kind in (_DEEP, _ALL) for kind, _ in tokens) > _MOST_DEEP:
        raise re.error(f"more than {_MOST_DEEP} times ** in {pattern!r}")
    written = ""
    open_at = -1  # where the last star is
    for kind, text in tokens:
        if kind == _STAR:
            if open_at >= 0:
                written = f"{written[:open_at]}(?>{star}?{written[open_at + len(star) :]})"
            open_at = len(written)
            written += star
        elif kind in (_DEEP, _ALL) or (text == "/" and star != ".*"):
            written += {_DEEP: "(?:.*/)?", _ALL: ".*"}.get(kind, text)
            open_at = -1
        else:
            written += text
    return written


def _tokens(pattern: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    place = 0
    while place < len(pattern):
        char = pattern[place]
        if pattern.startswith("**/", place) and (place == 0 or pattern[place - 1] == "/"):
            tokens.append((_DEEP, ""))
            place += 3
        elif char == "*":
            end = place
            while end < len(pattern) and pattern[end] == "*":
                end += 1
            tokens.append((_ALL if end - place > 1 else _STAR, ""))
            place = end
        elif char == "?":
            tokens.append(("one", "[^/]"))
            place += 1
        elif char == "[" and (end := pattern.find("]", place + 2 + (pattern[place + 1 : place + 2] in "!^"))) > 0:
            chosen = pattern[place + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            tokens.append(("one", f"[{'^' + chosen[1:] if chosen[0] in '!^' else chosen}]"))
            place = end + 1
        else:
            if char == "\\" and place + 1 < len(pattern):
                place += 1
                char = pattern[place]
            tokens.append(("one", re.escape(char)))
            place += 1
    return tokens


class _Rule(NamedTuple):
    regex: re.Pattern[str]
    negated: bool
    folders_only: bool


class IgnoreRules:
    """Apply the ``.gitignore`` files of a folder, of the folders above it up to the repository, and of those below.

    Later rules win over earlier ones, and deeper files over those above, as in Git.

    Args:
        root: The folder that is walked.
    """

    def __init__(self, root: Path) -> None:
        self._rules: dict[str, list[_Rule]] = {}
        self._above: list[tuple[str, list[_Rule]]] = []
        real = Path(root).resolve()
        chain = [real, *real.parents]
        top = next((place for place in chain if (place / ".git").exists()), real)
        for place in chain[1:] if top != real else ():
            rules = _read(place)
            if rules:
                self._above.append((f"{real.relative_to(place).as_posix()}/", rules))
            if place == top:
                break

    @property
    def any(self) -> bool:
        """Whether there are any rules."""
        return bool(self._rules or self._above)

    def enter(self, folder: Path, below: str) -> None:
        """Read the rules of a folder; ``below`` is its path below the root with a final ``/``, empty for the root."""
        rules = _read(folder)
        if rules:
            self._rules[below] = rules

    def ignored(self, relative: str, *, folder: bool) -> bool:
        """Return whether a path below the root is ignored."""
        relative = nfc(relative)
        parts = relative.split("/")
        for depth in range(len(parts) - 1, -1, -1):
            prefix = "".join(f"{part}/" for part in parts[:depth])
            verdict = _verdict(self._rules.get(prefix, ()), relative[len(prefix) :], folder)
            if verdict is not None:
                return verdict
        for prefix, rules in self._above:
            verdict = _verdict(rules, prefix + relative, folder)
            if verdict is not None:
                return verdict
        return False


def _verdict(rules: Iterable[_Rule], path: str, folder: bool) -> bool | None:
    for rule in reversed(list(rules)):
        if (folder or not rule.folders_only) and rule.regex.match(path):
            return not rule.negated
    return None


def _read(folder: Path) -> list[_Rule]:
    try:
        with (folder / ".gitignore").open("rb") as file:
            text = file.read(_LARGEST_FILE).decode("utf-8", "replace")
    except OSError:
        return []
    rules = []
    for line in text.removeprefix("\ufeff").splitlines():
        pattern = line.rstrip() if not line.endswith("\\ ") else line
        if not pattern or pattern.startswith("#"):
            continue
        negated = pattern.startswith("!")
        pattern = pattern[1:] if negated else pattern
        folders_only = pattern.endswith("/")
        pattern = pattern.rstrip("/")
        anchored = "/" in pattern
        pattern = pattern.lstrip("/") if anchored else f"**/{pattern}"
        pattern = f"{pattern[:-3]}/**" if pattern.endswith("/**") else pattern
        try:
            rules.append(
                _Rule(re.compile(_regex(nfc(pattern), star="[^/]*") + r"\Z", re.DOTALL), negated, folders_only)
            )
        except re.error:
            continue  # Git ignores such a line, too
    return rules
