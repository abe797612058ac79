"""What the golden files hold."""

from __future__ import annotations

from pathlib import Path

from llama_index.core import Document
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock

FOLDER = Path(__file__).parent
DOCUMENTS = [
    Document(text="The wing lifts.", id_="wing", metadata={"page": 1, "tags": ["air"]}),
    Document(text="서울의 봄은 짧다.", id_="봄", metadata={"page": 2}),
]
MESSAGES = [
    ChatMessage("When does it close?"),
    ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_call_id="1", tool_name="hours", tool_kwargs={"day": 1})]),
    ChatMessage(role="tool", content="18", additional_kwargs={"tool_call_id": "1"}),
]
