"""The records that Ray builds from; the driver that is killed imports this, and no server."""

from __future__ import annotations

from typing import Any

from tests.core.library.libraries import records

SOME = records(60)
FIELDS = ["topic", "year", "at", "n"]


def rows() -> list[dict[str, Any]]:
    """The records as rows of a dataset."""
    return [{"id": record.id, "text": record.text, **record.metadata} for record in SOME]
