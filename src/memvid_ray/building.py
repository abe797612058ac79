"""Building a library with Ray: stateless tasks write shards, and the driver commits them as one version."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memvid_core import (
    Index,
    InvalidInputError,
    Library,
    MemoryExistsError,
    MemvidWarning,
    NotAMemoryError,
    StorageError,
)
from memvid_core.library import BuildReport
from memvid_core.library.jobs import Built, Job, SharedBuild, shared_build
from memvid_ray.cluster import cause_of, connected
from memvid_ray.columns import Columns

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["build", "build_files"]

_RETRIES: Final = 100  # of a task whose worker died; an error of the task itself is not tried again


class Piece(NamedTuple):
    """Some rows of a block: the reference to the block, the first row, and the row after the last one."""

    block: Any
    first: int
    last: int


def build(
    dataset: Dataset,
    path: str | os.PathLike[str],
    *,
    text: str = "text",
    vector: str | None = None,
    id: str | None = "id",
    metadata: Sequence[str] = (),
    embedder: object = None,
    rows_per_shard: int = 2_000_000,
    sample: int = 20_000,
    partition_by: Sequence[str] = (),
    index: Index = "auto",
    num_cpus: float = 1.0,
    storage_options: Mapping[str, Any] | None = None,
) -> BuildReport:
    """Build a library from a dataset of Ray Data, and commit it as one version.

    Each shard is written by a task, which another worker does again if the first one dies. What a dead worker has left
    counts for nothing, and :meth:`memvid_core.Library.vacuum` deletes it. If the driver dies, nothing was committed.

    Args:
        dataset: The dataset. The order of its rows is the order of the records.
        path: The folder of the library, which all machines see, or its URL; it is created if it does not exist.
        text: The column of the texts.
        vector: The column of the vectors; by default the embedder makes them.
        id: The column of the ids, which are strings or whole numbers; None creates new ones.
        metadata: The columns that become metadata, where they are not null.
        embedder: As in :meth:`memvid_core.Library.create`; it is sent to the workers.
        rows_per_shard: The number of records of each shard but the last one.
        sample: The number of records to which the built-in embedder is fitted in the first build: the first ones, and
            of a materialized dataset an even sample.
        partition_by: As in :meth:`memvid_core.Library.create`, for a library that is created.
        index: How vectors will be searched, as in :meth:`memvid_core.Library.open`: of an inverted file, the tasks make
            the lists, too. A library in an object store has no indexes: each reader makes its own.
        num_cpus: The number of CPUs that each task takes; with more than any machine has, tasks wait for one that does.
        storage_options: For a URL, options of its file system.

    Raises:
        InvalidInputError: An argument or a record is invalid; nothing is committed.
        CommitConflictError: As in :meth:`memvid_core.Library.build`.
    """
    connected()
    from ray.data.dataset import MaterializedDataset

    for name, number in (("rows_per_shard", rows_per_shard), ("sample", sample)):
        if not (type(number) is int and number > 0):
            raise InvalidInputError(f"{name} is a positive number, not {number!r}")
    _check_cpus(num_cpus)
    if not hasattr(dataset, "iter_internal_ref_bundles"):
        raise InvalidInputError(f"a dataset of ray.data is built from, not a value of type {type(dataset).__name__}")
    columns = Columns(text, vector, id, (metadata,) if isinstance(metadata, str) else tuple(metadata))
    given = "given" if vector is not None and embedder is None else embedder
    with _opened(path, given, partition_by, index, storage_options) as library, shared_build(library) as shared:
        pieces = _in_order(dataset)
        if shared.unfitted:
            pieces = _fitted(shared, columns, pieces, sample, whole=isinstance(dataset, MaterializedDataset))
        parts = _written(shared.job(), columns, _shards(pieces, rows_per_shard), num_cpus)
        return shared.commit(parts, generated=id is None)


def build_files(
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    address: str | None = None,
    embedder: object = None,
    rows_per_shard: int = 2_000_000,
    sample: int = 20_000,
    partition_by: Sequence[str] = (),
    index: Index = "auto",
    num_cpus: float = 1.0,
    storage_options: Mapping[str, Any] | None = None,
) -> BuildReport:
    """Build a library from files, which Ray's workers read and split into chunks; see :func:`build`.

    The id of a record is the path of its file and the number of its chunk, so building again replaces it.

    Args:
        paths: Files and folders, which all machines see; see :func:`memvid_core.ingest.discover`.
        path: As in :func:`build`, like the other arguments.
        address: The address of a cluster of Ray; by default a local Ray is started, unless the program is connected.
        embedder: The embedder.
        rows_per_shard: The number of records of a shard.
        sample: The number of records to fit the embedder to.
        partition_by: Metadata fields, such as ``"source"``.
        index: How vectors will be searched.
        num_cpus: The number of CPUs of a task.
        storage_options: Options of the file system.

    Raises:
        IngestError: A file cannot be read; nothing is committed.
        InvalidInputError: There are no files.
    """
    connected(address)
    import ray.data

    from memvid_core.ingest import discover

    files = [os.fspath(file) for file in discover(paths)]
    if not files:
        raise InvalidInputError("there are no files to read in the given paths")
    items = [{"number": number, "path": os.path.abspath(file), "source": file} for number, file in enumerate(files)]
    dataset = ray.data.from_items(items, override_num_blocks=min(len(items), 1_000)).flat_map(_chunks)
    dataset.context.raise_original_map_exception = True
    fields: dict[str, Any] = {"embedder": embedder, "rows_per_shard": rows_per_shard, "sample": sample}
    fields |= {"partition_by": partition_by, "index": index, "num_cpus": num_cpus, "storage_options": storage_options}
    return build(dataset, path, metadata=_FIELDS, **fields)


_FIELDS: Final = ("source", "chunk", "start", "heading", "page", "sheet", "row", "language")


def _chunks(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the chunks of a file as rows."""
    from memvid_core.ingest import load_chunks  # which other workers do without

    source = row["source"].replace(os.sep, "/")
    found = []
    for number, chunk in enumerate(load_chunks(row["path"])):
        fields = {name: chunk.metadata.get(name) for name in _FIELDS}
        found.append({"id": f"{source}#{number}", "text": chunk.text, **fields, "source": source})
    return found


@contextmanager
def _opened(
    path: str | os.PathLike[str],
    embedder: object,
    partition_by: Sequence[str],
    index: Index,
    options: Mapping[str, Any] | None,
) -> Iterator[Library]:
    """Open a library, or create it."""
    given: dict[str, Any] = {"index": index, "storage_options": options}
    try:
        library = Library.open(path, embedder=embedder, **given)
    except NotAMemoryError:
        try:
            library = Library.create(path, embedder, partition_by=partition_by, **given)
        except MemoryExistsError:  # another process was faster
            library = Library.open(path, embedder=embedder, **given)
    with library:
        yield library


def _in_order(dataset: Any) -> Iterator[Piece]:
    """Yield the blocks of a dataset in order, as they are made."""
    options = dataset.context.execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        for bundle in dataset.iter_internal_ref_bundles():
            for entry, part in zip(bundle.blocks, bundle.slices, strict=True):
                if part is None:
                    yield Piece(entry.ref, 0, entry.metadata.num_rows)
                else:
                    yield Piece(entry.ref, part.start_offset, part.end_offset)
    except Exception as exc:
        raise cause_of(exc) from None
    finally:
        options.preserve_order = before


def _fitted(
    shared: SharedBuild, columns: Columns, pieces: Iterator[Piece], sample: int, *, whole: bool
) -> Iterator[Piece]:
    """Fit the embedder to a sample of the rows; return all pieces."""
    head: list[Piece] = []
    rows = 0
    for piece in pieces:
        head.append(piece)
        rows += piece.last - piece.first
        if rows >= sample and not whole:
            break
    step = max(1, -(-rows // sample)) if whole else 1
    texts: list[str] = []
    start = 0
    for piece in head:
        places = range(piece.first + -start % step, piece.last, step)
        texts += _result(_task(_texts, 1.0).remote(columns, [piece.block], places)) if len(places) else []
        start += piece.last - piece.first
    shared.fit(texts[:sample])
    return chain(head, pieces)


def _shards(pieces: Iterable[Piece], rows: int) -> Iterator[list[Piece]]:
    """Yield the pieces of each shard."""
    shard: list[Piece] = []
    left = rows
    for piece in pieces:
        first = piece.first
        while piece.last - first >= left:
            yield [*shard, Piece(piece.block, first, first + left)]
            first, shard, left = first + left, [], rows
        if piece.last > first:
            shard.append(Piece(piece.block, first, piece.last))
            left -= piece.last - first
    if shard:
        yield shard


def _written(job: Job, columns: Columns, shards: Iterable[list[Piece]], num_cpus: float) -> list[Built]:
    """Write shards in tasks, a few more at a time than there are CPUs; return what they have built, in order."""
    import ray

    task = _task(_write, num_cpus)
    try:
        sent = ray.put(job)
    except TypeError as exc:
        kind = type(job.embedder).__name__
        raise InvalidInputError(f"the embedder cannot be sent to workers, since {kind} cannot be pickled") from exc
    tasks: list[Any] = []
    try:
        for shard in shards:
            most = 2 + int(2 * ray.cluster_resources().get("CPU", 1) / max(num_cpus, 0.01))
            _, waiting = ray.wait(tasks, num_returns=len(tasks), timeout=0) if tasks else ([], [])
            if len(waiting) >= most:
                ray.wait(waiting, num_returns=1)
            tasks.append(task.remote(sent, columns, shard))
        return [_result(reference) for reference in tasks]
    except BaseException:
        _discarded(job, tasks)
        raise


def _discarded(job: Job, tasks: list[Any]) -> None:
    """End tasks, and delete what those that are done have written; what others leave, a vacuum deletes."""
    import ray

    done, left = ray.wait(tasks, num_returns=len(tasks), timeout=0) if tasks else ([], [])
    for reference in left:
        ray.cancel(reference)
    for reference in done:
        with suppress(Exception):  # the task has failed
            job.discard(ray.get(reference))


def _check_cpus(num_cpus: object) -> None:
    """Check the number of CPUs of a task, and warn if no machine has so many: the tasks would wait for one."""
    import ray

    if isinstance(num_cpus, bool) or not isinstance(num_cpus, int | float) or not 0 <= num_cpus < float("inf"):
        raise InvalidInputError(f"num_cpus is a number of CPUs, not {num_cpus!r}")
    most = max((node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
    if num_cpus > most:
        text = f"a task takes num_cpus={num_cpus}, and no machine of this Ray has more than {most:g}; it waits for one"
        warnings.warn(text, MemvidWarning, stacklevel=3)


def _task(function: Any, num_cpus: float) -> Any:
    import ray

    return ray.remote(function).options(num_cpus=num_cpus, max_retries=_RETRIES)


def _result(reference: Any) -> Any:
    """Return the result of a task, or raise its error."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as exc:
        raise cause_of(exc) from None
    except ray.exceptions.RayError as exc:  # such as a worker that died again and again
        raise StorageError(f"a task of Ray has failed, and nothing was committed: {exc}") from exc


def _write(job: Job, columns: Columns, shard: list[Piece]) -> Built:
    """Write one shard."""
    import ray

    records = chain.from_iterable(columns.records(ray.get(block), first, last) for block, first, last in shard)
    return job.write(records, sum(last - first for _, first, last in shard))


def _texts(columns: Columns, block: list[Any], places: range) -> list[str]:
    """Return some texts of a block."""
    import ray

    return columns.texts(ray.get(block[0]), places)
