"""Every table, one after the other: ``make bench``, or ``python -m benchmarks``."""

from __future__ import annotations

import subprocess
import sys

TABLES = (
    "codec",
    "stores",
    "llama_index",
    "vectors",
    "recall",
    "busy",
    "retrieval",
    "retrieval.words",
    "retrieval.fusion",
    "retrieval.answerable",
    "retrieval.models",
    "retrieval.cost",
    "retrieval.scale",
    "library",
    "growth",
    "large",
    "ray_actors",
    "ray_build",
    "qr",
    "contention",
    "small_commits",
    "peers",
    "documents",
    "remote",
    "doors",
    "mcp_server",
    "agent_memory",
)


def main() -> None:
    """Run each in its own process, and continue if one fails."""
    failed = []
    for table in TABLES:
        print(f"\n# {table}\n", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{table}"], check=False).returncode:
            failed.append(table)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
