"""Text, Markdown, source code and notebooks."""

from __future__ import annotations

import json
from pathlib import Path

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.file_types import language_of
from memvid_core.ingest.readers.markdown import markdown_sections

__all__ = ["read_code", "read_markdown", "read_notebook", "read_text"]


def read_text(path: Path) -> list[Section]:
    """Read plain text in any common encoding."""
    return [Section(decode(path.read_bytes()))]


def read_markdown(path: Path) -> list[Section]:
    """Read Markdown as one section per heading."""
    return markdown_sections(decode(path.read_bytes()))


def read_code(path: Path) -> list[Section]:
    """Read a source file, with its ``language`` in the metadata."""
    return [Section(decode(path.read_bytes()), {"language": language_of(path)}, "code")]


def read_notebook(path: Path) -> list[Section]:
    """Read the Markdown and code cells of a Jupyter notebook (nbformat 4), without outputs."""
    try:
        notebook = json.loads(decode(path.read_bytes()))
        cells = [(str(cell["cell_type"]), "".join(cell["source"])) for cell in notebook["cells"]]
        language = str(notebook.get("metadata", {}).get("kernelspec", {}).get("language", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        if isinstance(exc, IngestError):
            raise
        raise IngestError(f"not a Jupyter notebook (nbformat 4): {exc}") from exc
    parts = [f"```{language}\n{source}\n```" if kind == "code" else source for kind, source in cells if source.strip()]
    return markdown_sections("\n\n".join(parts))
