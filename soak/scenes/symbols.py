"""The core's work over a QR memory, whose commits are pictures of symbols with parity between them."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from soak.model import embed
from soak.scenes.core import Core

__all__ = ["Symbols"]


class Symbols(Core):
    """A QR memory."""

    options: ClassVar[dict[str, Any]] = {"codec": "qr"}

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.embedder = embed
