"""The compared readers, each in a process of its own: ``python -m benchmarks.documents.tools NAME LIST OUTPUT``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["TOOLS"]

_WHOLE = 1_000_000  # characters; chunks would hide the order of what they divide


def _memvid(paths: list[str]) -> Iterator[tuple[str, str]]:
    from memvid_core.ingest import Chunker, read_many

    for result in read_many(paths, Chunker(_WHOLE, overlap=0)):
        yield str(result.path), "\n".join(chunk.text for chunk in result.chunks)


def _markitdown(paths: list[str]) -> Iterator[tuple[str, str]]:
    from markitdown import MarkItDown

    converter = MarkItDown()
    for path in paths:
        with suppress(Exception):
            yield path, converter.convert(path).text_content


def _llama_index(paths: list[str]) -> Iterator[tuple[str, str]]:
    from llama_index.core import SimpleDirectoryReader

    texts: dict[str, list[str]] = {}
    # Of a file that cannot be read it prints the error, and goes on.
    for document in SimpleDirectoryReader(input_files=paths).load_data():
        texts.setdefault(str(document.metadata["file_path"]), []).append(document.text)
    for path, parts in texts.items():
        yield path, "\n".join(parts)


def _langchain(paths: list[str]) -> Iterator[tuple[str, str]]:
    from langchain_community import document_loaders as loaders

    kinds: dict[str, Callable[[str], Any]] = {
        ".pdf": loaders.PyPDFLoader,
        ".docx": loaders.Docx2txtLoader,
        ".pptx": loaders.UnstructuredPowerPointLoader,
        ".xlsx": loaders.UnstructuredExcelLoader,
        ".odt": loaders.UnstructuredODTLoader,
        ".rtf": loaders.UnstructuredRTFLoader,
        ".html": loaders.BSHTMLLoader,
        ".epub": loaders.UnstructuredEPubLoader,
        ".eml": loaders.UnstructuredEmailLoader,
        ".msg": loaders.OutlookMessageLoader,
        ".csv": loaders.CSVLoader,
        ".md": loaders.TextLoader,
    }
    for path in paths:
        with suppress(Exception):
            yield path, "\n".join(document.page_content for document in kinds[Path(path).suffix](path).load())


def _docling(paths: list[str]) -> Iterator[tuple[str, str]]:
    os.environ["HF_HUB_OFFLINE"] = "1"  # its models of layouts, without which it reads no PDF, are not downloaded
    from docling.document_converter import DocumentConverter

    converter = DocumentConverter()
    for path in paths:
        with suppress(Exception):
            yield path, converter.convert(path).document.export_to_markdown()


TOOLS = {
    "memvid": _memvid,
    "markitdown": _markitdown,
    "llama-index": _llama_index,
    "langchain": _langchain,
    "docling": _docling,
}


def _main() -> None:
    name, listed, output = sys.argv[1:]
    paths = json.loads(Path(listed).read_text())
    Path(output).write_text(json.dumps(dict(TOOLS[name](paths))))


if __name__ == "__main__":
    _main()
