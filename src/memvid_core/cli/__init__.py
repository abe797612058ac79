"""The command ``memvid``: build, search and maintain memories from a shell.

``app`` is the program; each module holds one group of commands. The core is imported only when a command runs.
"""

from __future__ import annotations

from memvid_core.cli.program import app

__all__ = ["app"]
