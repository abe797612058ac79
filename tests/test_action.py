"""The GitHub Action: its steps are run by bash, as a runner does, over a folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from memvid_core import InvalidInputError, Memory
from tests.core.serving.running import ENVIRONMENT

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS: dict[str, dict[str, Any]] = {
    step["name"]: step for step in ACTION["runs"]["steps"] if "run" in step and step["name"] != "Install"
}


def bash() -> str:
    """The bash of a runner: on Windows the one of Git, and not that of the subsystem for Linux."""
    git = shutil.which("git") if sys.platform == "win32" else None
    found = str(Path(git).parents[1] / "bin" / "bash.exe") if git else shutil.which("bash")
    assert found
    return found


def step(name: str, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run one step with the inputs of the action, as ``shell: bash`` does."""
    given = {key: value.get("default", "") for key, value in ACTION["inputs"].items()}
    given |= {key.replace("_", "-"): value for key, value in inputs.items()}
    env = {
        key: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], value)
        for key, value in STEPS[name]["env"].items()
    }
    env["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), ENVIRONMENT["PATH"]])
    script = folder / "step.sh"
    script.write_text(STEPS[name]["run"], encoding="utf-8", newline="\n")
    return subprocess.run(
        [bash(), "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        cwd=folder,
        env={**ENVIRONMENT, **env, "GITHUB_OUTPUT": str(folder / "output")},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def done(name: str, folder: Path, **inputs: str) -> str:
    ended = step(name, folder, **inputs)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my docs").mkdir()
    (tmp_path / "my docs" / "wing.md").write_text("# Wings\n\nThe wing lifts.\n")
    (tmp_path / "my docs" / "draft.md").write_text("The draft that was withdrawn.\n")
    (tmp_path / "README.txt").write_text("The engine hums.\n")
    return tmp_path


INPUTS = {"folders": "my docs\r\n\nREADME.txt\n", "memory": "날개 1.mp4", "exclude": "*.tmp\nold/*"}


def test_a_folder_becomes_a_published_memory_and_a_second_run_follows_it(folder: Path) -> None:
    done("Sync", folder, **INPUTS)
    done("Verify", folder, **INPUTS)
    site = folder / "memvid-site"
    site.mkdir()
    (folder / "my docs" / "draft.md").unlink()
    done("Sync", folder, **INPUTS)
    (site / "viewer.html").write_text("of an older version")
    done("Publish", folder, **INPUTS)
    assert sorted(path.name for path in site.iterdir()) == ["index.html", "viewer.html", "날개 1.mp4"]
    page = ROOT / "src" / "memvid_core" / "serving" / "viewer.html"
    assert (site / "viewer.html").read_text("utf-8") == page.read_text("utf-8")
    assert "viewer.html?src=%EB%82%A0%EA%B0%9C%201.mp4" in (site / "index.html").read_text("utf-8")
    with Memory.open(site / "날개 1.mp4", index_dir=folder / "index") as memory:
        assert {record.metadata["source"] for record in memory} == {"my docs/wing.md", "README.txt"}
    with Memory.open(folder / "날개 1.mp4", as_of=1) as past:
        assert any("withdrawn" in record.text for record in past)
    with pytest.raises(InvalidInputError), Memory.open(site / "날개 1.mp4", as_of=1, index_dir=folder / "index"):
        pass
    assert (folder / "output").read_text("utf-8").splitlines()[-2:] == ["memory=memvid-site/날개 1.mp4", "records=2"]
    (site / "index.html").write_text("my own")
    done("Publish", folder, **INPUTS, keep_history="true")
    assert (site / "날개 1.mp4").read_bytes() == (folder / "날개 1.mp4").read_bytes()
    assert (site / "index.html").read_text() == "my own"


def test_a_step_fails_where_the_command_does_and_names_the_reason(folder: Path) -> None:
    (folder / "my docs" / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    assert "::warning::" in done("Sync", folder, **INPUTS)
    assert step("Sync", folder, **INPUTS, strict="true").returncode == 3
    refused = step("Publish", folder, **INPUTS, site=".")
    assert (refused.returncode, "::error::" in refused.stdout) == (1, True)
    assert (folder / "날개 1.mp4").is_file()
    whole = bytearray((folder / "날개 1.mp4").read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 3000] = bytes(3000)
    (folder / "날개 1.mp4").write_bytes(whole)
    assert step("Verify", folder, **INPUTS).returncode == 1
    hostile = '$(touch ran)\n`touch ran`\n"; touch ran; "'
    assert step("Sync", folder, **{**INPUTS, "folders": hostile}).returncode != 0
    assert not (folder / "ran").exists()


def test_no_step_expands_an_input_in_its_script_and_every_action_is_pinned() -> None:
    for each in ACTION["runs"]["steps"]:
        assert "${{" not in each.get("run", "")
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", each.get("uses", "a/b@" + "0" * 40))
    (install,) = [each["run"] for each in ACTION["runs"]["steps"] if each.get("name") == "Install"]
    (extra,) = re.findall(r'"\$\{GITHUB_ACTION_PATH\}\[(\w+)\]"', install)
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


def test_every_use_of_the_action_gives_inputs_that_it_has_and_its_page_lists_them() -> None:
    page = (ROOT / "docs" / "publishing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    tested = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    used = [
        each
        for text in (example, tested)
        for job in yaml.safe_load(text)["jobs"].values()
        for each in job["steps"]
        if each.get("uses", "").startswith(("./", "memvid-core/memvid@"))
    ]
    assert [set(each["with"]) - set(ACTION["inputs"]) for each in used] == [set(), set()]
    for name, described in ACTION["inputs"].items():
        row = next(line for line in page.splitlines() if re.match(r"\| (`[\w-]+`, )*" + f"`{name}`", line))
        assert described.get("default", "") in row
