"""What a memory logs, and what it records for programs that use OpenTelemetry."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from memvid_core import DamageWarning, Memory, TornTailWarning
from tests.core.embedders import embed
from tests.processes import run

SECRET = "a text that nobody may see"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "memvid_core")
    return caplog


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str]]:
    return [
        (vars(record)["event"], record.levelno, record.getMessage())
        for record in caplog.records
        if record.name == "memvid_core"
    ]


def test_opening_building_rebuilding_and_compacting_are_logged(
    tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add([SECRET, "kept"], ids=["secret-id", "b"])
        memory.delete("secret-id")
        saved = memory.compact()
    assert events(logged) == [
        ("open", logging.INFO, f"opened {path} for writing: 0 records, commit 0"),
        ("compact", logging.INFO, f"compacted {path}: {saved} bytes saved, 1 records"),
        ("close", logging.DEBUG, f"closed {path}"),
    ]
    logged.clear()
    shutil.rmtree(f"{path}.index")
    with Memory.open(path, embedder=embed) as memory:
        assert len(memory) == 1
    (event, level, message), opened, _closed = events(logged)
    assert (event, level) == ("index", logging.INFO)
    assert message.startswith(f"built the index of {path}: commits to 2, in ")
    assert opened[2] == f"opened {path} for reading: 1 records, commit 2"
    logged.clear()
    for catalog in Path(f"{path}.index").rglob("catalog.sqlite"):
        catalog.write_bytes(b"no database" * 1000)
    with Memory.open(path, embedder=embed) as memory:
        assert len(memory) == 1
    assert [event for event, _, _ in events(logged)] == ["index", "open", "close"]


def test_damage_and_an_unfinished_write_are_logged_beside_the_warnings(
    tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add(SECRET, ids="secret-id")
        first = path.stat().st_size
        memory.add("another")
        second = path.stat().st_size
        memory.add("cut")
    whole = bytearray(path.read_bytes())
    middle = (first + second) // 2
    whole[middle : middle + 2000] = bytes(2000)
    path.write_bytes(whole[:-100])
    shutil.rmtree(f"{path}.index")
    logged.clear()
    with pytest.warns(DamageWarning), pytest.warns(TornTailWarning):
        Memory.open(path, embedder=embed).close()
    found = {event: (level, message) for event, level, message in events(logged)}
    assert found["damage"][0] == found["torn"][0] == logging.WARNING
    assert found["damage"][1].startswith(f"{path} is damaged: ")
    assert "of an unfinished write" in found["torn"][1]
    assert SECRET not in logged.text
    assert "secret-id" not in logged.text


def test_a_wait_for_the_lock_is_logged(
    tmp_path: Path, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add("at once")
        assert [event for event, _, _ in events(logged)] == ["open"]
        monkeypatch.setattr("memvid_core.engine.write_turn.LONG_WAIT", 0.0)  # seconds; any wait is one
        memory.add("after a wait")
    assert ("lock", logging.INFO, f"waited 0.0 s for the lock of {path}") in events(logged)


def test_a_program_that_does_not_ask_for_messages_sees_none(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    ended = run(
        "import sys\n"
        "from memvid_core import Memory\n"
        "with Memory.create(sys.argv[1]) as memory: memory.add('text'); memory.search('text'); memory.compact()\n"
        "sys.exit('opentelemetry.trace' in sys.modules)\n",
        path,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


RECORDED = """
import asyncio, json, sys
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from memvid_core import FilterError, Memory

with Memory.create(sys.argv[1]) as memory:
    memory.add(["before the program chose a provider"])
    memory.search("before")
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([reader]))
    with trace.get_tracer("program").start_as_current_span("request"):
        memory.add(["the secret wing", "the secret engine"], ids=["secret-a", "b"])
        memory.search("secret wing", k=2)
        asyncio.run(memory.asearch("secret wing", k=1))
    memory.search_many(["wing", "engine", "secret"], k=1)
    memory.delete("b")
    try:
        memory.search("secret", where={"n": {"$secret": 1}})
    except FilterError:
        pass
    ended = spans.get_finished_spans()
    names = {span.context.span_id: span.name for span in ended}
    print(json.dumps({
        "spans": [
            [span.name, names.get(span.parent.span_id) if span.parent else None, dict(span.attributes),
             span.status.status_code.name, len(span.events)]
            for span in ended
        ],
        "metrics": {
            metric.name: [[dict(point.attributes), getattr(point, "value", None) or point.count]
                          for point in metric.data.data_points]
            for each in reader.get_metrics_data().resource_metrics
            for scope in each.scope_metrics
            for metric in scope.metrics
        },
    }))
"""


def test_searches_and_commits_are_spans_and_counted_for_a_program_that_uses_opentelemetry(tmp_path: Path) -> None:
    ended = run(RECORDED, tmp_path / "notes.mp4")
    assert ended.stderr == ""
    seen = json.loads(ended.stdout)
    search = {"db.system.name": "memvid", "db.operation.name": "search"}
    commit = {"db.system.name": "memvid", "db.operation.name": "commit"}
    where = {"db.namespace": "notes.mp4"}
    assert seen["spans"] == [
        ["commit notes.mp4", "request", {**commit, **where, "memvid.records": 2}, "UNSET", 0],
        ["search notes.mp4", "request", {**search, **where, "db.response.returned_rows": 2}, "UNSET", 0],
        ["search notes.mp4", "request", {**search, **where, "db.response.returned_rows": 1}, "UNSET", 0],
        ["request", None, {}, "UNSET", 0],
        [
            "search notes.mp4",
            None,
            {**search, **where, "db.response.returned_rows": 3, "db.operation.batch.size": 3},
            "UNSET",
            0,
        ],
        ["commit notes.mp4", None, {**commit, **where, "memvid.records": 0}, "UNSET", 0],
        ["search notes.mp4", None, {**search, **where, "error.type": "FilterError"}, "ERROR", 0],
    ]
    assert seen["metrics"] == {
        "memvid.searches": [[{}, 5]],
        "memvid.hits": [[{}, 6]],
        "memvid.commits": [[{}, 2]],
        "db.client.operation.duration": [[commit, 2], [search, 3], [{**search, "error.type": "FilterError"}, 1]],
    }
    assert "secret" not in ended.stdout


def test_an_interface_that_is_only_imported_costs_nothing(tmp_path: Path) -> None:
    ended = run(
        "import sys\n"
        "from opentelemetry import metrics, trace\n"
        "from memvid_core import Memory\n"
        "def refuse(*arguments, **options): raise AssertionError\n"
        "trace.get_tracer = metrics.get_meter = refuse\n"
        "with Memory.create(sys.argv[1]) as memory: memory.add('text'); memory.search('text')\n",
        tmp_path / "m.mp4",
    )
    assert (ended.returncode, ended.stderr) == (0, "")
