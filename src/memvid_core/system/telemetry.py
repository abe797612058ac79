"""Log messages under one logger, and spans and metrics for programs that use OpenTelemetry.

Neither contains texts, ids, filters or queries: a message says what happened to which file, a span how long it took.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram
    from opentelemetry.trace import Tracer

__all__ = ["log", "measured", "name_of"]

T = TypeVar("T")

_LOGGER: Final = logging.getLogger("memvid_core")
_LOGGER.addHandler(logging.NullHandler())
_USED: Final = ("opentelemetry.trace", "opentelemetry.metrics")
_UNSET: Final = ("ProxyTracerProvider", "_ProxyMeterProvider", "NoOpTracerProvider", "NoOpMeterProvider")
_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def log(level: int, event: str, message: str, *values: object) -> None:
    """Log a message under the logger ``memvid_core``.

    Args:
        level: The level, such as ``logging.INFO``.
        event: What happened, as one word that does not change: the attribute ``event`` of the log record.
        message: The message, with ``%s`` for each value.
        *values: The values.
    """
    _LOGGER.log(level, message, *values, extra={"event": event}, stacklevel=2)


def name_of(target: object) -> str:
    """Return the path of a file for messages, and ``":memory:"`` for a memory in RAM.

    Bytes of a name that are not UTF-8 are escaped, since a log in UTF-8 could not be written otherwise.
    """
    if not isinstance(target, str | PurePath):
        return ":memory:"
    return os.fsdecode(target).encode("utf-8", "backslashreplace").decode()


class _Instruments(NamedTuple):
    tracer: Tracer
    duration: Histogram
    searches: Counter
    hits: Counter
    commits: Counter


@cache
def _instruments() -> _Instruments:
    from opentelemetry import metrics, trace

    meter = metrics.get_meter("memvid_core")
    histogram = partial(meter.create_histogram, "db.client.operation.duration", "s", "Searches and commits.")
    try:
        duration = histogram(explicit_bucket_boundaries_advisory=_SECONDS)
    except TypeError:  # before opentelemetry-api 1.30
        duration = histogram()
    return _Instruments(
        trace.get_tracer("memvid_core"),
        duration,
        meter.create_counter("memvid.searches", "{search}", "Searches; those of one batch count each."),
        meter.create_counter("memvid.hits", "{hit}", "Hits that searches returned."),
        meter.create_counter("memvid.commits", "{commit}", "Commits made by this process."),
    )


def _wanted() -> bool:
    """Return whether the program has set up OpenTelemetry: some libraries import its interface and nothing more."""
    trace, metrics = map(sys.modules.get, _USED)
    if trace is None or metrics is None:
        return False
    providers = trace.get_tracer_provider(), metrics.get_meter_provider()
    return any(type(provider).__name__ not in _UNSET for provider in providers)


def measured(operation: str, target: object, work: Callable[[], T], rows: Callable[[T], int], batch: int = 1) -> T:
    """Do some work; in a program that uses OpenTelemetry, as a span, and counted.

    A program that has not set up OpenTelemetry records nothing, and if it has not imported it, nor do we.

    Args:
        operation: ``"search"`` or ``"commit"``.
        target: The memory: its path or address, of which the last part is recorded.
        work: The work.
        rows: Returns the number of hits or of new records, given the result.
        batch: The number of searches.

    Returns:
        The result of the work.

    Raises:
        Exception: What the work raised. The span has its type, and not its message, which may quote a query.
    """
    if not _wanted():
        return work()
    return _recorded(_instruments(), operation, target, work, rows, batch)


def _recorded(
    made: _Instruments, operation: str, target: object, work: Callable[[], T], rows: Callable[[T], int], batch: int
) -> T:
    from opentelemetry.trace import Status, StatusCode

    kind: dict[str, Any] = {"db.system.name": "memvid", "db.operation.name": operation}
    name = PurePath(name_of(target)).name
    began = time.perf_counter()
    with made.tracer.start_as_current_span(
        f"{operation} {name}",
        attributes={**kind, "db.namespace": name},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            result = work()
        except BaseException as exc:
            failed = {"error.type": type(exc).__qualname__}
            span.set_attributes(failed)
            span.set_status(Status(StatusCode.ERROR))
            made.duration.record(time.perf_counter() - began, {**kind, **failed})
            raise
        count = rows(result)
        span.set_attribute("db.response.returned_rows" if operation == "search" else "memvid.records", count)
        if batch != 1:
            span.set_attribute("db.operation.batch.size", batch)
    made.duration.record(time.perf_counter() - began, kind)
    if operation == "search":
        made.searches.add(batch)
        made.hits.add(count)
    else:
        made.commits.add(1)
    return result
