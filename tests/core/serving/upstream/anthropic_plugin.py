"""Puts our memory tool in the place of the file-system backend of Anthropic's SDK, for the SDK's own tests.

The tests look at the files of a folder, and write some. So each command first takes in what is in the folder, and then
writes the folder again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from anthropic.lib.tools import _beta_builtin_memory_tool as builtin
from anyio import Path as AsyncPath

from memvid_core import Memory
from memvid_core.serving import MemvidAsyncMemoryTool, MemvidMemoryTool


class _Mirror:
    """A folder with the same files as a memory."""

    def __init__(self, files: Any, root: Path) -> None:
        self.files, self.root = files, root

    def take_in(self) -> None:
        for path in self.root.rglob("*") if self.root.exists() else ():
            name = f"/memories/{path.relative_to(self.root).as_posix()}"
            if path.is_file() and name not in self.files.paths():
                self.files.create(name, path.read_bytes().decode())

    def write(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        for name in self.files.paths():
            path = self.root / name.removeprefix("/memories/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.files.read(name).encode())


class Mirrored(MemvidMemoryTool):
    def __init__(self, base_path: str) -> None:
        super().__init__(Memory.create(":memory:", "given"))
        self.base_path = Path(base_path)
        self.memory_root = self.base_path / "memories"
        self._mirror = _Mirror(self.files, self.memory_root)
        self._mirror.write()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("view", "create", "str_replace", "insert", "delete", "rename"):
            return found

        def mirrored(command: Any) -> Any:
            self._mirror.take_in()
            answer = found(command)
            self._mirror.write()
            return answer

        return mirrored


class AsyncMirrored(MemvidAsyncMemoryTool):
    def __init__(self, base_path: str) -> None:
        super().__init__(Memory.create(":memory:", "given"))
        self.base_path = AsyncPath(base_path)
        self.memory_root = self.base_path / "memories"
        self._mirror = _Mirror(self.files, Path(base_path, "memories"))
        self._mirror.write()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("view", "create", "str_replace", "insert", "delete", "rename"):
            return found

        async def mirrored(command: Any) -> Any:
            self._mirror.take_in()
            answer = await found(command)
            self._mirror.write()
            return answer

        return mirrored


def pytest_configure() -> None:
    """Replace the classes before the tests import them."""
    replaced: Any = builtin
    replaced.BetaLocalFilesystemMemoryTool = Mirrored
    replaced.BetaAsyncLocalFilesystemMemoryTool = AsyncMirrored
