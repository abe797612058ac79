"""``server.json``, which describes the MCP server to the registry of servers."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_registry_entry_is_that_of_this_version_and_its_readme() -> None:
    entry = json.loads((ROOT / "server.json").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert len(entry["description"]) <= 100
    assert entry["version"] == project["version"]
    assert [(each["identifier"], each["version"]) for each in entry["packages"]] == [
        (project["name"], project["version"])
    ]
    assert f"mcp-name: {entry['name']}" in (ROOT / "README.md").read_text("utf-8")
