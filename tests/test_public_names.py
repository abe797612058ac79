"""What is public is what is listed, and what is listed is there and described."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import memvid_core

PACKAGES = ["memvid_core", "langchain_memvid", "llama_index_memvid", "memvid_ray"]


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_every_public_name_is_listed(package: ModuleType) -> None:
    for name in package.__all__:  # names that are loaded on first use are loaded now
        getattr(package, name)
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public - set(package.__all__) == set()


def test_names_are_listed_once_and_in_order(package: ModuleType) -> None:
    def shape(name: str) -> int:  # ruff's order (RUF022): CONSTANTS, then Classes, then functions
        return 0 if name.isupper() else 1 if name[0].isupper() else 2

    assert package.__all__ == sorted(set(package.__all__), key=lambda name: (shape(name), name))


def test_every_public_name_shows_up_in_dir_and_is_described(package: ModuleType) -> None:
    assert set(package.__all__) <= set(dir(package))
    described = (getattr(package, name) for name in package.__all__)
    nouns = [value for value in described if inspect.isclass(value) or inspect.isfunction(value)]
    assert [value.__name__ for value in nouns if not (value.__doc__ or "").strip()] == []


def test_the_version_is_that_of_the_distribution(package: ModuleType) -> None:
    assert package.__version__ == importlib.metadata.version("memvid-core")


def test_the_version_is_looked_up_when_it_is_asked_for() -> None:
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(Path(memvid_core.__file__).parent.parent)!r})
        import memvid_core
        assert "importlib.metadata" not in sys.modules
    """
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
