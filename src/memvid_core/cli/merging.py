"""``memvid merge``: one memory of several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from memvid_core.cli.creating import new_memory
from memvid_core.cli.failures import NOTHING
from memvid_core.cli.options import WAIT, AsJson, EmbedderName, Timeout, WithPlaces, opened
from memvid_core.cli.output import count, files_progress, megabytes, note, say, write_json
from memvid_core.cli.tables import with_vectors

if TYPE_CHECKING:
    from memvid_core import Memory, Record
    from memvid_core.ingest.ownership import KnownFile

__all__ = ["register"]

_RECORDS_A_COMMIT = 4096
_NAMED_AT_MOST = 3


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

    Equal records are written once. Of a file that was read into several memories, the newest reading counts; if most
    files of a folder differ, it is taken for folders of different machines, and all readings are kept. Vectors are
    copied if all memories have the same embedder and metric; otherwise they are computed again.
    """
    with ExitStack() as stack:
        opened_ones = [stack.enter_context(opened(path, embedder=embedder)) for path in memories]
        infos = [memory.info() for memory in opened_ones]
        alike = len({(info.embedder, info.dimension, info.metric) for info in infos}) == 1
        copied = alike and infos[0].vector_dtype != "none" and opened_ones[0].embedder is not None
        settings: dict[str, Any] = {"embedder": embedder, "metric": infos[0].metric}
        if copied:
            settings |= {"embedder": opened_ones[0].embedder, "vector_dtype": infos[0].vector_dtype}
        chosen = _readings(opened_ones, last=same_id == "last")
        merged = _Merge(same_id, copied, chosen)
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
        note(f"no records: {output} was not {'replaced' if output.exists() else 'created'}")
    several = sorted(reading.source for reading in chosen.values() if len(reading.kept) > 1)
    if several:
        more = ", …" if len(several) > _NAMED_AT_MOST else ""
        note(
            f"{count(len(several), 'file')} of one path but of different folders, as on different machines; "
            f"all readings were merged: {', '.join(several[:_NAMED_AT_MOST])}{more}"
        )
    if as_json:
        counts = {"equal": merged.equal, "renamed": merged.renamed, "replaced": merged.replaced}
        counts |= {"older": merged.older}
        sizes = {"records": info.records, "bytes": info.bytes if info.records else 0}
        write_json({"memory": str(output), **sizes, **counts, "vectors_copied": copied})
    if not info.records:
        raise typer.Exit(NOTHING)
    if as_json:
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


class _Reading(NamedTuple):
    """Describe which readings of a file that several memories have are merged.

    Attributes:
        source: The name of the file.
        kept: The numbers of the memories whose records of it are merged.
        owner: The number of the one of them whose records a sync of the merged memory follows.
    """

    source: str
    kept: list[int]
    owner: int


def _readings(memories: list[Memory], *, last: bool) -> dict[str, _Reading]:
    """Return which readings are merged, by the token of each file that several memories were synchronized with.

    A token is a hash of a path, and folders of different machines have equal ones. As in a sync, a folder is the same
    if at least half of the files that both memories have are equal. Of the same file, the newest reading is kept.

    Args:
        memories: The memories.
        last: Whether later records replace earlier ones of the same id.
    """
    from memvid_core.ingest.ownership import known_files

    files: defaultdict[str, dict[int, KnownFile]] = defaultdict(dict)
    for number, memory in enumerate(memories):
        for file in known_files(memory):
            if file.token:
                files[file.token][number] = file
    shared: defaultdict[tuple[int, int, str, str], list[bool]] = defaultdict(list)
    for known in files.values():
        for left, right in combinations(known, 2):
            if known[left].digest and known[right].digest:
                shared[left, right, known[left].root, known[right].root].append(
                    known[left].digest == known[right].digest
                )

    def same(known: dict[int, KnownFile], left: int, right: int) -> bool:
        left, right = min(left, right), max(left, right)
        equal = shared[left, right, known[left].root, known[right].root]
        return known[left].digest == known[right].digest or sum(equal) * 2 >= len(equal)

    readings: dict[str, _Reading] = {}
    for token, known in files.items():
        kept: list[int] = []
        for number in sorted(known, key=lambda number: (known[number].digest != "", known[number].at), reverse=True):
            if not any(same(known, number, newer) for newer in kept):
                kept.append(number)
        if len(known) > 1:
            readings[token] = _Reading(known[kept[0]].source, kept, max(kept) if last else min(kept))
    return readings


class _Merge:
    """Add records to a memory, and count those whose ids it already has.

    Args:
        same_id: What is done with different records of one id.
        copied: Whether vectors are copied.
        readings: What is merged of a file that several memories have, by its token.
    """

    def __init__(self, same_id: str, copied: bool, readings: dict[str, _Reading]) -> None:
        self._same_id = same_id
        self._copied = copied
        self._readings = readings
        self.equal = self.renamed = self.replaced = self.older = 0

    def current(self, number: int, batch: list[Record]) -> list[Record]:
        """Return the records of a memory but those of files that another one has read later.

        Those of a file that are not its owner's lose their mark: no sync of the merged memory replaces them.
        """
        if not self._readings:
            return batch
        import msgspec

        from memvid_core.ingest.ownership import KEY, file_of

        kept: list[Record] = []
        for record in batch:
            reading = self._readings.get(file_of(record.id, record.text, record.metadata) or "")
            if reading is None or number == reading.owner:
                kept.append(record)
            elif number in reading.kept:
                # A record without an entry would be taken for one of an earlier version.
                entry = {**record.metadata[KEY], "key": ""}
                kept.append(msgspec.structs.replace(record, metadata={**record.metadata, KEY: entry}))
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
            known = {record.id: (record, vector) for record, vector in with_vectors(source, batch)}
            asked, chosen, vectors = chosen, [], []
            for name, record in asked:
                if record.id in known:  # otherwise it was deleted meanwhile
                    newest, vector = known[record.id]
                    # The vector of a text that was replaced meanwhile is the new text's.
                    chosen.append((name, record if newest.text == record.text else newest))
                    vectors.append(vector)
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
