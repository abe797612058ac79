"""The public class Memory: opening in ``memory``, and its methods in ``reading``, ``writing`` and ``aio``.

What Memvid's API and the servers need of the inside of an open memory, they take from here too.
"""

from memvid_core.engine import memory_video
from memvid_core.engine.embedders import new_embedder
from memvid_core.engine.validation import check_metadata, check_texts
from memvid_core.memory.memory import Memory, session_of

__all__ = ["Memory", "check_metadata", "check_texts", "memory_video", "new_embedder", "session_of"]
