"""A hook of the build: the README as a package page shows it, where relative links lead nowhere.

With ``Repository`` in ``[project.urls]``, relative links and pictures become absolute. Without, a link becomes its text
and a picture is left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


def package_page(readme: str, repository: str | None) -> str:
    """Return the text of the package page.

    Args:
        readme: The README's Markdown.
        repository: The repository's URL, if it has one.
    """

    def rewritten(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        if repository:
            kind = "raw" if picture else "blob"
            return f"{picture}[{text}]({repository.rstrip('/')}/{kind}/main/{target})"
        return "" if picture else text

    parts = re.split(r"(^```.*?^```$)", readme, flags=re.MULTILINE | re.DOTALL)  # code blocks stay as they are
    return "".join(part if number % 2 else LINK.sub(rewritten, part) for number, part in enumerate(parts))


class ReadmeHook(MetadataHookInterface):
    """Give the project's metadata that README."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set ``readme``, which ``pyproject.toml`` names as dynamic."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        page = package_page(text, metadata.get("urls", {}).get("Repository"))
        metadata["readme"] = {"content-type": "text/markdown", "text": page}
