"""The public class Memory: opening in ``memory``, and its methods in ``reading``, ``writing`` and ``aio``."""

from memvid_core.memory.memory import Memory, session_of

__all__ = ["Memory", "session_of"]
