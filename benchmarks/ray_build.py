"""What a build with Ray costs: records per second of processor time, memory of a worker, and what more workers save.

    python -m benchmarks.ray_build                                       # 100,000 records in 8 shards, 1 and 2 workers
    python -m benchmarks.ray_build --rows 4000000 --shards 16 --workers 1 4

The dataset, texts of 80 words and vectors of 384 numbers as in ``benchmarks.growth``, is in Ray's store before the
build begins, and a small build has started the workers. Processor time is that of all workers, with the index of
words; the elapsed time is that of the whole build, with the commit. Needs Linux, whose ``/proc`` tells what processes
have taken.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.growth import BATCH, WORDS, Drawn
from benchmarks.machine import describe
from memvid_ray import build


def workers() -> dict[int, tuple[float, float]]:
    """Return the seconds of processor time and the most memory, in MB, of each worker of Ray on this machine."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if not folder.name.isdigit() or not (folder / "cmdline").read_bytes().startswith(b"ray::"):
                continue
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
            peak = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("VmHWM"))
        except (OSError, StopIteration):  # it has ended
            continue
        spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        found[int(folder.name)] = spent, int(peak.split()[1]) / 1024
    return found


def tables(rows: int) -> list[Any]:
    """Return the records as tables of Arrow."""
    import pyarrow as pa

    made = []
    for start in range(0, rows, BATCH):
        drawn, count = Drawn(1 + start), min(BATCH, rows - start)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(drawn.vectors(count).ravel()), 384)
        texts = [drawn.text(WORDS) for _ in range(count)]
        ids = [f"r{number}" for number in range(start, start + count)]
        made.append(pa.table({"id": ids, "text": texts, "vector": vectors}))
    return made


def measured(blocks: list[Any], rows: int, shards: int, count: int) -> tuple[float, float, float]:
    """Build with so many workers; return the elapsed and the processor time in seconds, and a worker's memory in MB."""
    import ray
    import ray.data

    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(num_cpus=count, object_store_memory=rows * 4_000 + (200 << 20), **options)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as folder:
        few = ray.data.from_arrow([block.slice(0, 100) for block in blocks[:count]])
        build(few, Path(folder, "few"), vector="vector", rows_per_shard=100)
        dataset = ray.data.from_arrow(blocks).materialize()
        before = workers()
        begun = time.perf_counter()
        report = build(dataset, Path(folder, "library"), vector="vector", rows_per_shard=-(-rows // shards))
        elapsed = time.perf_counter() - begun
        after = workers()
        if report.added != rows:
            raise SystemExit(f"{report.added} of {rows} records were added")
    ray.shutdown()
    spent = sum(taken - before.get(pid, (0.0, 0.0))[0] for pid, (taken, _) in after.items())
    return elapsed, spent, max(peak for _, peak in after.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    print(describe("memvid-core", "numpy", "ray"))
    blocks = tables(options.rows)
    print("\n| workers | load | elapsed s | CPU s | rows per CPU s | a worker, peak MB | times as fast |")
    print("|---|---|---|---|---|---|---|", flush=True)
    first = 0.0
    for count in options.workers:
        load = os.getloadavg()[0]
        elapsed, spent, peak = measured(blocks, options.rows, options.shards, count)
        first = first or elapsed
        figures = f"{elapsed:.1f} | {spent:.1f} | {options.rows / spent:,.0f} | {peak:,.0f} | {first / elapsed:.2f}"
        print(f"| {count} | {load:.1f} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
