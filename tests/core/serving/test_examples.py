"""The examples of modules that import an SDK."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.late_modules import MODULES


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_are_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    ran = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert ran.failed == 0, "see what was printed"
    lines = Path(module.__file__ or "").read_text(encoding="utf-8").splitlines()
    assert ran.attempted == sum(line.lstrip().startswith(">>> ") for line in lines) > 0
