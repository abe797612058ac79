"""Three ways to run the command: in this process, in one of its own, and with an interpreter that starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer.main
from typer.testing import CliRunner

from memvid_core.cli import app
from tests import processes

ENDING = {getattr(signal, name, None) for name in ("SIGHUP", "SIGINT", "SIGTERM")}


@dataclass(frozen=True)
class Done:
    """What a run of the command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it has to be."""
        assert self.out.endswith("\n")
        return json.loads(self.out)


_command = cache(typer.main.get_command)


def memvid(*arguments: object, input: str | bytes | None = None, columns: int = 100) -> Done:
    """Run the command in this process, as if its terminal had so many columns.

    Typer's runner makes all commands and their options anew each time, which takes longer than most commands; here they
    are made once. The command takes a signal for its own, and would hide one that is to end the tests.
    """
    runner, command, code = CliRunner(env={"COLUMNS": str(columns)}), _command(app), 0
    with runner.isolation(input=input) as streams:
        try:
            command.main([str(argument) for argument in arguments], prog_name=runner.get_default_prog_name(command))
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        out, err = (stream.getvalue().decode("utf-8", "replace").replace("\r\n", "\n") for stream in streams[:2])
    if code - 128 in ENDING:
        raise KeyboardInterrupt(f"signal {code - 128} while a command ran in this process")
    return Done(code, out, err)


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process: UTF-8, no colours asked for, this very code."""
    source = str(Path(__file__).resolve().parents[3] / "src")
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return {**kept, "PYTHONUTF8": "1", "PYTHONPATH": source, "COLUMNS": "100", **more}


COMMAND = [sys.executable, "-m", "memvid_core.cli"]


MODULE = "import runpy; runpy.run_module('memvid_core.cli', run_name='__main__', alter_sys=True)"


def process(*arguments: object, code: str | None = None, cwd: Path | None = None, **more: str) -> Done:
    """Run the command, or a program of its own, in another process, which has imported most of it already."""
    done = processes.run(MODULE if code is None else code, *arguments, cwd=cwd, env=environment(**more))
    return Done(done.returncode, done.stdout, done.stderr)


def new_interpreter(*arguments: object, code: str | None = None, **more: str) -> Done:
    """Run the command, or a program of its own, in another process, from the start of its interpreter on."""
    start = COMMAND if code is None else [sys.executable, "-c", code]
    done = subprocess.run(
        [*start, *map(str, arguments)],
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
