"""Builds whose shards other processes write: one process begins and commits, any number of others write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from memvid_core.library.building import Built, Given, ShardBuilder, claimed, combined
from memvid_core.library.manifest import Description
from memvid_core.library.remote import objects_at
from memvid_core.library.reports import BuildReport
from memvid_core.library.state import Change
from memvid_core.library.writing import LibraryWriting
from memvid_core.model import Embedder, Index, is_fittable

__all__ = ["Built", "Job", "SharedBuild", "shared_build"]


@dataclass(frozen=True)
class Job:
    """What another process needs to write shards. It can be pickled if the embedder can.

    Attributes:
        library: The path or the URL of the library.
        options: The options of its file system.
        description: Its description.
        claim: The first half of the names of the shards.
        embedder: The embedder, in the state of the library's model; None if vectors are given.
        index: How vectors will be searched.
    """

    library: str
    options: Mapping[str, Any]
    description: Description
    claim: str
    embedder: Embedder | None
    index: Index = "auto"

    def write(self, records: Iterable[Given], rows_per_shard: int) -> Built:
        """Write records to sealed shards, which nothing names until :meth:`SharedBuild.commit`.

        A job that is killed leaves files that no version names; it can be done again, by any process.

        Raises:
            InvalidInputError: A record is invalid.
        """
        objects = objects_at(self.library, self.options)
        given = self.description, self.claim, self.embedder, rows_per_shard
        return ShardBuilder(objects, *given, index=self.index).build(records)

    def discard(self, built: Built) -> None:
        """Delete shards that will not be committed."""
        built.discard(objects_at(self.library, self.options))


class SharedBuild:
    """A build whose shards are written elsewhere.

    Args:
        library: The library.
        claim: The first half of the names of the shards.
    """

    def __init__(self, library: LibraryWriting, claim: str) -> None:
        self._library, self._claim = library, claim
        self._state = library._writable()
        self._embedder = self._state.vectors.embedder

    @property
    def unfitted(self) -> bool:
        """Whether the embedder learns, and this build is the one in which it does."""
        embedder = self._embedder
        return not self._state.manifest.shards and is_fittable(embedder) and not embedder.fitted

    def fit(self, texts: Sequence[str]) -> None:
        """Fit the embedder to a sample of texts, before the first job."""
        assert is_fittable(self._embedder)
        fitted = self._embedder.clone()
        fitted.fit(texts)
        if fitted.fitted:
            self._embedder = fitted

    def job(self) -> Job:
        """Return what other processes need."""
        place = self._library._place
        given = place.description, self._claim, self._embedder, place.index
        return Job(place.objects.name, place.objects.options, *given)

    def commit(self, parts: Iterable[Built], *, generated: bool = False) -> BuildReport:
        """Commit the shards of all jobs as one version, in this order.

        Args:
            parts: What the jobs have returned, each once.
            generated: Whether all ids are new, so that no record replaces another.
        """
        built = combined(parts)
        built.generated = generated
        manifest = self._state.manifest
        return self._library._commit(Change("build", built, self._embedder, manifest.model, manifest.vacuum))


@contextmanager
def shared_build(library: LibraryWriting) -> Iterator[SharedBuild]:
    """Yield a build; no vacuum deletes its files during the block."""
    with claimed(library._place.objects) as claim:
        yield SharedBuild(library, claim)
