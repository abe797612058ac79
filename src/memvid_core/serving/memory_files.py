"""MemoryFiles: text files below ``/memories`` that a model edits, as records of a memory."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from memvid_core.agent.records import Item, Turn, digest, item_draft, turn_draft
from memvid_core.errors import InvalidInputError
from memvid_core.memory import Memory
from memvid_core.model import Record

__all__ = ["COMMANDS", "DEFAULT_OWNER", "FileError", "FileVersion", "MemoryFiles"]

ROOT: Final = "/memories"
DEFAULT_OWNER: Final = {"agent_id": "claude"}
"""Whose the files are if no scope is given."""

_KEY: Final = "claude_memory"
_MOST_LINES: Final = 999_999
_WIDTH: Final = 6  # of a line number
_FOLDER_SIZE: Final = 4096  # what a folder of most file systems has
_UNITS: Final = ("B", "K", "M", "G")
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "view": ("path", "view_range"),
    "create": ("path", "file_text"),
    "str_replace": ("path", "old_str", "new_str"),
    "insert": ("path", "insert_line", "insert_text"),
    "delete": ("path",),
    "rename": ("old_path", "new_path"),
}
_NOT_THERE: Final = "does not exist. Please provide a valid path."


class FileError(InvalidInputError):
    """A command that cannot be carried out; the message is for the model."""


class FileVersion(NamedTuple):
    """An earlier text of a file: its number from 1, since when it was the file's text, and the text."""

    number: int
    since: str
    text: str


class _File(NamedTuple):
    """A file in a memory: its key, its version, since when that is its text, and the text."""

    key: str
    version: int
    since: str
    text: str


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class MemoryFiles:
    """Text files below ``/memories``: view, create, edit, delete and rename them, each change as one commit.

    The commands answer as the file-system backend of Anthropic's SDK does. A file is also a turn of a
    :class:`~memvid_core.agent.MemoryService` with the same scope, so that ``recall`` finds it. Each edit keeps the text
    before it, see :meth:`versions`, as an item that is out of date: it is recalled only for the past, and it is
    forgotten with the file.

    Args:
        memory: A memory open for writing.
        scope: Whose the files are: fields of a memory service, such as ``{"user_id": "ada"}``.
        clock: Returns the time of a change in ISO 8601, with its zone.

    Raises:
        InvalidInputError: ``memory`` is not an open memory, or a scope's field has no value.

    Example:
        >>> files = MemoryFiles(Memory.create(":memory:"))
        >>> files.create("/memories/notes.txt", "one")
        'File created successfully at: /memories/notes.txt'
        >>> print(files.view("/memories/notes.txt"))
        Here's the content of /memories/notes.txt with line numbers:
             1	one
    """

    def __init__(
        self, memory: Memory, scope: Mapping[str, Any] | None = None, *, clock: Callable[[], str] = _now
    ) -> None:
        given: object = memory
        if not isinstance(given, Memory):
            raise InvalidInputError(f"files need an open Memory, not {given!r:.60}")
        self.memory = memory
        self.scope = dict(DEFAULT_OWNER if scope is None else scope)
        if not self.scope or any(not isinstance(value, str | int) or value == "" for value in self.scope.values()):
            raise InvalidInputError("a scope names the owner of the files, such as {'user_id': 'ada'}")
        self.owner = digest(self.scope)
        self._now = clock

    # --- commands ---

    def view(self, path: str, view_range: Sequence[int] | None = None) -> str:
        """Return a file with line numbers, or what a folder has, two levels deep."""
        full, tree = _checked(path), self._tree()
        if full in tree.folders:
            return _listing(path, full, tree)
        if full not in tree.files:
            raise FileError(f"The path {path} {_NOT_THERE}")
        lines = tree.files[full].text.split("\n")
        if len(lines) > _MOST_LINES:
            raise FileError(f"File {path} exceeds maximum line limit of 999,999 lines.")
        first = 1
        if view_range and len(view_range) == 2:
            first = max(1, view_range[0])
            lines = lines[first - 1 : None if view_range[1] == -1 else view_range[1]]
        return f"Here's the content of {path} with line numbers:\n" + _numbered(lines, first)

    def create(self, path: str, text: str) -> str:
        """Create a file, and the folders in which it is."""
        full = _checked(path)
        with self._changing() as tree:
            if full in tree.files or full in tree.folders:
                raise FileError(f"File {path} already exists")
            changes = _Changes(self)
            changes.folders(_missing_folders(full, tree))
            changes.file(full, _File(uuid.uuid4().hex, 1, self._now(), text))
            changes.commit()
        return f"File created successfully at: {path}"

    def str_replace(self, path: str, old: str, new: str) -> str:
        """Replace a text that is in a file exactly once."""
        full = _checked(path)
        with self._changing() as tree:
            before = _file_at(tree, full, path)
            places = _places(before.text, old)
            if not places:
                raise FileError(f"No replacement was performed, old_str `{old}` did not appear verbatim in {path}.")
            if len(places) > 1:
                lines = ", ".join(str(before.text[:place].count("\n") + 1) for place in places)
                raise FileError(
                    f"No replacement was performed. Multiple occurrences of old_str `{old}` in lines: {lines}. "
                    "Please ensure it is unique"
                )
            after = before.text.replace(old, new)
            self._edit(full, before, after)
        line = before.text[: places[0]].count("\n")
        first = max(0, line - 2)
        shown = _numbered(after.split("\n")[first : line + 3], first + 1)
        return f"The memory file has been edited. Here is the snippet showing the change (with line numbers):\n{shown}"

    def insert(self, path: str, line: int, text: str) -> str:
        """Insert a text after a line; 0 is the beginning of the file."""
        full = _checked(path)
        with self._changing() as tree:
            before = _file_at(tree, full, path)
            lines = before.text.split("\n")
            if lines[-1] == "":
                lines.pop()
            if not 0 <= line <= len(lines):
                raise FileError(
                    f"Invalid `insert_line` parameter: {line}. It should be within the range [0, {len(lines)}]."
                )
            lines.insert(line, text.rstrip("\n"))
            after = "\n".join(lines)
            self._edit(full, before, after if after.endswith("\n") else after + "\n")
        return f"The file {path} has been edited."

    def delete(self, path: str) -> str:
        """Delete a file with its versions, or a folder with all that is in it."""
        full = _checked(path)
        if full == ROOT:
            raise FileError("Cannot delete the /memories directory itself")
        with self._changing() as tree:
            if full not in tree.files and full not in tree.folders:
                raise FileError(f"The path {path} does not exist")
            within = tree.within(full)
            keys = [tree.files[each].key for each in within if each in tree.files]
            self.memory.delete([*self._ids(keys), *(tree.folders[each] for each in within if each in tree.folders)])
        return f"Successfully deleted {path}"

    def rename(self, path: str, new: str) -> str:
        """Rename or move a file or a folder; what is there already is not replaced."""
        full, target = _checked(path), _checked(new)
        if full == ROOT:
            raise FileError("Cannot rename the /memories directory itself")
        with self._changing() as tree:
            if target in tree.files or target in tree.folders:
                raise FileError(f"The destination {new} already exists")
            if full not in tree.files and full not in tree.folders:
                raise FileError(f"The path {path} does not exist")
            if f"{target}/".startswith(f"{full}/"):
                raise FileError(f"The destination {new} is inside of {path}")
            changes = _Changes(self)
            changes.folders(_missing_folders(target, tree))
            for each in tree.within(full):
                moved = target + each[len(full) :]
                if each in tree.files:
                    changes.file(moved, tree.files[each])
                else:
                    changes.folders([moved])
                    changes.deleted.append(tree.folders[each])
            changes.commit()
        return f"Successfully renamed {path} to {new}"

    def clear(self) -> str:
        """Delete every file of the scope."""
        with self.memory.exclusive():
            if gone := self.memory.ids(self._where(["file", "folder", "version"])):
                self.memory.delete(gone)
        return "All memory cleared"

    def run(self, command: Mapping[str, Any]) -> str:
        """Carry out a command in the form of Claude's memory tool, and return its answer.

        Args:
            command: ``{"command": "view", "path": ...}``, and the like.

        Raises:
            FileError: The command is unknown, lacks an argument or has another one, or cannot be carried out.

        Example:
            >>> files = MemoryFiles(Memory.create(":memory:"))
            >>> files.run({"command": "create", "path": "/memories/a.txt", "file_text": "one"})
            'File created successfully at: /memories/a.txt'
        """
        given = dict(command)
        name = given.pop("command", None)
        if name not in COMMANDS:
            raise FileError(f"command is one of {', '.join(COMMANDS)}, not {name!r:.60}")
        names = COMMANDS[name]
        needed = [each for each in names if each != "view_range"]
        if not set(needed) <= given.keys() <= set(names):
            raise FileError(f"{name} takes {', '.join(names)}")
        answer: str = getattr(self, name)(*(given[each] for each in names if each in given))
        return answer

    # --- for programs ---

    def read(self, path: str) -> str:
        """Return the text of a file, exactly."""
        return _file_at(self._tree(), _checked(path), path).text

    def paths(self) -> list[str]:
        """Return the paths of all files, in order."""
        return sorted(self._tree().files)

    def versions(self, path: str) -> list[FileVersion]:
        """Return the texts that a file had and has, oldest first; they outlive a rename and a compaction."""
        now = _file_at(self._tree(), _checked(path), path)
        where = {**self._where(["version"]), f"{_KEY}.key": {"$eq": now.key}}
        older = self.memory.select(where, order_by=f"{_KEY}.version")
        found = [FileVersion(each.metadata[_KEY]["version"], each.metadata["created_at"], each.text) for each in older]
        return [*found, FileVersion(now.version, now.since, now.text)]

    # --- records ---

    def _where(self, kinds: Sequence[str]) -> dict[str, Any]:
        return {f"{_KEY}.owner": {"$eq": self.owner}, f"{_KEY}.kind": {"$in": list(kinds)}}

    def _ids(self, keys: Sequence[str]) -> list[str]:
        """Return the ids of the records of files, with those of their versions."""
        return self.memory.ids({**self._where(["file", "version"]), f"{_KEY}.key": {"$in": list(keys)}})

    def _tree(self) -> _Tree:
        return _Tree(self.memory.select(self._where(["file", "folder"])))

    @contextmanager
    def _changing(self) -> Iterator[_Tree]:
        """Yield the files as they are while nobody else can change them."""
        with self.memory.exclusive():
            yield self._tree()

    def _edit(self, full: str, before: _File, text: str) -> None:
        changes = _Changes(self)
        now = before._replace(version=before.version + 1, since=self._now(), text=text)
        changes.file(full, now)
        changes.version(full, before, until=now.since)
        changes.commit()


class _Tree:
    """Files and folders by path. ``folders`` has the id of each folder's record; the root has none."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.files: dict[str, _File] = {}
        self.folders: dict[str, str] = {ROOT: ""}
        for record in records:
            about = record.metadata[_KEY]
            if about["kind"] == "folder":
                self.folders[about["path"]] = record.id
            else:
                text = record.text[record.metadata["agent"]["head"] :]
                self.files[about["path"]] = _File(about["key"], about["version"], record.metadata["created_at"], text)

    def within(self, path: str) -> list[str]:
        """Return a path and all below it."""
        return [each for each in (*self.folders, *self.files) if f"{each}/".startswith(f"{path}/")]


class _Changes:
    """What one commit writes and deletes."""

    def __init__(self, files: MemoryFiles) -> None:
        self._memory, self._scope, self._owner = files.memory, files.scope, files.owner
        self._texts: list[str] = []
        self._metadata: list[dict[str, Any]] = []
        self._names: list[str] = []
        self._embedded: list[bool] = []
        self.deleted: list[str] = []

    def _record(
        self, name: str, text: str, about: Mapping[str, Any], metadata: Mapping[str, Any], *, embedded: bool
    ) -> None:
        self._names.append(name)
        self._texts.append(text)
        self._metadata.append({**self._scope, **metadata, _KEY: {**about, "owner": self._owner}})
        self._embedded.append(embedded)

    def file(self, path: str, file: _File) -> None:
        """Write a file at a path, as a turn in which it says its text."""
        when = datetime.fromisoformat(file.since)
        turn = Turn(
            id=file.key, session=file.key, position=0, role="document", who=path, text=file.text, created_at=file.since
        )
        draft = turn_draft(turn, when)
        about = {"kind": "file", "path": path, "key": file.key, "version": file.version}
        self._record(draft.id, draft.text, about, draft.metadata, embedded=True)

    def version(self, path: str, file: _File, until: str) -> None:
        """Keep a text that a file had, as an item that rests on the file and is out of date."""
        item = Item(
            id=f"{file.key}.v{file.version}",
            memory_type="knowledge",
            summary=file.text,
            sources=[file.key],
            version=file.version,
            created_at=file.since,
            superseded_at=until,
        )
        draft = item_draft(item)
        about = {"kind": "version", "path": path, "key": file.key, "version": file.version}
        self._record(draft.id, draft.text, about, draft.metadata, embedded=False)

    def folders(self, paths: Sequence[str]) -> None:
        """Write folders."""
        for path in paths:
            self._record(uuid.uuid4().hex, path, {"kind": "folder", "path": path}, {}, embedded=False)

    def commit(self) -> None:
        """Write all of it."""
        embedder = self._memory.embedder
        chosen = [text for text, embedded in zip(self._texts, self._embedded, strict=True) if embedded]
        made = iter(embedder.embed_documents(chosen) if embedder is not None and chosen else ())
        vectors = [next(made, None) if embedded else None for embedded in self._embedded]
        self._memory.add(self._texts, self._metadata, self._names, vectors, delete=self.deleted)


# --- paths and texts ---


def _checked(path: str) -> str:
    """Return a path without dots and double slashes.

    Raises:
        FileError: It is not below ``/memories``.
    """
    given: object = path
    if not isinstance(given, str) or not path.startswith(ROOT):
        raise FileError(f"Path must start with /memories, got: {path}")
    full = posixpath.normpath(f"{ROOT}/{path[len(ROOT) :].lstrip('/')}")
    if full != ROOT and not full.startswith(f"{ROOT}/"):
        raise FileError(f"Path {path} would escape /memories directory")
    if "\0" in path:
        raise FileError("A path cannot contain a null character")
    return full


def _file_at(tree: _Tree, full: str, path: str) -> _File:
    if full in tree.folders:
        raise FileError(f"The path {path} is not a file.")
    if full not in tree.files:
        raise FileError(f"The path {path} {_NOT_THERE}")
    return tree.files[full]


def _missing_folders(full: str, tree: _Tree) -> list[str]:
    """Return the folders above a path that are not there."""
    missing: list[str] = []
    above = posixpath.dirname(full)
    while above not in tree.folders:
        if above in tree.files:
            raise FileError(f"The path {above} is not a directory")
        missing.append(above)
        above = posixpath.dirname(above)
    return missing


def _places(text: str, part: str) -> list[int]:
    """Return where a part is in a text; an occurrence may overlap the one before it only if it counts as another."""
    if text.count(part) < 2:
        return [text.find(part)] if part in text else []
    places, place = [], text.find(part)
    while place != -1:
        places.append(place)
        place = text.find(part, place + 1)
    return places


def _numbered(lines: Sequence[str], first: int) -> str:
    return "\n".join(f"{str(number).rjust(_WIDTH)}\t{line}" for number, line in enumerate(lines, first))


def _listing(path: str, full: str, tree: _Tree) -> str:
    """Return a folder's content as the backend of Anthropic's SDK shows it."""
    lines = [f"{_size(_FOLDER_SIZE)}\t{path}"]
    for name, is_folder, size in _entries(full, tree, 2):
        lines.append(f"{_size(size)}\t{path}/{name}{'/' if is_folder else ''}")
    header = f"Here're the files and directories up to 2 levels deep in {path}, excluding hidden items:"
    return "\n".join([header, *lines])


def _entries(full: str, tree: _Tree, depth: int, above: str = "") -> Iterator[tuple[str, bool, int]]:
    """Yield name, kind and size of what is in a folder, without hidden names."""
    inside = sorted(
        posixpath.basename(each) for each in (*tree.folders, *tree.files) if posixpath.dirname(each) == full
    )
    for name in inside:
        each = f"{full}/{name}"
        if name.startswith("."):
            continue
        if each in tree.files:
            yield above + name, False, len(tree.files[each].text.encode())
        else:
            yield above + name, True, _FOLDER_SIZE
            if depth > 1:
                yield from _entries(each, tree, depth - 1, f"{above}{name}/")


def _size(count: int) -> str:
    """Return a size as a file system's listing shows it.

    Example:
        >>> _size(0), _size(5), _size(1536), _size(4096)
        ('0B', '5B', '1.5K', '4K')
    """
    unit = min(max(count.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    size = count / 1024**unit
    return f"{int(size)}{_UNITS[unit]}" if size == int(size) else f"{size:.1f}{_UNITS[unit]}"
