"""Table of the processes that `ourvidz up` runs on this machine. A new kind of process is one row of `KINDS`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from state.catalog import LANES

OURVIDZ = (sys.executable, "-m", "ourvidz.cli.main")
LEASE, PULSE = "lease", "pulse"
CPU = "cpu"


@dataclass(frozen=True)
class Wanted:
    """`split`: one executor for each family. `intake`: Upstash is configured. `legacy_queue`: drain the legacy list job_queue too.
    `deliver`: the login may send messages."""

    split: bool = False
    intake: bool = False
    legacy_queue: bool = False
    deliver: bool = True


@dataclass(frozen=True)
class Kind:
    """A kind of process. `health` is its sign of life: an executor's lease, or a pulse (`ourvidz.liveness`)."""

    name: str
    command: tuple[str, ...]
    health: str
    per_device: bool = False
    lanes: tuple[str, ...] = ()  # an executor's; empty: all
    when: Callable[[Wanted], bool] = lambda wanted: True


KINDS: Sequence[Kind] = (
    Kind("executor", ("worker",), LEASE, per_device=True, lanes=LANES, when=lambda wanted: not wanted.split),
    Kind("sdxl", ("worker",), LEASE, per_device=True, lanes=("sdxl", "sdxl_ip"), when=lambda wanted: wanted.split),
    Kind("wan", ("worker",), LEASE, per_device=True, lanes=("wan", "wan_vace"), when=lambda wanted: wanted.split),
    # A process of its own, so that expired leases are reaped and due jobs released while every executor is dead or starting.
    Kind("reaper", ("reaper",), PULSE),
    Kind("deliverer", ("deliver", "run"), PULSE, when=lambda wanted: wanted.deliver),
    Kind("intake", ("intake", "run"), PULSE, when=lambda wanted: wanted.intake and not wanted.legacy_queue),
    Kind("intake", ("intake", "run", "--legacy-queue"), PULSE, when=lambda wanted: wanted.intake and wanted.legacy_queue),
)


class NoSuchDevice(Exception):
    """The device requested for the enhancer does not exist."""


@dataclass(frozen=True)
class Row:
    """One process to run. An executor gets its name and its lanes on the command line."""

    name: str
    command: tuple[str, ...]
    health: str
    lanes: tuple[str, ...] = ()
    device: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def executor(self) -> bool:
        return self.health == LEASE

    def argv(self, lanes: Sequence[str] | None = None) -> list[str]:
        if not self.executor:
            return [*self.command]
        return [*self.command, "--name", self.name, "--lanes", ",".join(self.lanes if lanes is None else lanes)]


@dataclass(frozen=True)
class Devices:
    """`ids` in the form of CUDA_VISIBLE_DEVICES; empty: the CPU. `how`: the source of the count."""

    ids: tuple[str, ...]
    how: str


def rows(
    devices: Devices, wanted: Wanted = Wanted(), *, name: str | None = None, each: int = 1, enhancer: str | None = None
) -> list[Row]:  # fmt: skip
    """Return the processes to run: executors for every device (`each` of a kind), and one of every other kind.

    `enhancer`: run one too, on this device or on the `cpu`. It has its GPU to itself, unless that is the only one.
    """
    base, made = name or host(), []
    if enhancer is not None:
        if enhancer not in (CPU, *devices.ids):
            raise NoSuchDevice(f"There is no device {enhancer!r} for the enhancer. Choose one of: {', '.join((CPU, *devices.ids))}.")
        shown = {"CUDA_VISIBLE_DEVICES": ""} if enhancer == CPU else _shown(enhancer)
        made.append(Row("enhancer", (*OURVIDZ, "enhancer"), PULSE, device=None if enhancer == CPU else enhancer, env=shown))
        devices = Devices(tuple(d for d in devices.ids if d != enhancer) or devices.ids, devices.how)
    for kind in KINDS:
        if not kind.when(wanted):
            continue
        command = (*OURVIDZ, *kind.command)
        if not kind.per_device:
            made.append(Row(kind.name, command, kind.health))
            continue
        for at, device in enumerate(devices.ids or (None,)):
            for n in range(each):
                place = "cpu" if device is None else f"gpu{device if device.isdigit() else at}"
                own = "-".join([base, place, *([kind.name] if wanted.split else []), *([str(n)] if each > 1 else [])])
                made.append(Row(own, command, kind.health, kind.lanes, device, _shown(device)))
    return made


def _shown(device: str | None) -> dict[str, str]:
    # PCI bus order, as NVML and nvidia-smi count; CUDA's default order is by speed.
    return {} if device is None else {"CUDA_VISIBLE_DEVICES": device, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def host() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:50] or "host"


def devices() -> Devices:
    """Return the devices of CUDA_VISIBLE_DEVICES if it is set, else those that NVML or nvidia-smi count."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        ids = [part.strip() for part in given.split(",") if part.strip()]
        return Devices(() if ids[:1] == ["-1"] else tuple(ids), "CUDA_VISIBLE_DEVICES")
    for count, how in ((_by_nvml, "NVML"), (_by_nvidia_smi, "nvidia-smi")):
        if found := count():
            return Devices(tuple(found), how)
    return Devices((), "no GPU found")


def _by_nvml() -> list[str]:
    from executors.gauges import nvml

    library = nvml()
    return [] if library is None else [str(n) for n in range(library.nvmlDeviceGetCount())]


def _by_nvidia_smi() -> list[str]:
    ask = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        said = subprocess.run(ask, capture_output=True, encoding="utf-8", errors="replace", timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in said.splitlines() if line.strip().isdigit()]
