"""Watch what an executor's device does, from outside: patches each family's entry point, so that it works however a worker is built."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from executors.enhance import Enhancer
from executors.models.sdxl import Sdxl
from executors.models.wan import Wan


class Device:
    """Times by `time.perf_counter`. The device counts as busy while a family makes its next output, or the enhancer writes."""

    def __init__(self) -> None:
        self.busy: list[tuple[float, float]] = []
        self.steps: list[float] = []  # when each step ended
        self.on_step: Callable[[int, int], None] = lambda done, total: None  # called within a step, before the executor is told
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        return sum(end - begin for begin, end in self.busy)

    @property
    def span(self) -> float:
        """Seconds from the first busy moment to the last."""
        return max(end for _, end in self.busy) - min(begin for begin, _ in self.busy)

    @property
    def idle(self) -> float:
        """Idle share of the span. Two threads at work at once would count twice; the device has one."""
        return 1 - self.seconds / self.span

    @contextmanager
    def watched(self) -> Iterator[Device]:
        with (
            patch.object(Sdxl, "generate", self._through(Sdxl.generate)),
            patch.object(Sdxl, "generate_together", self._together(Sdxl.generate_together)),
            patch.object(Wan, "generate", self._through(Wan.generate)),
            patch.object(Enhancer, "enhance", self._around(Enhancer.enhance)),
        ):
            yield self

    def _worked(self, begun: float) -> None:
        with self._lock:
            self.busy.append((begun, time.perf_counter()))

    def _through(self, generate: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        @functools.wraps(generate)
        def outputs(family: Any, work: Any, on_step: Callable[[int, int], None]) -> Iterator[Any]:
            def step(done: int, total: int) -> None:
                self.steps.append(time.perf_counter())
                self.on_step(done, total)
                on_step(done, total)

            yield from self._timed(generate(family, work, step))

        return outputs

    def _together(self, generate: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        @functools.wraps(generate)
        def outputs(*args: Any) -> Iterator[Any]:
            yield from self._timed(generate(*args))

        return outputs

    def _timed(self, made: Iterator[Any]) -> Iterator[Any]:
        try:
            while True:
                begun = time.perf_counter()
                try:
                    output = next(made)
                except StopIteration:
                    return
                finally:
                    self._worked(begun)
                yield output
        finally:
            made.close()  # type: ignore[attr-defined]

    def _around(self, enhance: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(enhance)
        def answer(*args: Any, **more: Any) -> Any:
            begun = time.perf_counter()
            try:
                return enhance(*args, **more)
            finally:
                self._worked(begun)

        return answer
