"""``memvid memory``: what an agent remembers, from a shell: add, recall, list, correct by Markdown, and forget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memvid_core.cli import agent_records
from memvid_core.cli.agent_options import (
    MAKE,
    Agent,
    ModelName,
    Session,
    User,
    fields_of,
    model_of,
    scope_of,
    service_of,
    writable,
)
from memvid_core.cli.failures import NOTHING, PARTLY
from memvid_core.cli.groups import Commands
from memvid_core.cli.options import WAIT, AsJson, MemoryPath, Timeout, WithQuestion, opened
from memvid_core.cli.output import count, note, say, write_json, write_text

if TYPE_CHECKING:
    from memvid_core import MemvidError
    from memvid_core.agent import Memorized, SyncMemoryService

__all__ = ["register"]

_EXAMPLE = '`memvid memory recall agent.mp4 "When is the party?" --user ada`'

Folder = Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="A folder of Markdown files.")]


def register(app: typer.Typer) -> None:
    """Add these commands to a program."""
    group = typer.Typer(cls=Commands, no_args_is_help=True, rich_markup_mode="markdown")
    group.command("add")(add)
    group.command("recall", cls=WithQuestion, epilog=_EXAMPLE)(recall)
    group.command("list")(agent_records.list_)
    group.command("history")(agent_records.history)
    group.command("stats")(agent_records.stats)
    group.command("forget")(agent_records.forget)
    group.command("export")(export)
    group.command("import")(import_)
    description = "Remember and recall conversations: what an agent knows of each user."
    epilog = "Every command has --help, and --json for scripts."
    app.add_typer(group, name="memory", help=description, epilog=epilog, rich_help_panel="Remember")


def add(
    memory_path: MemoryPath,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILES", show_default=False, help="Conversations; - is standard input."),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", "-t", metavar="TEXT", show_default=False, help="What was said.")
    ] = None,
    modality: Annotated[str, typer.Option("--modality", metavar="NAME", help="What the files are.")] = "conversation",
    extract: Annotated[
        Literal["raw", "rules", "llm"] | None,
        typer.Option(
            "--extract",
            show_default=False,
            help="How items are made: rules (the default), llm (the default with --model), or raw (none).",
        ),
    ] = None,
    model: ModelName = None,
    create: Annotated[bool, typer.Option("--create", help="Make the memory if it is not there.")] = False,
    user: User = None,
    agent: Agent = None,
    session: Session = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Remember conversations: JSON messages, transcripts, exports of chat programs.

    A conversation that is given again adds nothing, and a longer form of it adds what is new.
    """
    if not files and not text:
        raise typer.BadParameter("say what to remember: files, - or --text", param_hint="FILES")
    scope = scope_of(user, agent, session)
    asked = model_of(model, extract)
    done: list[Memorized] = []
    failed: list[tuple[str, MemvidError]] = []
    with writable(memory_path, files or (), create=create, timeout=timeout) as memory:
        service = service_of(memory, extract=extract or ("llm" if model else "rules"), model=asked)
        service.scopes.check(scope)
        done += [service.add(each, **scope) for each in text or ()]
        for file in files or ():
            _add_file(service, file, modality, scope, done, failed)
        if failed and not done:
            raise failed[0][1]
    _show_added(memory_path, done, failed, as_json)
    if failed or any(each.failures for each in done):
        raise typer.Exit(PARTLY)


def _add_file(
    service: SyncMemoryService,
    file: str,
    modality: str,
    scope: dict[str, Any],
    done: list[Memorized],
    failed: list[tuple[str, MemvidError]],
) -> None:
    from memvid_core import InvalidInputError, MissingExtraError

    try:
        if file == "-":
            done.append(service.add(_standard_input(), **scope))
        else:
            done.append(service.memorize(resource_url=file, modality=modality, user=scope))
    except (InvalidInputError, MissingExtraError) as exc:
        failed.append((file, exc))


def _standard_input() -> str:
    from memvid_core import InvalidInputError

    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"standard input is not UTF-8 at byte {exc.start:,}") from exc


def _show_added(memory_path: Path, done: list[Memorized], failed: list[tuple[str, MemvidError]], as_json: bool) -> None:
    turns = [turn for each in done for turn in each.turns]
    items = list({item.id: item for each in done for item in each.items}.values())
    failures = [failure for each in done for failure in each.failures]
    resources = list({each.id: each for one in done for each in one.resources}.values())
    if as_json:
        errors = [{"source": file, "type": type(exc).__name__, "message": str(exc)} for file, exc in failed]
        told = {"memory": str(memory_path), "resources": resources, "turns": turns, "items": items, "failed": errors}
        write_json({**told, "failures": failures, "model_calls": sum(each.model_calls for each in done)})
    else:
        made = f"{count(len(turns), 'turn')} and {count(len(items), 'item')}"
        say(f"{memory_path}: {made} from {count(len(done), 'source')}")
    for _, exc in failed:
        note(f"not added: {exc}")
    for failure in failures:
        note(f"added without items; the same command tries again: {failure}")


def recall(
    memory_path: MemoryPath,
    question: Annotated[str, typer.Argument(metavar="QUESTION", show_default=False, help="A question, or words.")],
    budget: Annotated[int, typer.Option("--budget", metavar="TOKENS", min=0, help="How long the text may be.")] = 1000,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", show_default=False, help="What was known then: 2026-03-31."),
    ] = None,
    user: User = None,
    agent: Agent = None,
    session: Session = None,
    as_json: AsJson = False,
) -> None:
    """Recall what answers a question: who said what, when, with references.

    The text is quoted data for a model's prompt, under a heading that says so.
    """
    with opened(memory_path, others=[question], make=MAKE) as memory:
        answer = service_of(memory).recall(question, budget=budget, as_of=as_of, **scope_of(user, agent, session))
    if as_json:
        told = {"memory": str(memory_path), "question": question, "tokens": answer.tokens, "text": answer.text}
        write_json({**told, "hits": answer.hits, "left_out": answer.left_out})
    elif answer.hits:
        write_text(f"{answer.text}\n")
    if not answer.hits:
        note("nothing is remembered that answers it")
        raise typer.Exit(NOTHING)


def export(
    memory_path: MemoryPath,
    folder: Folder,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace files that were edited.")] = False,
    user: User = None,
    agent: Agent = None,
    as_json: AsJson = False,
) -> None:
    """Write items as Markdown: MEMORY.md, and one file a category, to read and to edit."""
    from memvid_core.agent import export_markdown

    with opened(memory_path, others=[str(folder)], make=MAKE) as memory:
        done = export_markdown(service_of(memory), folder, force=force, **scope_of(user, agent, None))
    if as_json:
        write_json({"memory": str(memory_path), **fields_of(done)})
    else:
        say(f"{done.folder}: {count(done.items, 'item')} in {count(len(done.files), 'file')}")


def import_(
    memory_path: MemoryPath,
    folder: Folder,
    forget_missing: Annotated[
        bool, typer.Option("--forget-missing", help="Forget what was exported or imported and is gone from DIR.")
    ] = False,
    create: Annotated[bool, typer.Option("--create", help="Make the memory if it is not there.")] = False,
    user: User = None,
    agent: Agent = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Take a folder of Markdown into memory: an export that was edited, or any notes.

    An edited bullet corrects its item, a bullet without a reference is a new item, and other files become resources.
    """
    from memvid_core.agent import import_markdown

    with writable(memory_path, [str(folder)], create=create, timeout=timeout) as memory:
        scope = scope_of(user, agent, None)
        done = import_markdown(service_of(memory), folder, forget_missing=forget_missing, **scope)
    if as_json:
        write_json({"memory": str(memory_path), **fields_of(done)})
        return
    parts = f"{len(done.corrected):,} corrected, {len(done.added):,} added, {len(done.forgotten):,} forgotten"
    say(f"{memory_path}: {parts}, {count(len(done.resources), 'note')}")
    if done.missing:
        note(f"{count(len(done.missing), 'item')} of the export not in {folder}; to forget: --forget-missing")
