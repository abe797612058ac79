"""Writes the golden file of the current format: ``python -m tests.core.golden``. Only for a new format version."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from memvid_core import Memory
from memvid_core.journal.frames import FORMAT_VERSION
from tests.core.embedders import embed
from tests.core.golden.content import MANY, PICTURED, RECORDS, REPLACED

path = Path(__file__).with_name(f"format-{FORMAT_VERSION}.mp4")
image = io.BytesIO()
Image.linear_gradient("L").rotate(30).save(image, "PNG")
options = {"columns": 8, "rows": 8}
with Memory.create(path, embed, codec_options=options, description="golden", film=True) as memory:
    for record_id, text, metadata in RECORDS:
        memory.add(text, metadata, record_id, pictures=image.getvalue() if record_id in PICTURED else None)
    memory.delete("gone")
    memory.add(*REPLACED[1:], REPLACED[0])
    memory.add([text for _, text, _ in MANY], [metadata for _, _, metadata in MANY], [name for name, _, _ in MANY])
