"""Run the workloads for some minutes: ``make soak ARGS="--minutes 10 --seed 1"``, or ``python -m soak``.

The counts of all calls with one seed are printed as one table. A second call continues with the next rounds. The first
wrong answer ends the run with exit code 1 and prints the command that repeats the round.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

_STATE = Path(".soak") / "state.json"


def _arguments() -> argparse.Namespace:
    from soak.runner import WORKLOADS

    about = "\n".join(f"  {name:11} {workload.about}" for name, workload in WORKLOADS.items())
    parser = argparse.ArgumentParser(
        prog="python -m soak",
        description=__doc__,
        epilog=f"workloads:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, about (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="where the rounds' seeds begin (default 1)")
    parser.add_argument("--only", action="append", choices=WORKLOADS, metavar="NAME", help="this workload; repeatable")
    parser.add_argument("--round", type=int, metavar="SEED", help="make this one round of --only again")
    parser.add_argument("--scale", type=float, default=1.0, help="how large rounds are (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="how many rounds at the same time (default 1)")
    parser.add_argument("--folder", type=Path, help="where memories are made (default: where temporary files go)")
    parser.add_argument("--state", type=Path, default=_STATE, help=f"where the counts are kept (default {_STATE})")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier calls counted")
    parser.add_argument("--go-on", action="store_true", help="go on after a wrong answer; still ends with exit code 1")
    arguments = parser.parse_args()
    if arguments.round is not None and len(arguments.only or ()) != 1:
        parser.error("--round goes with one --only")
    return arguments


def main() -> int:
    """Run the workloads of the command line; return the exit code."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # many processes on few cores
    from soak.model import WrongAnswer
    from soak.runner import WORKLOADS, Progress, one_round, soak, table

    arguments = _arguments()
    if arguments.round is not None:
        try:
            print(dict(one_round(arguments.only[0], arguments.round, arguments.scale, arguments.folder)))
        except WrongAnswer as exc:
            print(exc)
            return 1
        return 0
    arguments.state.parent.mkdir(parents=True, exist_ok=True)
    if arguments.fresh:
        arguments.state.unlink(missing_ok=True)
    progress = Progress(arguments.state, arguments.seed)
    names = arguments.only or list(WORKLOADS)
    failures = soak(
        names,
        arguments.minutes,
        progress,
        scale=arguments.scale,
        root=arguments.folder,
        go_on=arguments.go_on,
        jobs=max(1, arguments.jobs),
    )
    print(table(progress.counts))
    for failure in failures:
        scale = "" if arguments.scale == 1 else f" --scale {arguments.scale:g}"
        print(f"\nWRONG, {failure.workload}: {failure.message}")
        print(f"again: python -m soak --only {failure.workload} --round {failure.seed}{scale}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
