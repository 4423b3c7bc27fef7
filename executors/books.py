"""The books of one memory: what lies in it, what must stay, and what goes when room is needed. Pure: no tensors, no clock.

What goes first is GreedyDual-Size's answer (Cao & Irani, USENIX Symposium on Internet Technologies and Systems 1997): a thing is worth
what it costs to bring it back, per byte, on top of a floor that rises to the worth of whatever was last put out. So what is dear for its
size stays longer, and what is not asked for sinks. No use counts: a family asked for all day would be kept for hours after its last job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from executors.errors import OutOfMemory

DEFAULT_BUDGET = 35_000_000_000  # bytes; what three families on one card were to stay under
RESERVE = 2_000_000_000  # bytes of a card left to the driver, cuBLAS and cuDNN
LINK = 25e9  # bytes a second from pinned memory to a card: PCIe 4.0 × 16, about
LATENCY = 0.01  # seconds a move takes whatever its size


def budget_for(vram: int | None) -> int:
    """Bytes for weights and working room on a card with `vram` bytes. Raises `ValueError` for a card that is smaller than the reserve."""
    if vram is not None and vram <= RESERVE:
        raise ValueError(f"a card of {_gb(vram)} has nothing to give: {_gb(RESERVE)} are left to the driver and its libraries")
    return DEFAULT_BUDGET if vram is None else min(DEFAULT_BUDGET, vram - RESERVE)


class TooBig(OutOfMemory):
    """What has to be in memory at the same time is more than the memory may hold, whatever is put out."""


@dataclass(frozen=True)
class Item:
    """Something that is in a memory or is not. A piece (by key, in bytes) that two items have takes its room once."""

    name: str
    pieces: Mapping[Hashable, int]
    cost: float  # seconds to bring it back

    @property
    def bytes(self) -> int:
        return sum(self.pieces.values())


@dataclass
class Books:
    """`budget` in bytes; None keeps everything. `memory` and `setting` are the words for it in errors."""

    budget: int | None
    memory: str = "the GPU"
    setting: str = "OURVIDZ_VRAM_BUDGET"
    items: dict[str, Item] = field(default_factory=dict)
    locks: Counter[str] = field(default_factory=Counter)
    working: int = 0  # bytes promised to the jobs that run, besides the items
    _worth: dict[str, float] = field(default_factory=dict)
    _floor: float = 0.0

    @property
    def used(self) -> int:
        return occupied(self.items.values())

    def locked(self, name: str) -> bool:
        return self.locks[name] > 0

    def lock(self, names: Iterable[str], working: int) -> None:
        self.locks.update(names)
        self.working += working

    def unlock(self, names: Iterable[str], working: int) -> None:
        self.locks.subtract(names)
        self.working -= working

    def enter(self, item: Item) -> None:
        self.items[item.name] = item
        self.touch(item.name)

    def leave(self, name: str) -> None:
        """Put out of the books, for whatever reason. Only `victims` raises the floor."""
        self.items.pop(name, None)
        self._worth.pop(name, None)

    def touch(self, name: str) -> None:
        item = self.items[name]
        self._worth[name] = self._floor + item.cost / max(1, item.bytes)

    def victims(self, coming: Collection[Item], working: int = 0, keep: Collection[str] = ()) -> list[str]:
        """Whom to put out, least worth first, so that `coming` fits beside `working` bytes and all that is locked or in `keep`.

        Decides and changes nothing but the floor. Raises `TooBig` saying what was asked for, what is locked and what the budget is.
        """
        if self.budget is None:
            return []
        names = {item.name for item in coming}
        fixed = [item for item in self.items.values() if item.name not in names and (self.locked(item.name) or item.name in keep)]
        working += self.working
        if (least := occupied([*fixed, *coming]) + working) > self.budget:
            raise TooBig(self._too_big(coming, fixed, working, least))
        stay = names | {item.name for item in fixed}
        left, out = {name: item for name, item in self.items.items() if name not in names}, []
        while occupied([*left.values(), *coming]) + working > self.budget:
            least_worth = min((name for name in left if name not in stay), key=lambda name: self._worth[name])
            self._floor = max(self._floor, self._worth[least_worth])
            del left[least_worth]
            out.append(least_worth)
        return out

    def _too_big(self, coming: Collection[Item], fixed: Collection[Item], working: int, least: int) -> str:
        parts = [f"{item.name} {_gb(item.bytes)}" for item in coming]
        parts += [f"{item.name} {_gb(item.bytes)} (in use)" for item in fixed]
        parts += [f"{_gb(working)} to work in"] if working else []
        assert self.budget is not None
        over = f"{_gb(least)} has to be on {self.memory} at once, and {_gb(self.budget)} is allowed"
        return f"{over}: {', '.join(parts)}. Raise {self.setting}, or leave this job to a bigger machine"


def occupied(items: Iterable[Item]) -> int:
    """Bytes, with what items share counted once."""
    pieces: dict[Hashable, int] = {}
    for item in items:
        pieces.update(item.pieces)
    return sum(pieces.values())


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"
