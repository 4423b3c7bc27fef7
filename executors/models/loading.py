"""What loading and running a model have in common: quiet libraries, and errors that policy understands instead of theirs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import diffusers.utils.logging
import torch
import transformers.utils.logging

from ..errors import ExecutorError, ModelFileError, OutOfMemory
from .pinned import pinned

T = TypeVar("T")


def quiet() -> None:
    """No progress bars of the libraries: an executor's stderr is a log, and has its own progress."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def loading(root: Path, *places: Path, always: bool = False) -> Iterator[None]:
    """Around `from_pretrained` of these files and folders of the model folder `root`: they are what was pinned (`executors.models.pinned`),
    and whatever the library raises about them becomes a `ModelFileError` that says which folder.
    """
    folder = places[0]
    try:
        with pinned(root, *places, always=always):
            yield
    except (ExecutorError, MemoryError):
        raise
    except Exception as error:
        if _is_out_of_memory(error):
            raise
        raise ModelFileError(f"cannot load {folder}: {error}") from error


def within_memory(doing: str, action: Callable[[], T]) -> T:
    """`action()`, with the device's (or the machine's) out of memory turned into `OutOfMemory`, the memory given back first.

    A function and no context manager: those hold the traceback while they exit, the traceback holds the frames, and they the tensors.
    """
    try:
        return action()
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        failed = (str(error) or type(error).__name__).splitlines()[0]
    # Out of the handler the error is gone, and with it all that its frames held.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemory(f"out of memory while {doing}: {failed}")


def _is_out_of_memory(error: BaseException) -> bool:
    # Plain RuntimeErrors, by their words: of the CPU's allocator, of the driver, and of cuBLAS asking for its workspace.
    words = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(w in str(error) for w in words)
