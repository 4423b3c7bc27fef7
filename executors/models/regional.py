"""Regional compilation in the background: jobs run eagerly until their shape is compiled, and never wait for the compiler.

As in diffusers' `compile_repeated_blocks`, only a denoiser's repeated blocks are compiled: one graph serves all blocks of a shape. The
first job of a shape records copies of its blocks' inputs; a thread compiles with those; the next job of that shape runs compiled. torch
caches compiled code per function, not per object, so the blocks then run what the thread compiled.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

log = logging.getLogger("ourvidz.compile")

TRIES = 3  # a compilation may fail because weights are being moved; given up after three failures
_compiling: threading.Thread | None = None
"""One per process: tracing sets global flags that break compiled code in other threads, so all run eagerly until it is done."""

Call = tuple[torch.nn.Module, tuple[Any, ...], dict[str, Any]]


class Regional:
    """The repeated blocks of one denoiser. Call `during` only in the device thread."""

    def __init__(self, denoiser: Any, backend: str = "inductor") -> None:
        self.backend = backend
        self._blocks = [block for block in denoiser.modules() if type(block).__name__ in denoiser._repeated_blocks]
        self._ready: set[Hashable] = set()
        self._failures = 0

    @contextmanager
    def during(self, shape: Hashable) -> Iterator[bool]:
        """Context of a pass of the denoiser; `shape`: all that its blocks' inputs depend on. Yields whether it runs compiled."""
        global _compiling
        if self._failures == TRIES or (_compiling is not None and _compiling.is_alive()):
            yield False
        elif shape in self._ready:
            with self._compiled():
                yield True
        else:
            calls: dict[Hashable, Call] = {}
            watches = [block.register_forward_pre_hook(_recorder(calls), with_kwargs=True) for block in self._blocks]
            try:
                yield False
            finally:
                for watch in watches:
                    watch.remove()
                if calls:
                    _compiling = threading.Thread(target=self._compile, args=(shape, list(calls.values())), daemon=True)
                    _compiling.start()

    @contextmanager
    def _compiled(self) -> Iterator[None]:
        for block in self._blocks:
            block.compile(backend=self.backend)
        try:
            yield
        except torch._dynamo.exc.TorchDynamoException as error:
            self._failures = TRIES  # this job fails, and its next attempt runs eagerly
            self._say(error)
            raise
        finally:
            for block in self._blocks:
                block._compiled_call_impl = None

    def _compile(self, shape: Hashable, calls: list[Call]) -> None:
        try:
            with torch.no_grad():
                for block, args, kwargs in calls:
                    torch.compile(block._call_impl, backend=self.backend)(*args, **kwargs)
            self._ready.add(shape)
        except Exception as error:  # noqa: BLE001  (a compiler error or out of memory: eager mode still works)
            self._failures += 1
            self._say(error)

    def _say(self, error: Exception) -> None:
        again = "" if self._failures == TRIES else ", to be tried again"
        log.warning("The denoiser stays uncompiled%s: %s: %s", again, type(error).__name__, str(error).partition("\n")[0])


def wait(timeout: float) -> bool:
    """Wait until no compilation runs; return False if that takes longer than `timeout` seconds."""
    if _compiling is not None:
        _compiling.join(timeout)
    return _compiling is None or not _compiling.is_alive()


def _recorder(calls: dict[Hashable, Call]) -> Any:
    def record(block: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        leaves = torch.utils._pytree.tree_leaves((args, kwargs))
        kind = (type(block), tuple((leaf.shape, leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves))
        if kind not in calls:
            args, kwargs = torch.utils._pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.detach().clone(), (args, kwargs))
            calls[kind] = (block, args, kwargs)

    return record
