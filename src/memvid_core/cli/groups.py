"""Groups of commands that look alike in their help."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperGroup

from memvid_core.cli.narrow_help import print_narrow_help

__all__ = ["Commands"]

# What the help shows instead of the name of a Python type.
_METAVARS = {"str": "TEXT", "list[str]": "TEXT", "int": "N", "float": "N", "Path": "FILE"}


class Commands(TyperGroup):
    """A group of commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help of the group."""
        if not print_narrow_help(self, ctx):
            super().format_help(ctx, formatter)

    def get_params(self, ctx: Any) -> Any:
        """Return the group's own parameters, whose help does not show Python types either."""
        return [_untyped(param) for param in super().get_params(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command whose help does not show the Python type of flags and arguments."""
        command: Any = super().get_command(ctx, cmd_name)
        if command is not None and not isinstance(command, Commands):
            listed = command.get_params
            command.get_params = lambda context: [_untyped(param) for param in listed(context)]
            wide = command.format_help
            command.format_help = lambda context, formatter: (
                print_narrow_help(command, context) or wide(context, formatter)
            )
        return command


def _untyped(param: Any) -> Any:
    if isinstance(param, TyperArgument) or getattr(param, "is_flag", False) or param.name == "help":
        param.display_type_rich = _no_type
    elif param.metavar is None and callable(getattr(param, "bare_type", None)):
        param.metavar = _METAVARS.get(param.bare_type())
    return param


def _no_type(ctx: Any) -> None:
    return None
