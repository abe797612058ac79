"""What the commands of ``memvid memory`` share: whose memory it is, and the service over an open memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memvid_core.cli.creating import new_memory
from memvid_core.cli.options import opened

if TYPE_CHECKING:
    from memvid_core.agent import SyncMemoryService
    from memvid_core.agent.models import Model

__all__ = [
    "MAKE",
    "Agent",
    "ModelName",
    "Session",
    "User",
    "fields_of",
    "model_of",
    "scope_of",
    "service_of",
    "writable",
]

MAKE = "memvid memory add {name} FILES --create"
"""The command that makes a memory of conversations."""
User = Annotated[
    str | None, typer.Option("--user", metavar="ID", envvar="MEMVID_USER", show_default=False, help="Whose memory.")
]
Agent = Annotated[str | None, typer.Option("--agent", metavar="ID", show_default=False, help="Which agent's memory.")]
Session = Annotated[str | None, typer.Option("--session", metavar="ID", show_default=False, help="Which conversation.")]

ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="PROVIDER:MODEL",
        show_default=False,
        help="A chat model, such as openai:gpt-5-mini or ollama:llama3.2; it needs memvid-core[agents] and the "
        "provider's package.",
    ),
]


def fields_of(struct: Any) -> dict[str, Any]:
    """Return the fields of a result."""
    import msgspec

    return msgspec.structs.asdict(struct)


def scope_of(user: str | None, agent: str | None, session: str | None) -> dict[str, Any]:
    """Return the fields of a scope that options give."""
    given = {"user_id": user, "agent_id": agent, "session_id": session}
    return {name: value for name, value in given.items() if value is not None}


def model_of(name: str | None, extract: str | None) -> Model | None:
    """Return the model of a name, before anything is opened or made.

    Raises:
        InvalidInputError: The name has no provider, or items are to be made by a model and none is named.
        MissingExtraError: The model needs a package that is not installed.
    """
    from memvid_core import InvalidInputError
    from memvid_core.agent.models import as_model

    if extract == "llm" and name is None:
        raise InvalidInputError("--extract llm needs --model PROVIDER:MODEL, such as openai:gpt-5-mini")
    return as_model(name)


def service_of(memory: Any, extract: str = "rules", model: Model | None = None) -> SyncMemoryService:
    """Return the service over an open memory."""
    from memvid_core.agent import SyncMemoryService

    return SyncMemoryService(memory, model=model, memorize_config={"extract": extract})


@contextmanager
def writable(path: Path, given: Any, *, create: bool, timeout: float) -> Iterator[Any]:
    """Open a memory for writing, or make it."""
    made = new_memory(path, timeout=timeout) if create and not path.exists() else None
    with made or opened(path, "a", timeout=timeout, others=given, make=MAKE) as memory:
        yield memory
