"""``memvid merge``: one memory of several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memvid_core.cli.creating import new_memory
from memvid_core.cli.failures import NOTHING
from memvid_core.cli.options import WAIT, AsJson, EmbedderName, Timeout, WithPlaces, opened
from memvid_core.cli.output import count, files_progress, megabytes, note, say, write_json

if TYPE_CHECKING:
    from memvid_core import Memory, Record

__all__ = ["register"]

_RECORDS_A_COMMIT = 4096


def register(app: typer.Typer) -> None:
    """Add this command to a program."""
    app.command("merge", cls=WithPlaces, rich_help_panel="Share", epilog="`memvid merge a.mp4 b.mp4 -o all.mp4`")(merge)


def merge(
    memories: Annotated[list[Path], typer.Argument(metavar="MEMORIES", show_default=False, help="Memories to merge.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MEMORY", show_default=False, help="The memory to create.")
    ],
    same_id: Annotated[
        Literal["rename", "first", "last"],
        typer.Option("--same-id", help="Of different records with one id: keep both, the second renamed, or only one."),
    ] = "rename",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace an existing memory.")] = False,
    embedder: EmbedderName = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Write the records of several memories into a new one.

    Equal records are written once. Of a file that was read into several memories, the newest reading counts. Vectors
    are copied if all memories have the same embedder and metric; otherwise they are computed again.
    """
    with ExitStack() as stack:
        opened_ones = [stack.enter_context(opened(path, embedder=embedder)) for path in memories]
        infos = [memory.info() for memory in opened_ones]
        alike = len({(info.embedder, info.dimension, info.metric) for info in infos}) == 1
        copied = alike and infos[0].vector_dtype != "none" and opened_ones[0].embedder is not None
        settings: dict[str, Any] = {"embedder": embedder, "metric": infos[0].metric}
        if copied:
            settings |= {"embedder": opened_ones[0].embedder, "vector_dtype": infos[0].vector_dtype}
        merged = _Merge(same_id, copied, _newest(opened_ones))
        with (
            new_memory(output, force=force, whole=True, timeout=timeout, **settings) as target,
            files_progress("Merging", "records") as update,
        ):
            total, done = sum(info.records for info in infos), 0
            for number, (path, memory) in enumerate(zip(memories, opened_ones, strict=True)):
                for batch in _batches(memory):
                    merged.add(target, memory, merged.current(number, batch))
                    done += len(batch)
                    update(done, total, str(path))
            info = target.info()
    if not info.records:
        note(f"no records: {output} was not created")
        raise typer.Exit(NOTHING)
    if as_json:
        counts = {"equal": merged.equal, "renamed": merged.renamed, "replaced": merged.replaced}
        counts |= {"older": merged.older}
        sizes = {"records": info.records, "bytes": info.bytes}
        write_json({"memory": str(output), **sizes, **counts, "vectors_copied": copied})
        return
    parts = [f"{number:,} {word}" for number, word in (
        (merged.equal, "equal"), (merged.renamed, "renamed"), (merged.replaced, "replaced"),
        (merged.older, "older")) if number]  # fmt: skip
    shown = f" ({', '.join(parts)})" if parts else ""
    what = f"{count(info.records, 'record')} of {count(len(memories), 'memory')}"
    say(f"{output}: {what}{shown}; {megabytes(info.bytes)}")
    if not copied:
        note("the vectors were computed again: the memories have different embedders, or their embedder is not here")


def _batches(memory: Memory) -> Iterator[list[Record]]:
    records = iter(memory)
    while batch := list(islice(records, _RECORDS_A_COMMIT)):
        yield batch


def _newest(memories: list[Memory]) -> dict[str, int]:
    """Return the number of the memory that read a file last, for each file that several were synchronized with."""
    from memvid_core.ingest.ownership import known_files

    read: dict[str, list[tuple[bool, str, int]]] = {}
    for number, memory in enumerate(memories):
        for file in known_files(memory):
            if file.token:
                read.setdefault(file.token, []).append((bool(file.digest), file.at, -number))
    return {token: -max(times)[2] for token, times in read.items() if len(times) > 1}


class _Merge:
    """Add records to a memory, and count those whose ids it already has.

    Args:
        same_id: What is done with different records of one id.
        copied: Whether vectors are copied.
        newest: The number of the memory that has the newest records of a file, by its token.
    """

    def __init__(self, same_id: str, copied: bool, newest: dict[str, int]) -> None:
        self._same_id = same_id
        self._copied = copied
        self._newest = newest
        self.equal = self.renamed = self.replaced = self.older = 0

    def current(self, number: int, batch: list[Record]) -> list[Record]:
        """Return the records of a memory but those of files that another one has read later."""
        if not self._newest:
            return batch
        from memvid_core.ingest.ownership import file_of

        files = (file_of(record.id, record.text, record.metadata) for record in batch)
        kept = [
            record for record, file in zip(batch, files, strict=True) if self._newest.get(file or "", number) == number
        ]
        self.older += len(batch) - len(kept)
        return kept

    def add(self, target: Memory, source: Memory, batch: list[Record]) -> None:
        there = {record.id: record for record in target.get([record.id for record in batch])}
        chosen: list[tuple[str, Record]] = []
        taken = set(there)
        for record in batch:
            other = there.get(record.id)
            if other is not None and (other.text, other.metadata) == (record.text, record.metadata):
                self.equal += 1
            elif other is None:
                chosen.append((record.id, record))
            elif self._same_id == "rename":
                chosen.append((self._free(record.id, target, taken), record))
                self.renamed += 1
            else:
                self.replaced += 1
                if self._same_id == "last":
                    chosen.append((record.id, record))
        if not chosen:
            return
        vectors = None
        if self._copied:
            known = source.get_vectors([record.id for _, record in chosen])
            vectors = [known.get(record.id) for _, record in chosen]
        target.add(
            [record.text for _, record in chosen],
            [record.metadata for _, record in chosen],
            [record_id for record_id, _ in chosen],
            vectors=vectors,
        )

    def _free(self, record_id: str, target: Memory, taken: set[str]) -> str:
        number = 2
        while (candidate := f"{record_id}~{number}") in target or candidate in taken:
            number += 1
        taken.add(candidate)
        return candidate
