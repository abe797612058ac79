"""Modules that import an SDK, which takes a second: they are imported by the tests that need them.

So not every worker that collects the tests imports them. The root ``conftest.py`` leaves out their examples, which are
a test of their own.
"""

from __future__ import annotations

MODULES = ("memvid_core.serving.claude_memory", "memvid_core.serving.openai_session")
FILES = tuple(f"{module.replace('.', '/')}.py" for module in MODULES)
