"""Libraries built and searched by Ray: on one machine, or on many.

The functions start a local Ray, or take the one that the program has connected to.
"""

from importlib.util import find_spec

from memvid_core import MissingExtraError

if find_spec("ray") is None:
    raise MissingExtraError('memvid_ray needs Ray, which is not installed: pip install "memvid-core[ray]"')

from memvid_ray.building import build, build_files
from memvid_ray.executor import RayExecutor

__all__ = ["RayExecutor", "build", "build_files"]

del MissingExtraError, find_spec


__version__: str


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("memvid-core")
