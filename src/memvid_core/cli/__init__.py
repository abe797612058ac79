"""The command ``memvid``: build, search and look after memories from a shell.

``app`` is the program; one file holds one group of commands. Nothing of the core is imported before a command runs.
"""

from __future__ import annotations

from memvid_core.cli.program import app

__all__ = ["app"]
