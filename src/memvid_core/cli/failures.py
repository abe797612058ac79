"""Exit codes, and the conversion of an error to one line."""

from __future__ import annotations

import _thread
import errno
import os
import signal
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer

import memvid_core as core
from memvid_core.cli.output import note, write_json

__all__ = [
    "BUG",
    "CLOSED_PIPE",
    "HUNG_UP",
    "INTERRUPTED",
    "NOTHING",
    "PARTLY",
    "TERMINATED",
    "USAGE",
    "Terminated",
    "exit_code",
    "reported",
    "terminable",
]

NOTHING = 1
USAGE = 2
PARTLY = 3
BUG = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
TERMINATED = 143  # 128 + SIGTERM
HUNG_UP = 129  # 128 + SIGHUP
_SIGNALED = 128
CLOSED_PIPE = 141  # 128 + SIGPIPE
_UNTIL_AGAIN = 0.001  # seconds

# The first match counts, so subclasses come before their bases.
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (core.MemoryNotFoundError, 4),
    (core.MemoryExistsError, 5),
    (core.NotAMemoryError, 6),
    (core.UnsupportedFormatError, 6),
    (core.DamagedFrameError, 7),
    (core.LockedError, 8),
    (core.CommitConflictError, 8),
    (core.ReadOnlyError, 9),
    (core.StorageError, 9),
    (core.MissingExtraError, 10),
    (core.EmbeddingError, 11),
    (core.ChatError, 11),
    (core.RecordNotFoundError, NOTHING),
    (core.InvalidInputError, USAGE),
    (core.IngestError, USAGE),
    (core.MemoryFileError, 7),
    (core.MemvidError, 12),
    (OSError, 9),
)

# Actions that the core suggests, worded for the command line.
_WORDS = {
    core.Action.CREATE: "create it with: memvid build PATHS -o {path}",
    core.Action.DROP_DAMAGED: "memvid verify lists the damage, --drop-damaged drops it",
    core.Action.DROP_MOST: "to remove their records, add --yes",
    core.Action.FILTER: "to list records without a query, use memvid export",
    core.Action.FORCE: "give the name of that embedder with --embedder",
    core.Action.GIVE_EMBEDDER: "give the name of that embedder with --embedder",
    core.Action.GIVE_PATH: "give the path of a file",
    core.Action.GIVE_SCOPE: "give --user or --agent",
    core.Action.NAME_RECORDS: "give ids or --where",
    core.Action.OPEN_AGAIN: "run the command again",
    core.Action.OPEN_FOR_READING: "make the file and its folder writable",
    core.Action.OPEN_FOR_WRITING: "make the file and its folder writable",
    core.Action.OVERWRITE: "import it first, or replace it with --force",
    core.Action.READ_REMOTE: "write to a local file, and upload that",
    core.Action.ALLOW_PARTIAL: "--partial shows the hits of the others, memvid library verify looks at every file",
    core.Action.REPAIR: "memvid compact repairs it",
    core.Action.SEARCH_WORDS: "give its name with --embedder, or use --mode lexical",
    core.Action.WAIT: "try again, or give a longer --timeout",
}


class Terminated(KeyboardInterrupt):  # a subclass, so that handlers of KeyboardInterrupt apply
    """SIGTERM ends a command as Ctrl-C does, without leaving partial files.

    Attributes:
        number: The number of the signal.
    """

    number = 15


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGTERM and a closed terminal raise `Terminated` for the duration of a ``with`` block.

    An interrupt that arrives where Python drops exceptions is raised again afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: object) -> None:
        error = Terminated()
        error.number = number
        raise error

    before: dict[int, Any] = {}
    # SIGBREAK is the counterpart of SIGTERM on Windows, which has no SIGHUP.
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # keep the handler of nohup
            before[number] = signal.signal(number, terminate)
    try:
        with _dropped_signals_raised():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _dropped_signals_raised() -> Iterator[None]:
    """Raise an interrupt again that Python has dropped, for the duration of a ``with`` block.

    Python prints and drops an exception within a destructor or a callback of the garbage collector, also when a signal
    happens to arrive there. The command would go on.
    """
    before = sys.unraisablehook
    state = {"running": True, "in hook": False}
    main = threading.get_ident()

    def again(number: int) -> None:
        while state["in hook"]:  # what is raised there is dropped as well
            time.sleep(_UNTIL_AGAIN)
        if not state["running"]:
            return
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main, number)  # also wakes a thread that waits
        else:
            _thread.interrupt_main(signal.Signals(number))

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        error = unraisable.exc_value
        if not isinstance(error, KeyboardInterrupt):
            before(unraisable)
            return
        state["in hook"] = True
        # Not threading.Thread, whose locks may be held by what was interrupted.
        _thread.start_new_thread(again, (getattr(error, "number", signal.SIGINT),))
        state["in hook"] = False

    sys.unraisablehook = hook
    try:
        yield
    finally:
        state["running"] = False
        sys.unraisablehook = before


def exit_code(error: BaseException) -> int:
    """Return the exit code of an error.

    Example:
        >>> exit_code(core.LockedError("held")), exit_code(core.FilterError("?")), exit_code(TypeError("!"))
        (8, 2, 70)
    """
    return next((code for kind, code in _CODES if isinstance(error, kind)), BUG)


@contextmanager
def reported(*, debug: bool, as_json: bool) -> Iterator[None]:
    """Convert an error of a command to one line on standard error and an exit code.

    Args:
        debug: Also print the traceback.
        as_json: Also print the error as JSON on standard output.

    Raises:
        typer.Exit: With the code.
    """
    try:
        yield
    except KeyboardInterrupt as exc:
        if sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write("\r")  # over the terminal's echo of Ctrl-C
        note(f"stopped: {exc}" if exc.args else "stopped")
        _forget_interrupt()
        raise typer.Exit(_SIGNALED + exc.number if isinstance(exc, Terminated) else INTERRUPTED) from None
    except Exception as exc:
        if _is_usage_or_exit(exc):
            raise
        if _is_closed_pipe(exc):
            _close_stdout()
            raise typer.Exit(CLOSED_PIPE) from None
        raise typer.Exit(_report(exc, debug=debug, as_json=as_json)) from None


def _forget_interrupt() -> None:
    """Make CPython exit with the exit code instead of the signal.

    CPython records an interrupt that passes through code run from a string, for example while a dataclass is created.
    It keeps the record although the interrupt is caught later, and then exits by the signal. Running other such code,
    as a namedtuple does, clears the record.
    """
    namedtuple("Forget", ())  # noqa: PYI024  # for its side effect


def _report(error: Exception, *, debug: bool, as_json: bool) -> int:
    code = exit_code(error)
    message = _message(error, code)
    if debug:
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    note(f"error: {message}", style="bold red")
    if as_json:
        with suppress(OSError):
            write_json({"error": {"type": type(error).__name__, "message": message, "exit_code": code}})
    return code


def in_shell_words(error: BaseException) -> str:
    """Return the message of an error or a warning, with its hint as a command."""
    return core.worded(error, _WORDS)


def _message(error: Exception, code: int) -> str:
    if isinstance(error, OSError) and not isinstance(error, core.MemvidError):
        text = f"{error.filename or 'the output'}: {error.strerror or error}"
    else:
        text = in_shell_words(error) or type(error).__name__
    if code == BUG:
        text = f"{type(error).__name__}: {text}; this is a bug in memvid: please report what --debug shows"
    return "; ".join([" ".join(text.split()), *getattr(error, "__notes__", ())])


def _is_usage_or_exit(error: Exception) -> bool:
    # Typer's own errors: BadParameter and its subclasses display themselves; Exit and Abort carry a code.
    return isinstance(error, typer.Exit | typer.Abort) or hasattr(error, "show")


def _is_closed_pipe(error: Exception) -> bool:
    if not isinstance(error, OSError) or isinstance(error, core.MemvidError):
        return False
    # Windows reports a closed pipe as EINVAL.
    return error.errno == errno.EPIPE or (os.name == "nt" and error.errno == errno.EINVAL and error.filename is None)


def _close_stdout() -> None:
    """Discard the buffered output; otherwise the interpreter reports an error at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
