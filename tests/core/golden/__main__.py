"""Writes the golden file of the current format: ``python -m tests.core.golden``. Only for a new format version."""

from __future__ import annotations

from pathlib import Path

from memvid_core import Memory
from memvid_core.journal.frames import FORMAT_VERSION
from tests.core.embedders import embed
from tests.core.golden.content import RECORDS, REPLACED

path = Path(__file__).with_name(f"format-{FORMAT_VERSION}.mp4")
with Memory.create(path, embed, codec_options={"columns": 4, "rows": 4}, description="golden") as memory:
    for record_id, text, metadata in RECORDS:
        memory.add(text, metadata, record_id)
    memory.delete("gone")
    memory.add(*REPLACED[1:], REPLACED[0])
