"""Exit codes, and how an error becomes one line."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer

from memvid_core import errors
from memvid_core.cli.output import note, write_json

__all__ = [
    "BUG",
    "CLOSED_PIPE",
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
INTERRUPTED = 130  # 128 + SIGINT, as a shell counts
TERMINATED = 143  # 128 + SIGTERM
CLOSED_PIPE = 141  # 128 + SIGPIPE

# The first that fits counts, so the narrow come before the wide.
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (errors.MemoryNotFoundError, 4),
    (errors.MemoryExistsError, 5),
    (errors.NotAMemoryError, 6),
    (errors.UnsupportedFormatError, 6),
    (errors.DamagedFrameError, 7),
    (errors.LockedError, 8),
    (errors.ReadOnlyError, 9),
    (errors.StorageError, 9),
    (errors.MissingExtraError, 10),
    (errors.EmbeddingError, 11),
    (errors.ChatError, 11),
    (errors.RecordNotFoundError, NOTHING),
    (errors.InvalidInputError, USAGE),
    (errors.IngestError, USAGE),
    (errors.MemoryFileError, 7),
    (errors.MemvidError, 12),
    (OSError, 9),
)

# What the core advises a Python program to do, and what it means for who types commands.
_WORDS = {
    errors.Action.DROP_DAMAGED: "memvid verify names it, --drop-damaged goes on without",
    errors.Action.FILTER: "to list records without a query, use memvid export",
    errors.Action.FORCE: "give the name of that embedder with --embedder",
    errors.Action.GIVE_EMBEDDER: "give the name of that embedder with --embedder",
    errors.Action.NAME_RECORDS: "give ids or --where",
    errors.Action.OPEN_FOR_READING: "make the file and its folder writable",
    errors.Action.OPEN_FOR_WRITING: "make the file and its folder writable",
    errors.Action.SEARCH_WORDS: "give its name with --embedder, or use --mode lexical",
    errors.Action.WAIT: "try again, or give a longer --timeout",
}
_IN_SHELL_WORDS = (("pass drop_most=True", "add --yes"),)


class Terminated(KeyboardInterrupt):  # as KeyboardInterrupt, which it is to all that catches it
    """SIGTERM: what ends a service ends a command as Ctrl-C does, with nothing half made left behind."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM, and the end of the terminal, raise `Terminated` for the length of a ``with`` block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    before: dict[int, Any] = {}
    # SIGBREAK is what Windows sends where others send SIGTERM; there is no SIGHUP there.
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup's choice stands
            before[number] = signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(error: BaseException) -> int:
    """The exit code that stands for an error.

    Example:
        >>> exit_code(errors.LockedError("held")), exit_code(errors.FilterError("?")), exit_code(TypeError("!"))
        (8, 2, 70)
    """
    return next((code for kind, code in _CODES if isinstance(error, kind)), BUG)


@contextmanager
def reported(*, debug: bool, as_json: bool) -> Iterator[None]:
    """Turn what a command raises into one line on standard error and an exit code.

    Args:
        debug: Print the traceback too.
        as_json: Print the error as JSON on standard output too.

    Raises:
        typer.Exit: With the code.
    """
    try:
        yield
    except KeyboardInterrupt as exc:
        note(f"stopped: {exc}" if exc.args else "stopped")
        _forget_interrupt()
        raise typer.Exit(TERMINATED if isinstance(exc, Terminated) else INTERRUPTED) from None
    except Exception as exc:
        if _is_usage_or_exit(exc):
            raise
        if _is_closed_pipe(exc):
            _close_stdout()
            raise typer.Exit(CLOSED_PIPE) from None
        raise typer.Exit(_report(exc, debug=debug, as_json=as_json)) from None


def _forget_interrupt() -> None:
    """Let the exit code stand.

    CPython notes an interrupt that passes through code given as text (a dataclass being made, say), keeps the note
    though it is caught further out, and then ends by the signal instead of the code. Running any such code, as a
    namedtuple does, takes the note back.
    """
    namedtuple("Forget", ())  # noqa: PYI024  # its type is not wanted, only its making


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
    """The message of an error or a warning, with what to do about it as a command."""
    return errors.worded(error, _WORDS)


def _message(error: Exception, code: int) -> str:
    if isinstance(error, OSError) and not isinstance(error, errors.MemvidError):
        text = f"{error.filename or 'the output'}: {error.strerror or error}"
    else:
        text = in_shell_words(error) or type(error).__name__
        for python, shell in _IN_SHELL_WORDS:
            text = text.replace(python, shell)
    if code == BUG:
        text = f"{type(error).__name__}: {text}; this is a bug in memvid: please report what --debug shows"
    return "; ".join([" ".join(text.split()), *getattr(error, "__notes__", ())])


def _is_usage_or_exit(error: Exception) -> bool:
    # Typer's own: BadParameter and its kin know how to show themselves; Exit and Abort carry a code.
    return isinstance(error, typer.Exit | typer.Abort) or hasattr(error, "show")


def _is_closed_pipe(error: Exception) -> bool:
    if not isinstance(error, OSError) or isinstance(error, errors.MemvidError):
        return False
    # Windows reports a closed pipe as EINVAL.
    return error.errno == errno.EPIPE or (os.name == "nt" and error.errno == errno.EINVAL and error.filename is None)


def _close_stdout() -> None:
    """Send what is still buffered nowhere, or the interpreter would complain of it at its end."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
