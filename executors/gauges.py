"""What this process uses: memory and time, of its GPU through NVML where there is one, and of the machine. For people who watch."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

CLOSED = "OURVIDZ_LANES_CLOSED"
"""Set by a supervisor for an executor that it starts without these lanes, so that whoever watches it can say so."""


@cache
def nvml() -> Any | None:
    """The library, initialised; None where it or a driver is absent (`pip install 'ourvidz[gpu]'`)."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001  (absent, no driver, another driver: whichever, there is nothing to read)
        return None
    return pynvml


@cache
def _device(environment: str | None) -> Any | None:
    """NVML's handle of the first device that CUDA shows this process."""
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
    """Read now and then, by one thread: the CPU's share is that of the time since the last reading."""

    def __init__(self) -> None:
        self._last = (time.monotonic(), time.process_time())

    def read(self) -> Mapping[str, Any]:
        """rss (bytes), cpu (share of one core, 1.0 = all of it); on a GPU vram_used, vram_total (bytes), utilisation (0–1);
        `closed`, the lanes that its supervisor keeps from it."""
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
    except library.NVMLError:  # a MIG slice has memory and no utilisation; a driver that was replaced answers nothing
        return found
    return found


def _closed() -> dict[str, Any]:
    lanes = [lane for lane in os.environ.get(CLOSED, "").split(",") if lane]
    return {"closed": lanes} if lanes else {}


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes, and the highest there was
