"""Tests over LangMem and Deep Agents, of the dependency group ``test``; where they are missing, none is collected."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("langmem") and find_spec("deepagents") else ["test_*.py"]
