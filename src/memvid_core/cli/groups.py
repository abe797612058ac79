"""Groups of commands that look alike in their help."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperGroup

__all__ = ["Commands"]


class Commands(TyperGroup):
    """A group of commands."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command whose help does not show the Python type of flags and arguments."""
        command = super().get_command(ctx, cmd_name)
        for param in getattr(command, "params", ()):
            if isinstance(param, TyperArgument) or getattr(param, "is_flag", False) or param.name == "help":
                param.display_type_rich = _no_type
        return command


def _no_type(ctx: Any) -> None:
    return None
