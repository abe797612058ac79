"""A hook of the documentation site: links out of ``docs/``, and blocks of code that the tests do not run.

A page is read in a checkout and on the site. ``[results](../benchmarks/RESULTS.md)`` works in the first. On the site it
leads to the repository's page if ``repo_url`` is set in ``mkdocs.yml``; otherwise it is shown without a link.

A block that begins with ``python no-run: needs a key`` says why it is not run. The site takes only the language from
it: with the rest it would not be a block, and take the text up to the next block into itself.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)")
NOT_RUN = re.compile(r"^(\s*```+\w+) no-run:.*$", re.MULTILINE)


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Rewrite the links of one page, and the beginnings of blocks that are not run."""
    docs = Path(config.docs_dir).name

    def rewritten(match: re.Match[str]) -> str:
        text, target = match.groups()
        path = posixpath.normpath(posixpath.join(docs, posixpath.dirname(page.file.src_uri), target))
        if path.startswith(docs + "/"):
            return match.group(0)
        return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{path})" if config.repo_url else text

    return LINK.sub(rewritten, NOT_RUN.sub(r"\1", markdown))
