"""``memvid chat``: ask a memory; a language model answers and cites sources."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memvid_core.cli.failures import NOTHING
from memvid_core.cli.options import WAIT, AsJson, EmbedderName, MemoryPath, Timeout, opened
from memvid_core.cli.output import in_one_line, note, printable, say, show, write_json
from memvid_core.cli.places import given_path

if TYPE_CHECKING:
    from memvid_core.memvid_v1 import MemvidChat

__all__ = ["register"]

_EXAMPLE = '`memvid chat notes.mp4 "How do wings lift?" --provider ollama --model llama3.2`'
_COMMANDS = "/clear starts over; /sources shows the passages; /quit or Ctrl-D ends"


def register(app: typer.Typer) -> None:
    """Add this command to a program."""
    app.command("chat", rich_help_panel="Search", epilog=_EXAMPLE)(chat)


def chat(
    memory_path: MemoryPath,
    question: Annotated[
        str | None,
        typer.Argument(metavar="QUESTION", show_default=False, help="One question. Without it, a conversation starts."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(
            "--provider",
            "-p",
            envvar="MEMVID_PROVIDER",
            show_default=False,
            help="google, openai, anthropic, ollama or vllm. Without it, the passages are shown.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", envvar="MEMVID_MODEL", show_default=False, help="The model's name at the provider."
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", show_default=False, help="Another server with the same API."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            envvar="MEMVID_API_KEY",
            show_default=False,
            help="Prefer the environment: OPENAI_API_KEY, GOOGLE_API_KEY, ANTHROPIC_API_KEY.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many passages the model gets.")] = 5,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", show_default=False, help="The system prompt.")
    ] = None,
    session: Annotated[
        Path | None,
        typer.Option("--session", metavar="FILE", show_default=False, help="Continue a saved conversation."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", show_default=False, help="Save the conversation as JSON."),
    ] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Show the answer while it is generated.")] = True,
    embedder: EmbedderName = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Ask a memory: a language model answers from the records found and cites file and frame.

    Without a provider, the passages themselves are shown. Providers are called through LangChain's packages. For any
    other server with OpenAI's API, use `--provider openai --base-url URL`.
    """
    from memvid_core.memvid_v1 import MemvidChat
    from memvid_core.memvid_v1.models import find_api_key

    if provider is None and (model or base_url or api_key):
        raise typer.BadParameter("give a --provider with the model", param_hint="--provider")
    if question is not None and not question.strip():
        raise typer.BadParameter("the question is empty", param_hint="QUESTION")
    if as_json and question is None:
        raise typer.BadParameter("--json needs a question on the command line", param_hint="--json")
    with opened(memory_path, embedder=embedder, timeout=timeout):  # reports errors in the words of the shell
        pass
    if provider is not None and not (api_key or base_url or find_api_key(provider)):
        from memvid_core.memvid_v1.models import PROVIDERS

        variable = PROVIDERS[provider.lower()].variables[0]
        raise typer.BadParameter(f"{provider} needs a key: set {variable}", param_hint="--provider")
    talk = MemvidChat(
        given_path(memory_path),
        None,
        provider,
        model,
        api_key,
        llm_base_url=base_url,
        embedding_model=embedder,
        context_chunks=k,
        timeout=timeout,
    )
    with talk:
        if session is not None:
            talk.load_session(session)
            if system:
                talk.system_prompt = system
        else:
            talk.start_session(system)
        try:
            if question is None:
                _converse(talk, stream)
            else:
                _once(talk, question, stream, as_json)
        finally:
            if export is not None and talk.conversation_history:
                talk.export_conversation(export)
        if question is not None and not talk.sources:
            raise typer.Exit(NOTHING)


def _once(talk: MemvidChat, question: str, stream: bool, as_json: bool) -> None:
    if not as_json:
        _answer(talk, question, stream)
        return
    answer = talk.chat(question)
    stats = talk.get_stats()
    result: dict[str, Any] = {"memory": talk.retriever.video_file, "question": question, "answer": answer}
    result |= {"provider": stats["llm_provider"], "model": stats["llm_model"], "sources": talk.sources}
    write_json(result)


def _answer(talk: MemvidChat, question: str, stream: bool) -> None:
    if talk.llm_client is None:
        say(talk.chat(question))
        return
    if stream:
        for piece in talk.stream(question):
            sys.stdout.write(printable(piece))
            sys.stdout.flush()
        sys.stdout.write("\n")
    else:
        say(talk.chat(question))
    _show_sources(talk)


def _show_sources(talk: MemvidChat) -> None:
    from rich.text import Text

    from memvid_core.memvid_v1.sources import citation

    if talk.sources:
        show(Text())
    for source in talk.sources:
        show(Text(in_one_line(f"[{source['number']}] {citation(source)}"), style="dim"))


def _converse(talk: MemvidChat, stream: bool) -> None:
    from memvid_core import MemvidError

    at_terminal = sys.stdin.isatty()
    if at_terminal:
        note(_COMMANDS)
    while True:
        try:
            asked = input("> ") if at_terminal else sys.stdin.readline()
        except EOFError:
            break
        if not at_terminal and not asked:
            break
        asked = asked.strip()
        if asked in ("/quit", "/exit"):
            break
        if asked == "/clear":
            talk.clear_history()
        elif asked == "/sources":
            for source in talk.sources:
                say(f"[{source['number']}] {source['text']}")
        elif asked:
            try:
                _answer(talk, asked, stream)
            except MemvidError as exc:
                if not at_terminal:
                    raise
                note(f"error: {exc}", style="bold red")  # the conversation is unchanged: the user can ask again
