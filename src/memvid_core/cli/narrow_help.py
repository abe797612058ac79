"""The help on a terminal without room for the columns of a table: each option has a line, and its help is below."""

from __future__ import annotations

from inspect import cleandoc
from typing import TYPE_CHECKING, Any

from memvid_core.cli.output import console

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_narrow_help"]

_WIDE = 110  # columns; in a narrower table, names and texts of options are cut


def print_narrow_help(command: Any, ctx: Any) -> bool:
    """Print the help of a command, or do nothing if the terminal has room for tables; return whether it is printed."""
    out = console()
    if out.width >= _WIDE:
        return False
    _text(out, f"Usage: {' '.join([ctx.command_path, *command.collect_usage_pieces(ctx)])}", hang=4)
    _paragraphs(out, command.help)
    titles = {"argument": "Arguments", "option": "Options"}
    records = [(titles[param.param_type_name], param.get_help_record(ctx)) for param in command.get_params(ctx)]
    for title in titles.values():
        _section(out, title, [record for of, record in records if of == title and record is not None])
    names = command.list_commands(ctx) if hasattr(command, "list_commands") else []
    found = [(name, command.get_command(ctx, name)) for name in names]
    shown = [(name, one, one.rich_help_panel) for name, one in found if not one.hidden]
    panels = {panel: panel if isinstance(panel, str) else "Commands" for *_, panel in shown}
    for title in dict.fromkeys(panels.values()):
        own = [(name, one.get_short_help_str(limit=1000)) for name, one, panel in shown if panels[panel] == title]
        _section(out, title, own)
    _paragraphs(out, command.epilog)
    out.print()
    return True


def _section(out: Console, title: str, records: list[tuple[str, str]]) -> None:
    if records:
        out.print()
        _text(out, title, style="bold")
    for name, about in records:
        _text(out, name, indent=2, hang=4, style="cyan")
        _text(out, about, indent=6)


def _paragraphs(out: Console, text: str | None) -> None:
    for paragraph in cleandoc(text).split("\n\n") if text else ():
        out.print()
        _text(out, paragraph)


def _text(out: Console, text: str, *, indent: int = 0, hang: int = 0, style: str = "") -> None:
    """Print a text in lines that fit, all but the first of which are indented further."""
    from rich.text import Text

    words = Text(" ".join(text.replace("`", "").split()), style=style)
    lines = words.wrap(out, max(out.width - indent - hang, 8))
    for number, line in enumerate(lines):
        line.rstrip()
        out.print(Text(" " * (indent + (hang if number else 0))) + line, soft_wrap=True)
