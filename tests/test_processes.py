"""The processes that the tests start are like those of ``subprocess``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import environment, run, start

PROGRAM = """
import os, sys
print(sys.argv[1:], sys.stdin.read(), os.getcwd(), os.environ["GIVEN"], os.environ.get("PATH"), __name__)
print("é", file=sys.stderr)
sys.exit(3)
"""


def test_arguments_streams_folder_environment_and_exit_code(tmp_path: Path) -> None:
    given = {"cwd": tmp_path, "env": {**environment(GIVEN="날개")}}
    del given["env"]["PATH"]  # type: ignore[attr-defined]
    command = [sys.executable, "-c", PROGRAM, "a", "b c"]
    expected = subprocess.run(command, input="", capture_output=True, encoding="utf-8", check=False, **given)  # type: ignore[call-overload]
    done = run(PROGRAM, "a", "b c", **given)  # type: ignore[arg-type]
    assert (done.returncode, done.stdout, done.stderr) == (3, expected.stdout, expected.stderr)
    assert "['a', 'b c']" in done.stdout


AT_THE_END = """
import atexit, sys, threading, weakref
class Told:
    def __del__(self): print("deleted", [name for name in ("os", "numpy") if name in sys.modules])
told, open_file = Told(), open(__import__("os").devnull)
circle = [Told()]
circle.append(circle)
weakref.finalize(told, print, "finalized")
atexit.register(lambda: print("at exit", "threading" in sys.modules))
go_on = threading.Event()
threading.Thread(target=lambda: (go_on.wait(), print("a thread"))).start()
threading._register_atexit(go_on.set)
print("done")
"""


def test_what_a_process_holds_is_given_up_at_its_end() -> None:
    command = [sys.executable, "-W", "always", "-c", AT_THE_END]
    expected = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    done = run("import warnings; warnings.simplefilter('always')\n" + AT_THE_END)
    assert (done.returncode, done.stdout) == (expected.returncode, expected.stdout)
    assert done.stdout.split("\n", 3)[:3] == ["done", "a thread", "at exit True"]
    assert done.stdout.count("deleted") == 2
    assert "ResourceWarning: unclosed file" in expected.stderr
    assert "ResourceWarning: unclosed file" in done.stderr


def test_an_error_is_a_traceback_and_exit_code_1() -> None:
    done = run("1 / 0")
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_processes_run_at_once_and_answer() -> None:
    program = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
    with start(program) as one, start(program) as other:
        assert len({one.pid, other.pid, os.getpid()}) == 3
        for process, said in ((other, "a"), (one, "b"), (other, "c")):
            process.stdin.write(f"{said}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{said.upper()}\n"
        assert one.poll() is None
        assert one.communicate("d\n") == ("D\n", "")
        assert one.returncode == 0
        other.kill()
        assert other.wait() != 0


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_have_their_usual_effect(number: signal.Signals) -> None:
    with start("import sys; print('ready', flush=True); sys.stdin.read()") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait() == -number


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning")
def test_a_server_that_cannot_start_is_an_error_and_no_hang(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((ValueError, OSError)):
        run("", modules=("tests.no_such_module",))
    assert "no_such_module" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_a_process_on_a_terminal_sees_it_on_all_of_its_streams() -> None:
    ours, theirs = os.openpty()
    program = "import sys; print([stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)])"
    with start(program, terminal=theirs) as process:
        shown = os.read(ours, 1000)
        assert process.wait() == 0
    os.close(ours)
    assert shown.strip() == b"[True, True, True]"
