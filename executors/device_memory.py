"""The torch device, and out of memory on it as an error of ours."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from executors.errors import OutOfMemory

T = TypeVar("T")


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def within_memory(doing: str, action: Callable[[], T]) -> T:
    """Run `action()`; on out of memory of the device or the machine, free the memory and raise `OutOfMemory`.

    Not a context manager, because that holds the traceback while it exits, the traceback holds the frames, and they the tensors.
    """
    try:
        return action()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        failed = (str(error) or type(error).__name__).splitlines()[0]
    # Outside the handler, where the error is released, and with it the tensors of its frames.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemory(f"out of memory while {doing}: {failed}")


def is_out_of_memory(error: BaseException) -> bool:
    # Plain RuntimeErrors, recognised by message: of the CPU allocator, the driver, and cuBLAS (workspace allocation).
    words = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(w in str(error) for w in words)
