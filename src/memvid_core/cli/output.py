"""Output of commands: JSON for scripts, tables and text for people. Colors and progress bars need a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = [
    "Update",
    "console",
    "count",
    "escaped_json",
    "facts",
    "files_progress",
    "in_one_line",
    "megabytes",
    "moment",
    "note",
    "printable",
    "say",
    "show",
    "write_json",
    "write_text",
]

_NAME = 24  # width of a file name next to a progress bar, in terminal cells
_NAMED = 60  # the least width of a terminal for it


class Update:
    """Update a progress bar: a call shows what is done, of how much, and the name of the last item.

    Args:
        show: Changes the bar; None without one.
        title: What the command does.
    """

    def __init__(self, show: Callable[..., object] | None, title: str) -> None:
        self._show = show
        self._title = title

    def __call__(self, done: int, total: int, last: str) -> None:
        """Show what is done, of how much, and the name of the last item."""
        if self._show:
            self._show(description=self._title, completed=done, total=total, last=_end(printable(last), _NAME))

    def waits_for(self, what: str) -> None:
        """Show what the command waits for, until the next call."""
        if self._show:
            self._show(description=what, last="")


"""A function of the number done, the total, and the last item."""

# Characters that would move the cursor, ring the bell or recolor the terminal are shown as control pictures.
_CONTROLS: dict[int, int | str] = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_CONTROLS |= {0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}")}
# Characters that would reorder the letters after them.
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS |= {code: f"\\u{code:04x}" for code in _BIDI}
_LINE_ENDS: dict[int, int | str] = {0x09: 0x2409, 0x0A: 0x240A, 0x2028: "\\u2028", 0x2029: "\\u2029"}
_IN_JSON = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *_BIDI)}


def printable(text: str) -> str:
    r"""Replace the control characters of a text, which would act on the terminal.

    Example:
        >>> printable("\x1b[31mred")
        '␛[31mred'
    """
    return text.translate(_CONTROLS)


def in_one_line(text: str) -> str:
    r"""Replace control characters, also those that divide lines: a name is one line whatever is in it.

    Example:
        >>> in_one_line("a\n 2  1.0  b.md")
        'a␊ 2  1.0  b.md'
    """
    return printable(text).translate(_LINE_ENDS)


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> count(1, "record"), count(1200, "file"), count(2, "memory")
        ('1 record', '1,200 files', '2 memories')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def megabytes(size: int) -> str:
    """Format a size in powers of ten.

    Example:
        >>> megabytes(999), megabytes(12_300), megabytes(4_560_000)
        ('999 bytes', '12.3 kB', '4.6 MB')
    """
    if size < 1000:
        return count(size, "byte")
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def moment(time: datetime) -> str:
    """Format a time in the local zone, to the second."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


# ------------------------------------------------------------------------------------------------------- for people


def console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or error, without markup, emoji names and highlighting."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(32, "the reader of the output closed the pipe")

    return Plain(stderr=stderr, markup=False, emoji=False, highlight=False)


def show(*parts: Any, indent: int = 0, hang: int = 0) -> None:
    """Print for people; lines are wrapped only on a terminal, and ``hang`` indents all of a text but its first."""
    from rich.padding import Padding

    out = console()
    for part in parts:
        if out.is_terminal and hang:
            part = _hanging(part, out, hang)
        if out.is_terminal and indent:
            out.print(Padding(part, (0, 0, 0, indent)))
        elif indent:
            out.print(" " * indent, part, sep="", soft_wrap=True)
        else:
            out.print(part, soft_wrap=not out.is_terminal and not hasattr(part, "columns"))


def say(text: str, style: str = "") -> None:
    """Print one line of the result."""
    from rich.text import Text

    show(Text(printable(text), style=style), hang=2)


def note(text: str, style: str = "") -> None:
    """Print a message to people on standard error; a command in it is not wrapped, so that it can be copied."""
    from rich.text import Text

    out = console(stderr=True)
    message = Text(printable(text), style=style)
    before, command, _ = message.plain.partition("memvid ")
    if not out.is_terminal or message.cell_len <= out.width or (command and not before.strip()):
        out.print(message, soft_wrap=True)
    elif command:
        out.print(_hanging(message[: len(before.rstrip())], out, 2))
        out.print(Text("  ") + message[len(before) :], soft_wrap=True)
    else:
        out.print(_hanging(message, out, 2 + len(text) - len(text.lstrip(" "))))


def _hanging(text: Text, out: Console, hang: int) -> Text:
    """Return a text in lines that fit, of which all but the first are indented."""
    from rich.text import Text

    first, *others = text.wrap(out, out.width)
    if not others:
        return text
    rest = text[len(text.plain) - len(text.plain[len(first.plain) :].lstrip()) :]
    lines = [first, *rest.wrap(out, max(out.width - hang, 8))]
    for line in lines:
        line.rstrip()
    return Text("\n" + " " * hang).join(lines)


def facts(title: str, pairs: Mapping[str, str]) -> None:
    """Print names and values in two columns under a title."""
    from rich.text import Text

    width = max(map(len, pairs))
    show(Text(printable(title), style="bold"))
    for name, value in pairs.items():
        show(Text.assemble((f"  {name:{width}}  ", "dim"), printable(value)), hang=width + 4)


@contextmanager
def files_progress(title: str, unit: str = "files") -> Iterator[Update]:
    """Show a progress bar on standard error with the name of the last item, if it is a terminal."""
    if not sys.stderr.isatty():
        yield Update(None, title)
        return
    from rich.constrain import Constrain
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    screen = console(stderr=True)

    class Bar(Progress):
        def get_renderable(self) -> Constrain:
            # The terminal echoes ^C after the bar; without space for it, the line would wrap and stay visible.
            return Constrain(super().get_renderable(), max(1, screen.width - len("^C")))

    columns = (
        SpinnerColumn("line"),  # rotates during long commits
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    name = TextColumn("{task.fields[last]}", style="dim", markup=False, table_column=Column(no_wrap=True, ratio=2))
    with Bar(*columns, *([name] if screen.width >= _NAMED else []), console=screen, transient=True, expand=True) as bar:
        task = bar.add_task(title, total=None, last="")

        def show(**changed: Any) -> None:
            bar.update(task, refresh="completed" not in changed, **changed)

        yield Update(show, title)


def _end(text: str, width: int) -> str:
    """Return the end of a text, as much as fits; the end of a path identifies it better than the beginning.

    Example:
        >>> _end("docs/a.md", 9), _end("docs/a.md", 5), _end("문서/날개.md", 7)
        ('docs/a.md', '…a.md', '…개.md')
    """
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    end = text[1 - width :]
    while cell_len(end) >= width:
        end = end[1:]
    return f"…{end}"


# ------------------------------------------------------------------------------------------------------ for scripts


def write_json(document: Any) -> None:
    """Print one JSON document in UTF-8: indented on a terminal, otherwise on one line.

    Structs become objects, times ISO 8601 strings, NaN and infinities null.
    """
    import msgspec

    try:
        encoded = msgspec.json.encode(document)
    except UnicodeEncodeError:  # a file name that is not valid Unicode
        encoded = msgspec.json.encode(_valid(msgspec.to_builtins(document)))
    if sys.stdout.isatty():
        encoded = escaped_json(msgspec.json.format(encoded, indent=2))
    _write(encoded + b"\n")


def escaped_json(encoded: bytes) -> bytes:
    r"""Escape the characters in JSON that would act on a terminal.

    Example:
        >>> escaped_json('"\u009b31m"'.encode()).decode()
        '"\\u009b31m"'
    """
    return encoded.decode().translate(_IN_JSON).encode()


def write_text(text: str) -> None:
    """Print a text in UTF-8 without a newline after it; on a terminal, replace control characters."""
    shown = printable(text) if sys.stdout.isatty() else text
    _write(shown.encode("utf-8", "backslashreplace"))


def _write(data: bytes) -> None:
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(data.decode("utf-8"))
    else:
        buffer.write(data)


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_valid(key): _valid(item) for key, item in value.items()}
    return [_valid(item) for item in value] if isinstance(value, list) else value
