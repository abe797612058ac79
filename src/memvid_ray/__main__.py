"""``python -m memvid_ray``: build a library from files with Ray."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from memvid_core import Index, Ivf, MemvidError
from memvid_ray.building import build_files

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        arguments: The arguments of the command line; by default those of this process.
    """
    parser = argparse.ArgumentParser("python -m memvid_ray", description="Build a library from files with Ray.")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="files and folders")
    parser.add_argument("-o", "--library", required=True, help="the folder of the library, or its URL")
    parser.add_argument("--address", help="the address of a Ray cluster; by default a local Ray is started")
    parser.add_argument("--rows-per-shard", type=int, default=2_000_000, metavar="N")
    parser.add_argument("--index", default="auto", metavar="auto|exact|sklearn|quantized|ivf|ivf:RECALL", type=_index)
    given = parser.parse_args(arguments)
    try:
        fields = {"rows_per_shard": given.rows_per_shard, "address": given.address, "index": given.index}
        report = build_files(given.paths, given.library, **fields)
    except MemvidError as exc:
        parser.exit(1, f"error: {exc}\n")
    print(f"{given.library}: {report.added:,} records in {report.shards:,} shards; version {report.version}")  # noqa: T201
    return 0


def _index(text: str) -> Index:
    """Return how vectors are searched, of an inverted file perhaps with its recall."""
    name, _, recall = text.partition(":")
    if name == "ivf" and recall:
        return Ivf(float(recall))  # a text that is no number is an error of the parser
    chosen: Index = text  # type: ignore[assignment]  # checked when the library is opened
    return chosen


if __name__ == "__main__":
    raise SystemExit(main())
