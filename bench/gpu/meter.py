"""Clocks: what the device did and when, its peak memory, and its maximum speed."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan, UNet2DConditionModel, WanTransformer3DModel, WanVACETransformer3DModel

H200_BF16 = 790e12  # FLOP/s of a dense bf16 matrix product on an H200, the figure that the aims were set against

DENOISE, DECODE = "denoise", "decode"
WATCHED: Sequence[tuple[type, str, str]] = (
    # Patched in the class, so that it works however a family keeps its modules, and for a plain script too.
    (UNet2DConditionModel, "forward", DENOISE),
    (WanTransformer3DModel, "forward", DENOISE),
    (WanVACETransformer3DModel, "forward", DENOISE),
    (AutoencoderKL, "decode", DECODE),
    (AutoencoderKLWan, "decode", DECODE),
)


@dataclass(frozen=True)
class Card:
    """The device under test: a CUDA one, or the CPU for a dry run."""

    device: torch.device

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def name(self) -> str | None:
        return torch.cuda.get_device_name(self.device) if self.cuda else None

    def wait(self) -> None:
        """Wait until all submitted work is done."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def now(self) -> float:
        """Return the time in seconds, after all submitted work is done."""
        self.wait()
        return time.perf_counter()

    def mark(self) -> Any:
        """Record a point in the device's stream, without waiting."""
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, begin: Any, end: Any) -> float:
        """Seconds between two marks; call `wait` first."""
        return float(begin.elapsed_time(end) / 1000) if self.cuda else end - begin

    def forget_peak(self) -> None:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> int | None:
        """Maximum bytes held for tensors and their cache since `forget_peak`. None on a CPU."""
        return torch.cuda.max_memory_reserved(self.device) if self.cuda else None


class Meter:
    """Seconds of denoising and decoding while it watches. A run of forwards counts from the start of the first to the end of the last, with
    the scheduler's and the callback's work between them: only what is neither denoising nor decoding counts as outside."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self._marks: list[tuple[str, Any, Any]] = []

    @contextmanager
    def watching(self) -> Iterator[Meter]:
        with ExitStack() as stack:
            for owner, name, kind in WATCHED:
                stack.enter_context(patch.object(owner, name, self._watched(getattr(owner, name), kind)))
            yield self

    def take(self) -> dict[str, float]:
        """Seconds by kind since the last call."""
        self.card.wait()
        seconds = dict.fromkeys((DENOISE, DECODE), 0.0)
        for kind, run in itertools.groupby(self._marks, key=lambda mark: mark[0]):
            whole = list(run)
            seconds[kind] += self.card.between(whole[0][1], whole[-1][2])
        self._marks = []
        return seconds

    def _watched(self, call: Callable[..., Any], kind: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(*args: Any, **more: Any) -> Any:
            begin = self.card.mark()
            try:
                return call(*args, **more)
            finally:
                self._marks.append((kind, begin, self.card.mark()))

        return watched


def timed(card: Card, work: Callable[[], Any], times: int = 10) -> float:
    """Median seconds of one call, after one warm-up."""
    work()
    taken = []
    for _ in range(times):
        begun = card.now()
        work()
        taken.append(card.now() - begun)
    return median(taken)


def matmul_rate(card: Card) -> float:
    """FLOP/s of a square matrix product of random numbers: bf16 at 8192 on CUDA."""
    n, dtype = (8192, torch.bfloat16) if card.cuda else (512, torch.float32)
    a, b = (torch.randn(n, n, device=card.device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / timed(card, lambda: a @ b)


def read_rate(card: Card) -> float:
    """Bytes/s that the device reads from its own memory: a sum over far more than its caches hold."""
    numbers = torch.ones((2**31 if card.cuda else 2**26) // 4, device=card.device)
    return numbers.nbytes / timed(card, numbers.sum)


@dataclass(frozen=True)
class Ceiling:
    """Rates from which the floors are computed, and the rates measured in this run."""

    flops: float
    matmul: float
    read: float


def ceiling(card: Card) -> Ceiling:
    measured = matmul_rate(card)
    return Ceiling(H200_BF16 if "H200" in (card.name or "") else measured, measured, read_rate(card))
