"""Run ``python -m memvid_core.cli``, where the command is not on the path."""

from __future__ import annotations

from memvid_core.cli.program import app

if __name__ == "__main__":
    app(prog_name="memvid")
