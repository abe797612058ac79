"""Write the golden memory of an agent: ``python -m tests.core.golden.agent``. Only if what is stored changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memvid_core import Memory
from memvid_core.agent import SyncMemoryService

PATH = Path(__file__).with_name("agent-1.mp4")
ADA: dict[str, Any] = {"user_id": "ada"}
BOB: dict[str, Any] = {"user_id": "bob"}


def main() -> None:
    """Write turns, items, a corrected one, a category, and another user's."""
    with Memory.create(PATH) as memory:
        service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
        service.add([{"role": "user", "content": "I live in Berlin.", "created_at": "2026-01-05"}], **ADA)
        service.add([{"role": "user", "content": "I moved to Lisbon.", "created_at": "2026-03-05"}], **ADA)
        service.add([("user", "파티는 여섯 시에 시작해요."), ("assistant", "기억할게요.")], session_id="monday", **ADA)
        service.create_memory_item(memory_content="Ada likes figs.", memory_categories=["food"], user=ADA)
        service.add([("user", "I live in Rome.")], **BOB)


if __name__ == "__main__":
    main()
