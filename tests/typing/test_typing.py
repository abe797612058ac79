"""The public API as type checkers see it: right calls pass, and each mistake is reported at its line.

mypy also checks the whole project here, with the settings of ``pyproject.toml``: one run finds both.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
# Without searches for garbage, of which there is little: a twelfth of the time.
_MYPY = "import gc; gc.disable(); gc.enable = gc.disable; from mypy.__main__ import console_entry; console_entry()"
_FILES = [_HERE / "calls.py", _HERE / "mistakes.py"]

Lines = dict[str, set[int]]


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=_ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 2 and above: the checker itself failed
    print(done.stdout)  # pytest shows it when the test fails
    return done.stdout


def _mypy() -> Lines:
    """Run mypy over the project and the mistakes, which it leaves out unless they are named."""
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert "tests" in settings["files"]
    found: Lines = {}
    for line in _run("-c", _MYPY, "--no-error-summary", *settings["files"], _HERE / "mistakes.py").splitlines():
        match = re.match(r"(.+?):(\d+): error: ", line)
        if match:
            found.setdefault(match[1], set()).add(int(match[2]))
    return found


def _pyright() -> Lines:
    told = json.loads(
        _run("-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", _HERE / "pyrightconfig.json")
    )
    assert told["summary"]["filesAnalyzed"] == len(_FILES)
    found: Lines = {}
    for item in told["generalDiagnostics"]:
        if item["severity"] == "error":
            file = Path(item["file"]).relative_to(_ROOT)
            found.setdefault(str(file), set()).add(item["range"]["start"]["line"] + 1)
    return found


@pytest.mark.long
@pytest.mark.parametrize("checker", [_mypy, _pyright])
def test_right_calls_pass_and_every_mistake_is_reported_at_its_line(checker: object) -> None:
    assert callable(checker)
    lines = (_HERE / "mistakes.py").read_text(encoding="utf-8").splitlines()
    mistakes = {number for number, line in enumerate(lines, 1) if "  # mistake: " in line}
    assert len(mistakes) > 50
    assert checker() == {str((_HERE / "mistakes.py").relative_to(_ROOT)): mistakes}
