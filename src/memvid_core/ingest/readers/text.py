"""Text, Markdown, source code and notebooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.encoded_data import without_encoded_data
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.file_types import language_of
from memvid_core.ingest.readers.markdown import markdown_sections
from memvid_core.ingest.readers.markup_pictures import markdown_pictures, or_pictures
from memvid_core.ingest.readers.remarks import leaving_out

__all__ = ["read_code", "read_markdown", "read_notebook", "read_text"]


def read_text(path: Path) -> list[Section]:
    """Read plain text in any common encoding."""
    return [Section(decode(path.read_bytes()))]


def read_markdown(path: Path) -> list[Section]:
    """Read Markdown as one section per heading."""
    text, pictures = markdown_pictures(decode(path.read_bytes()))
    return or_pictures(markdown_sections(without_encoded_data(text, code=True)), pictures)


def read_code(path: Path) -> list[Section]:
    """Read a source file, with its ``language`` in the metadata."""
    return [Section(decode(path.read_bytes()), {"language": language_of(path)}, "code")]


def read_notebook(path: Path) -> list[Section]:
    """Read the Markdown and code cells of a Jupyter notebook (nbformat 1 to 4), without outputs."""
    try:
        notebook = json.loads(decode(path.read_bytes()))
        # Before version 4, cells are in worksheets.
        sheets = notebook.get("worksheets", [notebook])
        listed = [cell for sheet in sheets for cell in sheet["cells"]]
        metadata = notebook.get("metadata", {})
        language = str(metadata.get("kernelspec", metadata.get("language_info", {})).get("language", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        if isinstance(exc, IngestError):
            raise
        raise IngestError(f"not a Jupyter notebook: {exc}") from exc
    cells: list[tuple[str, str]] = []
    for number, cell in enumerate(listed, 1):
        with leaving_out(f"cell {number}"):
            cells.append(_cell(cell))
    parts = [f"```{language}\n{source}\n```" if kind == "code" else source for kind, source in cells if source.strip()]
    text, pictures = markdown_pictures("\n\n".join(parts))
    return or_pictures(markdown_sections(text), pictures)


def _cell(cell: dict[str, Any]) -> tuple[str, str]:
    """Return the kind and the source of a cell; a heading of version 3 becomes Markdown."""
    kind = str(cell["cell_type"])
    source = "".join(cell["source"] if "source" in cell else cell.get("input", cell.get("text", "")))
    if kind == "heading":
        return "markdown", f"{'#' * min(max(int(cell.get('level', 1)), 1), 6)} {source}"
    return kind, source
