"""Indexes with other tuning constants, so that few rows are searched as many are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memvid_core.vectors import settings


def tune(patch: pytest.MonkeyPatch, **constants: float) -> None:
    """Replace some of the settings of every index until the patch is undone."""
    patch.setattr(settings, "DEFAULTS", replace(settings.DEFAULTS, **constants))  # type: ignore[arg-type]
