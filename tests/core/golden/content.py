"""What the golden files hold."""

from __future__ import annotations

from typing import Any

RECORDS: list[tuple[str, str, dict[str, Any]]] = [
    ("plain", "A text of the first version.", {}),
    ("한국어", "서울의 봄은 짧다. 🎞️", {"쪽": 3, "tags": ["a", None, 1.5, True]}),
    ("long", "0123456789abcdef" * 3000, {"nested": {"deep": [{"x": 1}]}}),
    ("gone", "This one is deleted.", {}),
    ("changed", "Before.", {"version": 1}),
]
PICTURED = ("plain", "long")
"""The records with a picture, in files of format 2 and later."""
REPLACED: tuple[str, str, dict[str, Any]] = ("changed", "After.", {"version": 2})
MANY: list[tuple[str, str, dict[str, Any]]] = [(f"many-{i}", f"Text {i} of many.", {"i": i}) for i in range(24)]
"""Records that were added at once, at the end of files of format 3 and later: their vectors need little padding."""
