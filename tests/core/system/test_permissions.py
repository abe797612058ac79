"""Permissions that are passed on, and folders whose makers may not write the file."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from memvid_core.system.permissions import OWNER_WRITES, is_trusted, pass_mode_on
from tests.users import OWNER as USER
from tests.users import SUPERUSER, as_user, others, posix, shared_folder

ME, OWNER, OTHER = 70_001, 70_002, 70_003
GROUP = 70_100


def status(user: int, group: int, mode: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, user, group, 0, 0, 0, 0))


@posix
@pytest.mark.parametrize(
    ("maker", "group", "mode", "trusted"),
    [
        (0, 0, 0o600, True),
        (ME, ME, 0o600, True),
        (OWNER, OWNER, 0o600, True),
        (OTHER, OTHER, 0o600, False),
        (OTHER, OTHER, 0o644, False),
        (OTHER, OTHER, 0o664, False),
        (OTHER, GROUP, 0o644, False),
        (OTHER, GROUP, 0o664, True),  # the system does not know these users: the folder's group decides
        (OTHER, OTHER, 0o666, True),
    ],
)
def test_the_maker_of_a_folder_is_trusted_if_he_may_write_the_file(
    monkeypatch: pytest.MonkeyPatch, maker: int, group: int, mode: int, trusted: bool
) -> None:
    told = {Path("folder"): status(maker, group, stat.S_IFDIR | 0o755), Path("file"): status(OWNER, GROUP, mode)}
    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, lambda path: told[path])
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    found = is_trusted(Path("folder"), Path("file"))
    monkeypatch.undo()
    assert found is trusted


@posix
def test_a_user_whom_the_system_knows_is_in_his_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    known = next(user for user in pwd.getpwall() if user.pw_uid)
    told = {
        Path("folder"): status(known.pw_uid, GROUP, stat.S_IFDIR | 0o755),
        Path("file"): status(OWNER, GROUP, 0o664),
        Path("of his"): status(OWNER, known.pw_gid, 0o664),
    }
    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, lambda path: told[path])
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    found = [is_trusted(Path("folder"), Path(name)) for name in ("file", "of his")]
    monkeypatch.undo()
    assert found == [False, True]


@posix
def test_who_is_in_a_group_is_looked_up_once_in_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    groups, asked, now = {OTHER: [GROUP], ME: []}, [], time.monotonic()

    def known(user: int) -> pwd.struct_passwd:
        asked.append(user)
        return pwd.struct_passwd((str(user), "", user, user, "", "", ""))

    told = {Path("file"): status(OWNER, GROUP, 0o664)}
    told |= {Path(str(user)): status(user, user, stat.S_IFDIR | 0o755) for user in groups}
    for call in ("stat", "lstat"):
        monkeypatch.setattr(os, call, lambda path: told[path])
    monkeypatch.setattr(os, "geteuid", lambda: OWNER)
    monkeypatch.setattr(pwd, "getpwuid", known)
    monkeypatch.setattr(os, "getgrouplist", lambda name, group: [group, *groups[int(name)]])
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def trusted() -> list[bool]:
        return [is_trusted(Path(str(user)), Path("file")) for user in groups]

    now += 3600  # what other tests looked up is old
    found = [trusted(), trusted(), trusted()]
    groups[OTHER], groups[ME] = [], [GROUP]
    now += 3600
    found += [trusted(), trusted()]
    now += 3600  # these users exist nowhere else
    monkeypatch.undo()
    assert found == [[True, False]] * 3 + [[False, True]] * 2
    assert asked == [OTHER, ME] * 2


@posix
@pytest.mark.parametrize(("mode", "folder"), [(0o600, 0o700), (0o640, 0o750), (0o664, 0o775), (0o444, 0o555)])
def test_a_folder_may_be_searched_by_those_who_may_read_the_file(tmp_path: Path, mode: int, folder: int) -> None:
    like, file, made = tmp_path / "like", tmp_path / "file", tmp_path / "made"
    like.touch()
    file.touch()
    made.mkdir()
    like.chmod(mode)
    pass_mode_on(like, file)
    pass_mode_on(like, made)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, made)] == [mode, folder]
    made.chmod(0o2770)
    pass_mode_on(like, made)
    assert stat.S_IMODE(made.stat().st_mode) == 0o2000 | folder  # what is made in it keeps its group
    pass_mode_on(None, file)
    pass_mode_on(tmp_path / "missing", file)
    if SUPERUSER:
        os.chown(like, 70_001, 70_002)
        pass_mode_on(like, file)
        assert (file.stat().st_uid, file.stat().st_gid) == (70_001, 70_002)


@posix
def test_the_owner_may_write_next_to_a_file_that_nobody_may_write(tmp_path: Path) -> None:
    like, file, made = tmp_path / "like", tmp_path / "file", tmp_path / "made"
    like.touch(0o444)
    file.touch()
    made.mkdir()
    for path in (file, made):
        pass_mode_on(like, path, least=OWNER_WRITES)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, made)] == [0o644, 0o755]


@others
@pytest.mark.parametrize(("mode", "passed"), [(0o640, 0o600), (0o664, 0o644), (0o666, 0o666)])
def test_another_group_gets_no_permissions_that_were_for_the_group_of_the_file(mode: int, passed: int) -> None:
    with shared_folder(0o777) as folder:
        (folder / "like").touch()
        os.chown(folder / "like", OWNER, OWNER)  # a group of which the user is none
        (folder / "like").chmod(mode)
        code = """
        from pathlib import Path
        from memvid_core.system.permissions import pass_mode_on
        Path(path, "made").touch()
        pass_mode_on(Path(path, "like"), Path(path, "made"))
        """
        assert as_user(USER, "\n".join(line.strip() for line in code.splitlines()), folder) == ""
        made = (folder / "made").stat()
        assert (stat.S_IMODE(made.st_mode), made.st_gid) == (passed, USER)


@posix
def test_a_file_that_has_another_name_elsewhere_keeps_its_permissions(tmp_path: Path) -> None:
    source, target, elsewhere = (tmp_path / name for name in ("source", "target", "elsewhere"))
    source.touch()
    target.touch()
    source.chmod(0o644)
    target.chmod(0o600)
    elsewhere.hardlink_to(target)
    pass_mode_on(source, target)
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o600
    elsewhere.unlink()
    pass_mode_on(source, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
