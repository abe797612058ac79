"""A limit on the memory of this process, for reader processes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

__all__ = ["OVER_MEMORY", "address_space", "memory_limiter", "watch_peak"]

OVER_MEMORY = 86
"""Exit code of a process that its own watchdog ended because it held too much memory."""

_POLL = 0.05  # seconds between two looks of the watchdog


def memory_limiter(size: int | None) -> Callable[[], None]:
    """Limit how much memory this process may take beyond what it holds now.

    Linux limits the address space (``RLIMIT_AS``) and Windows the committed memory (a job object): an allocation
    beyond it fails. Elsewhere, on macOS for one, the system enforces no such limit: there a thread looks at the peak of
    the resident memory 20 times a second and ends the process with `OVER_MEMORY`.

    Args:
        size: Bytes; None for no limit.

    Returns:
        A function that sets the limit again, counted from what is held when it is called.
    """
    if size is None:
        return _nothing
    if sys.platform == "win32":
        _limit_job(size)
    elif sys.platform == "linux" and address_space():
        _limit_address_space(size)
        return lambda: _limit_address_space(size)
    else:
        watch_peak(size)
    return _nothing


def _nothing() -> None:
    pass


def address_space() -> int:
    """Return the size of this process's address space in bytes; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def watch_peak(size: int) -> None:
    """End this process once its peak of resident memory has grown by ``size`` bytes."""
    start = _peak()
    wait = threading.Event().wait

    def watch() -> None:
        while _peak() - start <= size:
            wait(_POLL)
        os._exit(OVER_MEMORY)

    threading.Thread(target=watch, name="memvid-memory", daemon=True).start()


if sys.platform != "win32":
    import resource

    def _limit_address_space(size: int) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = address_space() + size
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    def _peak() -> int:
        # Kilobytes everywhere but on macOS.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

else:
    import ctypes
    from ctypes import wintypes

    _LIMIT_PROCESS_MEMORY = 0x100  # JOB_OBJECT_LIMIT_PROCESS_MEMORY
    _EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation

    class _BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("Basic", _BasicLimits),
            ("Counters", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    def _limit_job(size: int) -> None:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
        kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
        job = kernel.CreateJobObjectW(None, None)  # never closed: it ends with the process
        limits = _ExtendedLimits()
        limits.Basic.LimitFlags = _LIMIT_PROCESS_MEMORY
        limits.ProcessMemoryLimit = size
        kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        if not kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess()):
            raise ctypes.WinError(ctypes.get_last_error())

    def _peak() -> int:
        return 0  # the job object limits it
