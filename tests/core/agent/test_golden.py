"""What an earlier version remembered is recalled, corrected and forgotten."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from memvid_core import Memory
from memvid_core.agent import SyncMemoryService
from tests.core.golden.agent import ADA, BOB, PATH


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SyncMemoryService]:
    path = tmp_path / "agent.mp4"
    shutil.copy(PATH, path)
    with Memory.open(path, "a") as memory:
        yield SyncMemoryService(memory, memorize_config={"extract": "rules"})


def test_it_is_recalled(service: SyncMemoryService) -> None:
    assert [item.summary for item in service.list_memory_items(ADA)] == ["I moved to Lisbon.", "Ada likes figs."]
    assert [item.summary for item in service.list_memory_items(BOB)] == ["I live in Rome."]
    assert [category.name for category in service.list_memory_categories(ADA)] == ["personal_info", "food"]
    moved = service.list_memory_items(ADA)[0]
    assert [version.summary for version in service.history(moved.id, **ADA)] == ["I live in Berlin.", moved.summary]
    assert "I moved to Lisbon. (until 2026-03-05: I live in Berlin.)" in service.recall("Where do I live?", **ADA).text
    assert service.recall("파티는 언제 시작하나요?", **ADA).ranked[0].text == "파티는 여섯 시에 시작해요."
    assert "Rome" in service.recall("Where do I live?", **BOB).text


def test_it_is_corrected_and_forgotten(service: SyncMemoryService) -> None:
    service.add([{"role": "user", "content": "I moved to Seoul.", "created_at": "2026-05-05"}], **ADA)
    assert "I moved to Seoul." in [item.summary for item in service.list_memory_items(ADA)]
    service.forget(**ADA)
    assert service.list_memory_items(ADA) == []
    assert service.recall("Where do I live?", **ADA).hits == []
    assert [item.summary for item in service.list_memory_items(BOB)] == ["I live in Rome."]


def test_the_file_is_the_one_that_was_released() -> None:
    assert hashlib.sha256(PATH.read_bytes()).hexdigest()[:16] == "40ecc69901dd6826"
