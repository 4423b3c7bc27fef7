"""A residency that measures the live bytes of its copies by their buffers, independently of its own bookkeeping."""

from __future__ import annotations

import math
import weakref

import torch

from executors.residency import Residency


class Block(bytearray):
    """A tensor's memory. It lives as long as any tensor that views it, and its finalizer reports its end."""


class Measured(Residency):
    """On the CPU, which stands in for a device."""

    def __init__(self, budget: int, ram: int | None = None) -> None:
        super().__init__(torch.device("cpu"), budget, ram)
        self.live, self.peak, self.moved = 0, 0, 0
        self.needed = 0  # the maximum held at once, according to its bookkeeping: to choose a budget
        self.addresses: set[int] = set()

    def copy(self, master: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        twin = torch.empty_like(master, dtype=dtype)  # only for its strides
        size = twin.numel() * dtype.itemsize
        if not size:
            return twin.copy_(master)
        block = Block(size + 64)
        whole = torch.frombuffer(block, dtype=torch.uint8)
        offset = -whole.data_ptr() % 64  # kernels choose their code path, and so their rounding, by alignment
        made = whole[offset : offset + size].view(dtype).as_strided(twin.shape, twin.stride()).copy_(master)
        self.live += size
        self.moved += size
        self.peak = max(self.peak, self.live)
        self.addresses.add(made.data_ptr())
        weakref.finalize(block, self._gone, size, made.data_ptr())
        return made

    def _gone(self, size: int, address: int) -> None:
        self.live -= size
        self.addresses.discard(address)

    def _bring(self, names, dtype) -> None:  # type: ignore[no-untyped-def]
        super()._bring(names, dtype)
        held = sum(item.bytes for name, item in self.placed.items.items() if self.placed.locked(name))
        self.needed = max(self.needed, held + self.placed.working)

    @property
    def room_left(self) -> float:
        return math.inf if self.placed.budget is None else self.placed.budget - self.live
