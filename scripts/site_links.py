"""A hook of the documentation site: links to files outside ``docs/`` become plain text, unless a repository is named.

A page is read in a checkout and on the site. ``[results](../benchmarks/RESULTS.md)`` works in the first. On the site it
leads to the repository's page if ``repo_url`` is set in ``mkdocs.yml``; otherwise it is shown without a link.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Rewrite the links of one page."""
    docs = Path(config.docs_dir).name

    def rewritten(match: re.Match[str]) -> str:
        text, target = match.groups()
        path = posixpath.normpath(posixpath.join(docs, posixpath.dirname(page.file.src_uri), target))
        if path.startswith(docs + "/"):
            return match.group(0)
        return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{path})" if config.repo_url else text

    return LINK.sub(rewritten, markdown)
