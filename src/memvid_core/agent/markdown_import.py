"""Markdown in: a person's edits of an export become corrections, new bullets items, other notes resources."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from memvid_core.agent.checks import path_of
from memvid_core.agent.documents import NoTextError, memorize_file, read_document_file
from memvid_core.agent.folding import fold
from memvid_core.agent.markdown import Bullet, Page, plain, read_page
from memvid_core.agent.markdown_export import INDEX, UNCATEGORIZED, origin_of
from memvid_core.agent.markdown_manifest import Manifest, read_manifest, write_manifest
from memvid_core.agent.memorizing import equal_to
from memvid_core.agent.records import Item, Readable, Resource, digest, read_item, read_resource
from memvid_core.agent.results import Memorized
from memvid_core.agent.rules import Fact
from memvid_core.agent.sync_service import SyncMemoryService
from memvid_core.agent.text_files import read_text
from memvid_core.errors import InvalidInputError

__all__ = ["Imported", "import_markdown"]

_NOTES: Final = (".md", ".markdown", ".mdx", ".txt")


class Imported(Readable, frozen=True, kw_only=True):
    """What an import changed.

    Attributes:
        folder: The folder.
        corrected: Items whose text, type or categories a person changed.
        added: Items from new bullets.
        forgotten: Ids of the items and resources that were forgotten; none without ``forget_missing``.
        missing: Ids of exported items that are in no file any more; ``forget_missing`` forgets them.
        ignored: Bullets as they were exported, whose items were forgotten or replaced since then.
        resources: Notes that are new or were changed.
        unchanged: How many notes are as they were.
    """

    folder: str
    corrected: list[Item] = msgspec.field(default_factory=list)
    added: list[Item] = msgspec.field(default_factory=list)
    forgotten: list[str] = msgspec.field(default_factory=list)
    missing: list[str] = msgspec.field(default_factory=list)
    ignored: list[str] = msgspec.field(default_factory=list)
    resources: list[Resource] = msgspec.field(default_factory=list)
    unchanged: int = 0


class _Folder(msgspec.Struct, frozen=True):
    """The files of a folder: pages of an export, by file name, and notes."""

    pages: dict[str, Page]
    contents: dict[str, str]
    notes: list[Path]


class _Edits(NamedTuple):
    """What the bullets of all pages ask for."""

    fields: dict[str, dict[str, Any]]
    facts: list[Fact]
    seen: set[str]
    ignored: list[str]


def import_markdown(
    service: SyncMemoryService, folder: str | os.PathLike[str], *, forget_missing: bool = False, **scope: Any
) -> Imported:
    """Read a folder of Markdown into memory: an export that a person edited, or any notes.

    In a file of an export, a bullet that was edited corrects its item, and a bullet without a reference is a new item;
    both are one commit. Any other ``.md`` or ``.txt`` file becomes a resource. A bullet or file that is gone changes
    nothing, unless ``forget_missing`` is set. An import that was interrupted is completed by the next.

    Args:
        service: The service.
        folder: The folder. Hidden files and folders in it are left out.
        forget_missing: Forget items that were exported and notes that were imported, and are gone from the folder.
        **scope: Whose memory.

    Raises:
        InvalidInputError: The scope has no owner; the folder or a file cannot be read; two files edit one item in two
            ways; or ``forget_missing`` is set and the folder is not an export of this scope of this memory.
    """
    owner = service.scopes.owner(service.scopes.check(scope))
    root = path_of(folder, "folder")
    if not root.is_dir():
        raise InvalidInputError(f"the folder {root} does not exist: export into one first, or give a folder of notes")
    found = read_manifest(root)
    manifest = found if found is not None and found.memory == origin_of(service, owner) else None
    files = _read_folder(root, found or Manifest())
    if forget_missing and manifest is None and not _imported_notes(service, owner, root):
        raise InvalidInputError(
            f"{root} is not an export of this memory and scope, so nothing can be missing from it: export first"
        )
    edits = _edits(service, owner, files.pages, manifest or Manifest())
    plan = service._memorizer.edit_items(edits.fields, edits.facts, owner)
    changed = [item for item in plan.items.values() if item.id in edits.fields]
    notes = [_note(service, path, owner) for path in files.notes]
    missing = [item_id for item_id in (manifest or Manifest()).items if item_id not in edits.seen]
    current = {item.id for item in service.list_memory_items(owner)}
    missing = [item_id for item_id in missing if item_id in current]
    gone = [*missing, *_gone_notes(service, owner, root, files.notes)] if forget_missing else []
    if gone:
        service.forget(gone, where=owner)
    if manifest is not None:
        write_manifest(root, _manifest_after(manifest, files, plan.items.values(), gone))
    return Imported(
        folder=str(root),
        corrected=changed,
        added=[item for item in plan.result if item.id not in edits.fields],
        forgotten=gone,
        missing=[] if forget_missing else missing,
        ignored=edits.ignored,
        resources=[note.resource for note in notes if note is not None and note.turns],
        unchanged=sum(1 for note in notes if note is not None and not note.turns),
    )


# --- the folder ---


def _read_folder(root: Path, manifest: Manifest) -> _Folder:
    pages: dict[str, Page] = {}
    contents: dict[str, str] = {}
    notes: list[Path] = []
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        if path.suffix.lower() not in (".md", ".markdown"):
            notes.append(path)
            continue
        text = _text(path)
        page = read_page(text)
        if name in manifest.files:
            contents[name] = text
            if name != INDEX:
                pages[name] = page
        elif page.kind in ("category", UNCATEGORIZED) and page.name:
            pages[name] = page
        else:
            notes.append(path)
    return _Folder(pages, contents, notes)


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if not name.startswith(".") and path.suffix.lower() in _NOTES and path.is_file():
                yield path


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except InvalidInputError as exc:
        raise InvalidInputError(f"{path}: {exc}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInputError(f"{path} cannot be read as UTF-8 text: {exc}") from exc


# --- items ---


def _edits(service: SyncMemoryService, owner: dict[str, Any], pages: dict[str, Page], manifest: Manifest) -> _Edits:
    every = [read_item(record) for record in service._store.select("item", equal_to(owner))]
    current = {item.id: item for item in every if item.superseded_at is None}
    by_text = {item.key: item for item in (*(each for each in every if each.superseded_at), *current.values())}
    exported = {text: item_id for item_id, texts in manifest.items.items() for text in texts}
    bullets: dict[str, list[tuple[str, str | None, Bullet]]] = {}
    edits = _Edits({}, [], set(), [])
    new: dict[str, Fact] = {}
    for file, page in pages.items():
        name = None if page.kind == UNCATEGORIZED else page.name or Path(file).stem
        for bullet in page.bullets:
            ref = _item_of(bullet, current, by_text, exported)
            edits.seen.add(ref or "")
            if ref in current:
                bullets.setdefault(ref, []).append((file, name, bullet))
            elif ref is not None and (bullet.ref is None or manifest.exported(ref, bullet.text)):
                edits.ignored.append(bullet.text)
            else:
                _add_fact(new, bullet, name)
    names = {page.name or Path(file).stem for file, page in pages.items()}
    for ref, own in bullets.items():
        fields = _fields(current[ref], own, names, manifest)
        if fields:
            edits.fields[ref] = fields
    edits.facts.extend(new.values())
    return edits


def _item_of(
    bullet: Bullet, current: dict[str, Item], by_text: dict[str, Item], exported: dict[str, str]
) -> str | None:
    """Return the id of the item that a bullet stands for, by its reference or by its text; None if it is new."""
    if bullet.ref in current:
        return bullet.ref
    same = by_text.get(digest(fold(bullet.text)))
    if same is not None:
        return same.id
    return bullet.ref or exported.get(digest(bullet.text))


def _add_fact(new: dict[str, Fact], bullet: Bullet, category: str | None) -> None:
    key = fold(bullet.text)
    named = () if category is None else (category,)
    if key in new:
        new[key] = new[key]._replace(categories=tuple(dict.fromkeys([*new[key].categories, *named])))
    elif key:
        new[key] = Fact(bullet.memory_type or "knowledge", bullet.text, named)


def _fields(
    item: Item, own: list[tuple[str, str | None, Bullet]], pages: set[str], manifest: Manifest
) -> dict[str, Any]:
    """Return what the bullets of an item change of it."""
    fields: dict[str, Any] = {}
    there = plain(item.summary)
    edited = {
        bullet.text: file
        for file, _, bullet in own
        if bullet.ref == item.id and bullet.text != there and not manifest.exported(item.id, bullet.text)
    }
    if len(edited) > 1:
        raise InvalidInputError(f"{' and '.join(edited.values())} edit [ref:{item.id}] in different ways: keep one")
    if edited and "" not in edited:
        fields |= {"summary": next(iter(edited)), "origin": "user"}
    types = {bullet.memory_type for _, _, bullet in own} - {None, item.memory_type}
    if len(types) == 1 and manifest.exported(item.id, there):
        fields["memory_type"] = types.pop()
    named = list(dict.fromkeys(name for _, name, _ in own if name is not None))
    if any(name not in item.categories for name in named):
        kept = [name for name in item.categories if name in named or name not in pages]
        fields["categories"] = list(dict.fromkeys([*kept, *named]))
    return fields


def _manifest_after(manifest: Manifest, files: _Folder, changed: Iterable[Item], gone: list[str]) -> Manifest:
    """Return the manifest of a folder whose edits are in memory."""
    items = {item_id: texts for item_id, texts in manifest.items.items() if item_id not in gone}
    for item in changed:
        if item.superseded_at is None:
            items[item.id] = sorted({*items.get(item.id, ()), digest(plain(item.summary))})
    names = {name: [digest(text)] for name, text in files.contents.items()}
    return Manifest(memory=manifest.memory, files={**manifest.files, **names}, items=items)


# --- notes ---


def _note(service: SyncMemoryService, path: Path, owner: dict[str, Any]) -> Memorized | None:
    """Memorize a note; None if it has no text."""
    try:
        return memorize_file(service, path, "document", owner, read_document_file)
    except NoTextError:
        return None
    except InvalidInputError as exc:
        raise InvalidInputError(f"{path}: {exc}") from exc


def _imported_notes(service: SyncMemoryService, owner: dict[str, Any], root: Path) -> list[Resource]:
    """Return the resources that were read from files of a folder."""
    inside = root.resolve()
    found = (read_resource(record) for record in service._store.select("resource", equal_to(owner)))
    documents = [each for each in found if each.modality == "document" and each.url]
    return [
        each
        for each in documents
        if Path(str(each.url)).suffix.lower() in _NOTES and inside in Path(str(each.url)).parents
    ]


def _gone_notes(service: SyncMemoryService, owner: dict[str, Any], root: Path, notes: list[Path]) -> list[str]:
    there = {str(path.resolve()) for path in notes}
    return [each.id for each in _imported_notes(service, owner, root) if each.url not in there]
