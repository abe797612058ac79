"""What a Python that the tests start does first, if this folder is on its path: search for garbage seldom.

A process that imports frameworks spends a sixth of its time on such searches, which find little.
"""

from __future__ import annotations

import gc

gc.set_threshold(20_000, 20, 50)
