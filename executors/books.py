"""Bookkeeping of one memory: which items are in it, which are locked, and which to evict. Pure: no tensors, no clock.

Evicts by GreedyDual-Size (Cao & Irani, USENIX Symposium on Internet Technologies and Systems 1997): an item's worth is its reload cost per
byte, plus a floor that rises to the worth of the last evicted item. So items with a high cost for their size stay longer, and unused ones
sink. Use counts are not used: a family in use all day would be kept for hours after its last job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from executors.errors import OutOfMemory

DEFAULT_BUDGET = 35_000_000_000  # bytes; the target for three families on one card
RESERVE = 2_000_000_000  # bytes of a card left to the driver, cuBLAS and cuDNN
LINK = 25e9  # bytes per second from pinned memory to a card, approximately: PCIe 4.0 × 16
LATENCY = 0.01  # seconds per move, whatever its size


def budget_for(vram: int | None) -> int:
    """Return the bytes for weights and working memory on a card of `vram` bytes. Raises `ValueError` for a card within the reserve."""
    if vram is not None and vram <= RESERVE:
        raise ValueError(f"a card of {_gb(vram)} has nothing to give: {_gb(RESERVE)} are left to the driver and its libraries")
    return DEFAULT_BUDGET if vram is None else min(DEFAULT_BUDGET, vram - RESERVE)


class TooBig(OutOfMemory):
    """What must be in memory at the same time exceeds the budget, whatever is evicted."""


@dataclass(frozen=True)
class Item:
    """An item in a memory or outside it. `pieces`: key → bytes; a piece shared by two items counts once."""

    name: str
    pieces: Mapping[Hashable, int]
    cost: float  # seconds to load it again

    @property
    def bytes(self) -> int:
        return sum(self.pieces.values())


@dataclass
class Books:
    """One memory. `budget` in bytes; None keeps everything. `memory` and `setting` name the memory and its budget in errors."""

    budget: int | None
    memory: str = "the GPU"
    setting: str = "OURVIDZ_VRAM_BUDGET"
    items: dict[str, Item] = field(default_factory=dict)
    locks: Counter[str] = field(default_factory=Counter)
    working: int = 0  # bytes reserved for running jobs, besides the items
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
        """Remove an item, for whatever reason. Only `victims` raises the floor."""
        self.items.pop(name, None)
        self._worth.pop(name, None)

    def touch(self, name: str) -> None:
        item = self.items[name]
        self._worth[name] = self._floor + item.cost / max(1, item.bytes)

    def victims(self, coming: Collection[Item], working: int = 0, keep: Collection[str] = ()) -> list[str]:
        """Return the items to evict, lowest worth first, so that `coming` fits beside `working` bytes and the items locked or in `keep`.

        Changes nothing but the floor. Raises `TooBig` naming what was requested, what is locked, and the budget.
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
    """Bytes of these items, shared pieces counted once."""
    pieces: dict[Hashable, int] = {}
    for item in items:
        pieces.update(item.pieces)
    return sum(pieces.values())


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"
