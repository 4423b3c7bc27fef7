"""Resource usage of this process for monitoring: memory and CPU time, and its GPU's memory and utilisation through NVML."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

CLOSED = "OURVIDZ_LANES_CLOSED"
"""Environment variable: the lanes that the supervisor has closed for the executor it starts, for monitoring."""


@cache
def nvml() -> Any | None:
    """Return the NVML library, initialised; None without it or a driver (`pip install 'ourvidz[gpu]'`)."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001  (not installed, no driver, another driver: nothing to read)
        return None
    return pynvml


@cache
def _device(environment: str | None) -> Any | None:
    """Return NVML's handle of the first device visible to this process in CUDA."""
    library = nvml()
    if library is None:
        return None
    first = (environment or "0").split(",")[0].strip()
    try:
        if first.isdigit():
            return library.nvmlDeviceGetHandleByIndex(int(first))
        return library.nvmlDeviceGetHandleByUUID(first)
    except library.NVMLError:
        return None


class Gauges:
    """Reads usage, in one thread: the CPU share covers the time since the last reading."""

    def __init__(self) -> None:
        self._last = (time.monotonic(), time.process_time())

    def read(self) -> Mapping[str, Any]:
        """Return rss (bytes), cpu (share of one core, 1.0 = all of it); on a GPU vram_used, vram_total (bytes), utilisation (0–1);
        `closed`: the lanes that the supervisor has closed."""
        before, self._last = self._last, (time.monotonic(), time.process_time())
        took = max(self._last[0] - before[0], 1e-3)
        return {"rss": _resident(), "cpu": round((self._last[1] - before[1]) / took, 2), **_of_gpu(), **_closed()}


def _of_gpu() -> dict[str, Any]:
    device = _device(os.environ.get("CUDA_VISIBLE_DEVICES"))
    library = nvml()
    if device is None or library is None:
        return {}
    found: dict[str, Any] = {}
    try:
        memory = library.nvmlDeviceGetMemoryInfo(device)
        found |= {"vram_used": int(memory.used), "vram_total": int(memory.total)}
        found["utilisation"] = library.nvmlDeviceGetUtilizationRates(device).gpu / 100
    except library.NVMLError:  # a MIG slice has no utilisation; a driver replaced while running answers nothing
        return found
    return found


def _closed() -> dict[str, Any]:
    lanes = [lane for lane in os.environ.get(CLOSED, "").split(",") if lane]
    return {"closed": lanes} if lanes else {}


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes, and the peak
