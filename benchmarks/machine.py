"""The machine of a measurement, printed above every table."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib import metadata

__all__ = ["describe"]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def describe(*distributions: str) -> str:
    """Return one line on the machine and the compared versions."""
    versions = []
    for name in distributions:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} (not installed)")
    system = f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores"
    return f"{system}; Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; " + ", ".join(versions)
