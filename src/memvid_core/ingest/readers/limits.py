"""Limiting the memory of reader processes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

__all__ = ["OVER_MEMORY", "address_space", "memory_limiter", "watch_peak"]

OVER_MEMORY = 86
"""The exit code of a process that its watchdog ended because it used too much memory."""

_POLL = 0.05  # seconds between checks of the watchdog


def memory_limiter(size: int | None) -> Callable[[], None]:
    """Limit how much memory this process may allocate in addition to what it uses now.

    Linux limits the address space (``RLIMIT_AS``) and Windows the committed memory (a job object): allocations beyond
    the limit fail. Other systems, such as macOS, enforce no such limit: there, a thread checks the peak resident memory
    20 times per second and ends the process with `OVER_MEMORY`.

    Args:
        size: The limit in bytes; None for no limit.

    Returns:
        A function that sets the limit again, relative to the memory in use at the time of the call.
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
    """Return the size of this process's address space in bytes; 0 if unknown."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def watch_peak(size: int) -> None:
    """End this process when its peak resident memory has grown by ``size`` bytes."""
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
        # In kilobytes, except on macOS.
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
        job = kernel.CreateJobObjectW(None, None)  # never closed; it ends with the process
        limits = _ExtendedLimits()
        limits.Basic.LimitFlags = _LIMIT_PROCESS_MEMORY
        limits.ProcessMemoryLimit = size
        kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        if not kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess()):
            raise ctypes.WinError(ctypes.get_last_error())

    def _peak() -> int:
        return 0  # the job object limits it
