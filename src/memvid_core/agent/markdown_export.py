"""Markdown out: one page a category, and an index of the pages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from memvid_core.agent.categories import bullets
from memvid_core.agent.checks import path_of
from memvid_core.agent.markdown import file_stem, plain, write_page
from memvid_core.agent.markdown_manifest import (
    MANIFEST,
    Manifest,
    read_manifest,
    write_file,
    write_manifest,
)
from memvid_core.agent.memorizing import equal_to
from memvid_core.agent.records import Category, Item, digest
from memvid_core.agent.sync_service import SyncMemoryService
from memvid_core.errors import Action, Hint, InvalidInputError, StorageError
from memvid_core.system.atomic_files import remove_all_left

__all__ = ["INDEX", "UNCATEGORIZED", "Exported", "export_markdown", "origin_of"]

INDEX: Final = "MEMORY.md"
UNCATEGORIZED: Final = "uncategorized"
_LISTED: Final = 190
"""How many pages the index names: an index of more than 200 lines is cut off by those who load it."""


class Exported(msgspec.Struct, frozen=True):
    """What an export wrote: its files in the order of the index, and how many items they hold, each counted once."""

    folder: str
    files: list[str]
    items: int
    removed: list[str] = []


class _Page(msgspec.Struct, frozen=True):
    file: str
    name: str
    description: str
    items: list[Item]
    content: str


def export_markdown(
    service: SyncMemoryService, folder: str | os.PathLike[str], *, force: bool = False, **scope: Any
) -> Exported:
    """Write the items of a scope as Markdown: one page a category, ``MEMORY.md`` as their index.

    Exporting again replaces the pages and removes those of categories that are gone. Each file is replaced as a whole,
    so an export that was interrupted is completed by the next.

    Args:
        service: The service.
        folder: Where to; it is made if it is not there.
        force: Replace files that were edited since the last export, or that are not of an export.
        **scope: Whose memory.

    Raises:
        InvalidInputError: The scope has no owner; a file was edited and not imported; the folder is a file.
        StorageError: The system refused.

    Example:
        >>> import tempfile
        >>> from memvid_core import Memory
        >>> service = SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
        >>> _ = service.add("I live in Turin.", user_id="ada")
        >>> export_markdown(service, tempfile.mkdtemp(), user_id="ada").files
        ['MEMORY.md', 'personal_info.md']
    """
    owner = service.scopes.owner(service.scopes.check(scope))
    items = [item for item in service.list_memory_items(owner) if item.scope == owner]
    pages = _pages(items, [each for each in service.list_memory_categories(owner) if each.scope == owner])
    contents = {INDEX: _index(pages), **{page.file: page.content for page in pages}}
    made = Manifest(
        memory=origin_of(service, owner),
        files={name: [digest(content)] for name, content in contents.items()},
        items={item.id: [digest(plain(item.summary))] for item in items},
    )
    root = _folder(folder)
    there = read_manifest(root) or Manifest()
    gone = [name for name in there.files if name not in contents and (root / name).is_file()]
    if not force:
        _check_unchanged(root, there, contents, gone)
    remove_all_left(root)  # they may hold a text that was forgotten since
    write_manifest(root, there.joined(made))
    for name, content in contents.items():
        write_file(root / name, content)
    for name in gone:
        (root / name).unlink(missing_ok=True)
    write_manifest(root, made)
    return Exported(str(root), list(contents), len(items), gone)


def origin_of(service: SyncMemoryService, owner: dict[str, Any]) -> str:
    """Return what tells this memory and this scope from others."""
    return digest(service.memory.info().created.isoformat(), equal_to(owner))


def _folder(given: str | os.PathLike[str]) -> Path:
    root = path_of(given, "folder")
    if root.exists() and not root.is_dir():
        raise InvalidInputError(f"{root} is a file: give a folder")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StorageError(f"{root} cannot be made: {exc}") from exc
    return root


def _check_unchanged(root: Path, there: Manifest, contents: dict[str, str], gone: Sequence[str]) -> None:
    for name in [*contents, *gone]:
        path = root / name
        if not path.exists():
            continue
        text = path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
        if name in there.files and not there.wrote(name, text):
            raise InvalidInputError(f"{path} was edited since the last export", hint=Hint(Action.OVERWRITE))
        if name not in there.files and text != contents.get(name):
            raise InvalidInputError(f"{path} is not of an export (no {MANIFEST} names it): choose another folder")


def _pages(items: Sequence[Item], categories: Sequence[Category]) -> list[_Page]:
    known = {category.name: category for category in categories}
    inside: dict[str, list[Item]] = {name: [] for name in known}
    loose: list[Item] = []
    for item in items:
        for name in item.categories:
            inside.setdefault(name, []).append(item)
        if not item.categories:
            loose.append(item)
    pages: list[_Page] = []
    taken = {INDEX.casefold(), f"{UNCATEGORIZED}.md"}
    for name in sorted(name for name, own in inside.items() if own):
        file = _free(file_stem(name), taken)
        pages.append(_page(file, known.get(name) or Category(id="", name=name), inside[name]))
    if loose:
        about = "Items without a category"
        content = write_page(UNCATEGORIZED, about, loose, kind=UNCATEGORIZED)
        pages.append(_Page(f"{UNCATEGORIZED}.md", UNCATEGORIZED, about, loose, content))
    return pages


def _page(file: str, category: Category, items: list[Item]) -> _Page:
    written = category.summary != bullets(category, items)
    content = write_page(category.name, category.description, items, category.summary if written else "")
    return _Page(file, category.name, category.description, items, content)


def _free(stem: str, taken: set[str]) -> str:
    """Return a file name that is free where case makes no difference, too."""
    numbers = (f"{stem}.md" if number == 1 else f"{stem}_{number}.md" for number in range(1, len(taken) + 2))
    name = next(name for name in numbers if name.casefold() not in taken)
    taken.add(name.casefold())
    return name


def _index(pages: Sequence[_Page]) -> str:
    lines = ["# Memory", ""]
    listed = pages if len(pages) <= _LISTED else sorted(pages, key=lambda page: -len(page.items))[:_LISTED]
    for page in listed:
        about = f": {' '.join(page.description.split())}" if page.description else ""
        name = " ".join(page.name.split()).replace("[", "(").replace("]", ")")
        lines.append(f"- [{name}]({page.file}){about} ({len(page.items)})")
    if len(pages) > len(listed):
        lines.append(f"- and {len(pages) - len(listed)} more files in this folder")
    return "\n".join([*lines, ""])
