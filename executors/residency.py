"""Residency of model components: files on disk, masters in (pinned) RAM, copies on the device; RAM and device each have a byte budget.

A component is an `nn.Module` that is built once and stays the same object; only the `.data` of its tensors changes. When placed, it points
to copies on the device; when dropped, to the masters again, and the copies are freed without copying back. When spilled from RAM it points
to nothing, and the next use reads the files again. So pipelines are assembled once, and keep their parts.

On a CPU without a budget the masters are used directly, and placing is free. With a budget the CPU simulates a device, with clones.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from executors.books import LATENCY, LINK, Books, Item, budget_for
from executors.device_memory import pick_device, within_memory
from executors.errors import OutOfMemory

log = logging.getLogger("ourvidz.residency")

T = TypeVar("T")
Piece = tuple[int, torch.dtype]  # a tensor on the device: id of its master, precision

RAM_SHARE = 0.8  # share of the machine's RAM that masters may take, if there is a GPU
PINNED_FROM = 1 << 20  # bytes; smaller tensors share their pages with others, and are cheap to copy unpinned


class Master:
    """One tensor in RAM, pinned if there is a GPU. Components with equal tensors share their masters."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: torch.Tensor, *, pin: bool) -> None:
        self.tensor = tensor.detach()
        if pin:
            self.tensor = self.tensor.clone()  # the file's mapping cannot be pinned
            if self.tensor.nbytes >= PINNED_FROM:
                _pin(self)


def _pin(master: Master) -> None:
    # In place, as ComfyUI does: torch's pin_memory() rounds sizes up to powers of two, which wastes gigabytes for whole models.
    cuda, address = torch.cuda.cudart(), master.tensor.data_ptr()
    if int(cuda.cudaHostRegister(address, master.tensor.nbytes, 0)):
        log.debug("A master of %d bytes could not be pinned: it will be copied more slowly.", master.tensor.nbytes)
    else:
        weakref.finalize(master, cuda.cudaHostUnregister, address).atexit = False


@dataclass
class Component:
    """A model component. `build` makes the module on the CPU, the same each time. `like`: a component that may have equal tensors."""

    name: str
    build: Callable[[], torch.nn.Module]
    like: str | None = None
    module: torch.nn.Module | None = None
    masters: dict[str, Master] = field(default_factory=dict)  # by the tensor's name; empty while spilled
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)  # the module's own, whose `.data` is switched
    read_s: float = 0.0


class Residency:
    """Loads, places and evicts components. One device thread moves and runs them; another thread may `load`, which excludes moves."""

    def __init__(self, device: torch.device | None = None, budget: int | None = None, ram: int | None = None) -> None:
        self.device = device or pick_device()
        if budget is None and self.device.type == "cuda" and torch.cuda.is_available():
            budget = budget_for(torch.cuda.get_device_properties(self.device).total_memory)
            ram = ram or int(RAM_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        self.copies = self.device.type != "cpu" or budget is not None
        self.placed = Books(budget)
        self.masters = Books(ram, "this machine's RAM", "OURVIDZ_RAM_BUDGET")
        self._components: dict[str, Component] = {}
        self._copies: dict[str, dict[Piece, torch.Tensor]] = {}  # by component
        self._moving = threading.RLock()

    # Components

    def add(self, name: str, build: Callable[[], torch.nn.Module], like: str | None = None) -> None:
        """Register a component; its files are read when it is first needed. Raises `ValueError` for a name that is taken."""
        if name in self._components:
            raise ValueError(f"there is a component {name} already: remove it first")
        self._components[name] = Component(name, build, like)

    def remove(self, name: str) -> None:
        """Forget a component and free its memory. Idempotent."""
        with self._moving:
            if name in self._components:
                self._spill(name)
                del self._components[name]

    def load(self, name: str) -> torch.nn.Module:
        """Return the component's module, reading its masters from disk if needed. Raises what `build` raises, `OutOfMemory`."""
        with self._moving:
            component = self._components[name]
            if not component.masters:
                self._read(component)
            assert component.module is not None
            return component.module

    def known(self, name: str) -> bool:
        return name in self._components

    def on_device(self, name: str) -> bool:
        """Check if the component is on the device."""
        return name in self.placed.items

    # Holding

    @contextmanager
    def hold(self, *names: str, working: int = 0, dtype: torch.dtype | None = None) -> Iterator[None]:
        """Keep these components on the device, and `working` bytes free beside them, until the end of the block.

        `dtype` widens their floating-point tensors to at least that, for this block only. Raises `TooBig` when the budget does not allow
        it, `OutOfMemory`, and what reading the files raises.
        """
        self.placed.lock(names, working)
        try:
            with self._moving:
                self._bring(names, dtype)
            yield
        finally:
            self.placed.unlock(names, working)
            with self._moving:
                for name in names if dtype is not None else ():
                    if not self.placed.locked(name):
                        self._drop(name)  # back to its normal precision for the next job

    def _bring(self, names: Collection[str], dtype: torch.dtype | None) -> None:
        for name in names:
            self.load(name)
            self.masters.touch(name)
        items = {name: self._item(self._components[name], dtype) for name in names}
        for name in self.placed.victims(items.values()):
            log.debug("%s makes room for %s.", name, ", ".join(names))
            self._drop(name)
        changed = [name for name, item in items.items() if name in self.placed.items and self.placed.items[name].pieces != item.pieces]
        if busy := [name for name in changed if self.placed.locks[name] > 1]:
            raise ValueError(f"{', '.join(busy)}: in use, and cannot change precision now")
        for name in changed:
            self._drop(name)
        for name, item in items.items():
            if name in self.placed.items:
                self.placed.touch(name)
            else:
                self._place(self._components[name], item, dtype)

    def _item(self, component: Component, dtype: torch.dtype | None) -> Item:
        if not self.copies and dtype is None:
            return Item(component.name, {}, 0.0)
        held = self._pieces(component, dtype)
        sizes: dict[Hashable, int] = {piece: master.tensor.numel() * piece[1].itemsize for _, master, piece in held}
        return Item(component.name, sizes, LATENCY + sum(sizes.values()) / LINK)

    def _pieces(self, component: Component, dtype: torch.dtype | None) -> Iterator[tuple[str, Master, Piece]]:
        for key, master in component.masters.items():
            have = master.tensor.dtype
            wide = torch.promote_types(have, dtype) if dtype is not None and have.is_floating_point else have
            yield key, master, (id(master), wide)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _place(self, component: Component, item: Item, dtype: torch.dtype | None) -> None:
        if item.pieces:
            there = {piece: copy for copies in self._copies.values() for piece, copy in copies.items()}
            copies: dict[Piece, torch.Tensor] = {}
            for _, master, piece in self._pieces(component, dtype):
                if piece not in copies:
                    copies[piece] = there[piece] if piece in there else self.copy(master.tensor, piece[1])
            # All or none: running out of memory above leaves the module unchanged.
            for key, _, piece in self._pieces(component, dtype):
                component.tensors[key].data = copies[piece]
            self._copies[component.name] = copies
        self.placed.enter(item)

    def copy(self, master: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Copy a tensor to the device. The only place that allocates device memory for weights."""
        return master.to(self.device, dtype, non_blocking=True, copy=True)

    def set_down(self, name: str) -> None:
        """Move the component's module to the CPU, for a library that adds to it."""
        with self._moving:
            self._drop(name)

    def _drop(self, name: str) -> None:
        """Free the copies on the device. Nothing is copied back: the masters never change."""
        if self._copies.pop(name, None) is not None:
            component = self._components[name]
            for key, master in component.masters.items():
                component.tensors[key].data = master.tensor
        self.placed.leave(name)

    # Masters

    def _read(self, component: Component) -> None:
        started = time.monotonic()
        with torch.inference_mode(False):
            fresh = component.build()
        if component.module is None:
            component.module, component.tensors = fresh, tensors_of(fresh)
        peer = self._peer_of(component)
        for key, tensor in tensors_of(fresh).items():
            twin = peer.masters.get(key) if peer else None
            same = twin is not None and twin.tensor.dtype == tensor.dtype and torch.equal(twin.tensor, tensor)
            component.masters[key] = twin if same and twin else Master(tensor, pin=self.device.type == "cuda")
            component.tensors[key].data = component.masters[key].tensor
        component.read_s = time.monotonic() - started
        item = Item(component.name, {id(m): m.tensor.nbytes for m in component.masters.values()}, component.read_s)
        try:
            for name in self.masters.victims([item], keep=self._locked()):
                self._spill(name)
        except OutOfMemory:
            self._spill(component.name)
            raise
        self.masters.enter(item)

    def _peer_of(self, component: Component) -> Component | None:
        peers = (p for p in self._components.values() if p.name == component.like or p.like == component.name)
        return next((peer for peer in peers if peer.masters), None)

    def _locked(self) -> list[str]:
        return [name for name in self._components if self.placed.locked(name)]

    def _spill(self, name: str) -> None:
        self._drop(name)  # first, since dropping needs the masters
        component = self._components[name]
        if component.masters and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # a copy may still be reading from it
        for tensor in component.tensors.values():
            tensor.data = torch.empty(0, dtype=tensor.dtype)
        component.masters = {}
        self.masters.leave(name)

    # Out of memory

    def clear(self, *, masters: bool = False) -> None:
        """Drop all components that are not held from the device; with `masters`, from RAM too."""
        with self._moving:
            for name in [name for name in self._components if not self.placed.locked(name)]:
                self._spill(name) if masters else self._drop(name)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()


class Chance:
    """Retry of one job after out of memory: once more, in the small mode, with the device cleared of all that the job does not hold.

    From then on the rest of the job runs in the small mode, and the next out of memory fails it.
    """

    def __init__(self, residency: Residency, doing: str, *, loading: bool = False) -> None:
        self.residency, self.doing, self.small, self.loading = residency, doing, False, loading

    def __call__(self, action: Callable[[bool], T]) -> T:
        """Run `action(small)`. Raises `OutOfMemory` at the second time."""
        if not self.small:
            try:
                return within_memory(self.doing, lambda: action(False))
            except OutOfMemory as error:
                log.warning("%s. Once more, smaller.", error)
            self.small = True
            self.residency.clear(masters=self.loading)
        return within_memory(self.doing, lambda: action(True))


def tensors_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a module's parameters and buffers by name, a tensor with two names once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
