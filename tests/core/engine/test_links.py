"""Links: a memory behind one is the same memory, and no index or output changes what a link of another leads to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from memvid_core import Memory
from tests.core.cli.running import memvid
from tests.core.engine.test_other_users import FORGE, MAKE, READ
from tests.users import GUEST, OWNER, STRANGER, as_user, others, posix, shared_folder

RECORDS = 60
MORE = 20
Content = dict[str, tuple[int, bytes | None]]


def content(folder: Path) -> Content:
    """The permissions and the bytes of everything in a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a memory, whose index has every file that searches make, and with an empty one."""
    folder = tmp_path_factory.mktemp("links")
    with Memory.create(folder / "m.mp4", index="quantized") as memory:
        memory.add([f"wing {n}" for n in range(RECORDS)], [{"n": n} for n in range(RECORDS)])
        work(memory)
    with Memory.create(folder / "empty.mp4", index="quantized") as memory:
        work(memory)
    for name in ("m.mp4", "empty.mp4"):
        (folder / name).chmod(0o664)
    return folder


def work(memory: Memory) -> None:
    memory.search("wing 7", k=3, mode="dense")
    memory.search("wing", k=3, mode="lexical")
    memory.search("wing", k=3, where={"n": {"$lt": 5}})


def use(path: Path) -> int:
    """Search, add and delete, and return the number of records."""
    with Memory.open(path, "a", index="quantized") as memory:
        work(memory)
        memory.add([f"new wing {n}" for n in range(MORE)], [{"n": n} for n in range(MORE)])
        work(memory)
        memory.delete(memory.ids()[:5])
        return len(memory)


@posix
@pytest.mark.parametrize("kind", ["its own content and more", "other content"])
@pytest.mark.parametrize("name", ["m.mp4", "empty.mp4"])
def test_no_file_to_which_a_link_in_an_index_leads_is_changed(
    original: Path, tmp_path: Path, name: str, kind: str
) -> None:
    files = [path.relative_to(original) for path in (original / f"{name}.index").rglob("*") if path.is_file()]
    vectors = "vectors/vectors-384.float16"
    names = {*files, *(next(iter(files)).parents[-3] / each for each in (vectors, f"{vectors}.sums", "any name"))}
    for number, file in enumerate(sorted(names)):
        here, outside = tmp_path / f"{number}", tmp_path / f"outside-{number}"
        shutil.copytree(original, here)
        outside.mkdir()
        own = (here / file).read_bytes() if (here / file).exists() else b""
        (outside / "private").write_bytes(own + b"precious" if kind != "other content" else b"precious" * 100_000)
        (outside / "private").chmod(0o600)
        (here / file).unlink(missing_ok=True)
        (here / file).parent.mkdir(exist_ok=True)
        (here / file).symlink_to(outside / "private")
        before = content(outside)
        assert use(here / name) == (RECORDS if name == "m.mp4" else 0) + MORE - 5, file
        assert content(outside) == before, file
        assert not (here / file).is_symlink(), file


@posix
def test_no_folder_to_which_a_link_in_an_index_leads_is_changed(original: Path, tmp_path: Path) -> None:
    (index,) = (original / "m.mp4.index").iterdir()
    folders = [index, *(path for path in index.rglob("*") if path.is_dir())]
    assert len(folders) > 2
    for number, folder in enumerate(path.relative_to(original) for path in folders):
        here, outside = tmp_path / f"{number}", tmp_path / f"outside-{number}"
        shutil.copytree(original, here)
        shutil.move(here / folder, outside)
        (outside / "private").write_text("precious")
        (outside / "private").chmod(0o600)
        (here / folder).symlink_to(outside)
        before = content(outside)
        assert use(here / "m.mp4") == RECORDS + MORE - 5
        with Memory.open(here / "m.mp4", "a") as memory:
            memory.compact()
        assert content(outside) == before
        assert not (here / folder).is_symlink()


@posix
def test_a_link_to_an_index_folder_is_used(original: Path, tmp_path: Path) -> None:
    shutil.copy(original / "m.mp4", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "m.mp4.index").symlink_to(tmp_path / "elsewhere")
    assert use(tmp_path / "m.mp4") == RECORDS + MORE - 5
    assert list((tmp_path / "elsewhere").rglob("catalog.sqlite"))
    assert (tmp_path / "m.mp4.index").is_symlink()


@others
@pytest.mark.parametrize("root", ["shared", "."])
def test_a_link_of_a_stranger_to_a_folder_of_the_superuser_is_no_index(root: str) -> None:
    forge = f"""{FORGE}
(name,) = os.listdir(path + "/m.mp4.index")
for file in os.listdir(path + "/m.mp4.index/" + name):
    os.rename(path + "/m.mp4.index/" + name + "/" + file, path + "/shared/" + file)
os.rmdir(path + "/m.mp4.index/" + name)
os.rmdir(path + "/m.mp4.index")
os.symlink(path + "/{root}", path + "/m.mp4.index")
os.symlink(path + "/shared", path + "/{root}/" + name)
"""
    with shared_folder(0o1777) as folder:
        (folder / "shared").mkdir()
        (folder / "shared").chmod(0o1777)
        as_user(OWNER, MAKE, folder)
        shutil.rmtree(folder / "m.mp4.index")
        assert as_user(STRANGER, forge, folder, umask=0) == "2"
        assert as_user(OWNER, READ, folder) == "3 apple pie 0"
        assert as_user(GUEST, READ, folder) == "3 apple pie 0"


@others
def test_the_superuser_gives_no_file_away_by_a_link_in_an_index() -> None:
    with shared_folder(0o755, OWNER) as folder:
        as_user(OWNER, MAKE, folder)
        (folder / "secret").write_text("of the superuser")
        (folder / "secret").chmod(0o600)
        as_user(
            OWNER,
            "(name,) = os.listdir(path + '/m.mp4.index'); os.symlink('../../secret', path + f'/m.mp4.index/{name}/x')",
            folder,
        )
        before = (folder / "secret").stat()
        with Memory.open(folder / "m.mp4", "a") as memory:
            memory.add(["one more"])
        after = (folder / "secret").stat()
        assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


@posix
@pytest.mark.parametrize("there", [True, False])
def test_saving_to_a_link_writes_what_it_leads_to(tmp_path: Path, there: bool) -> None:
    target, link = tmp_path / "disk" / "t.mp4", tmp_path / "l.mp4"
    target.parent.mkdir()
    if there:
        with Memory.create(target) as memory:
            memory.add(["old"])
    link.symlink_to(target)
    with Memory.create(tmp_path / "m.mp4") as memory:
        memory.add(["new"])
        memory.save(link)
    assert link.is_symlink()
    with Memory.open(target) as memory:
        assert [record.text for record in memory] == ["new"]


@posix
def test_a_saved_memory_waits_for_the_writers_of_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "l.mp4").symlink_to(tmp_path / "t.mp4")
    with Memory.create(tmp_path / "t.mp4") as target, Memory.create(tmp_path / "m.mp4") as memory:
        memory.add(["new"])
        target.add(["old"])
        memory.save(tmp_path / "l.mp4")
    with Memory.open(tmp_path / "l.mp4", "a") as link, Memory.open(tmp_path / "t.mp4", "a") as target:
        link.add(["by the link"])
        assert len(target) == len(link) == 2


@posix
@pytest.mark.parametrize("command", [["export", "{memory}", "--force", "-o", "{link}"], ["view", "--page", "{link}"]])
def test_a_command_writes_what_a_link_leads_to(tmp_path: Path, command: list[str]) -> None:
    with Memory.create(tmp_path / "m.mp4") as memory:
        memory.add(["a wing"])
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "out", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    done = memvid(*(word.format(memory=tmp_path / "m.mp4", link=link) for word in command))
    assert done.code == 0, done.err
    assert link.is_symlink()
    assert os.path.getsize(target) > len("old")
