"""A prepared job's turn on the device, and the queue that hands its outputs to the job's own thread."""

from __future__ import annotations

import queue
import traceback
from collections.abc import Generator

from executors.context import JobRun
from executors.errors import Left
from executors.models.base import DeviceOutput

LOOK = 0.05  # seconds between two checks whether a job that waits for the device is still wanted


class Turn:
    def __init__(self, run: JobRun) -> None:
        self.run = run
        self.taken = False  # by the device thread
        self.left = False  # the job's thread no longer wants the outputs
        self.given = 0
        self._outputs: queue.SimpleQueue[DeviceOutput | BaseException | None] = queue.SimpleQueue()

    # -- the job's thread

    def outputs(self) -> Generator[DeviceOutput, None, None]:
        """Yield each output as soon as it is decoded. Raises the device's exception, after the outputs made before it."""
        try:
            while True:
                try:
                    output = self._outputs.get(timeout=LOOK)
                except queue.Empty:
                    if not self.taken:
                        self.run.hold.check()  # a cancel or a drain need not wait for the device
                    continue
                if output is None:
                    return
                if isinstance(output, BaseException):
                    raise output
                yield output
        finally:
            self.left = True

    # -- the device thread

    def check(self) -> None:
        self.run.hold.check()
        if self.left:
            raise Left

    def give(self, output: DeviceOutput) -> None:
        self._outputs.put(output)
        self.given += 1

    def end(self, error: BaseException | None) -> None:
        self._outputs.put(error)


def forget_frames(error: BaseException | None) -> None:
    """Clear the local variables in an error's traceback. Its frames hold tensors, which would stay on the device while the error is in
    another thread and the next job runs. The line numbers stay."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
