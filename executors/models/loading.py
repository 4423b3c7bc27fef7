"""What loading and running a model have in common: quiet libraries, and errors that policy understands instead of theirs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers.utils.logging
import torch
import transformers.utils.logging

from ..errors import ModelFileError, OutOfMemory


def quiet() -> None:
    """No progress bars of the libraries: an executor's stderr is a log, and has its own progress."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Around `from_pretrained`: whatever it raises about the files becomes a `ModelFileError` that says which folder.

    `executors.models.files` has looked at every file before; this is for what it cannot see, such as weights that do not fit their config.
    """
    with memory_guard(f"loading {folder.name}"):
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(f"cannot load {folder}: {error}") from error
        except RuntimeError as error:
            if _is_out_of_memory(error):
                raise
            raise ModelFileError(f"cannot load {folder}: {error}") from error  # shapes that do not fit the config
        except Exception as error:  # SafetensorError derives from Exception alone
            if type(error).__name__ != "SafetensorError":
                raise
            raise ModelFileError(f"cannot load {folder}: {error}") from error


@contextmanager
def memory_guard(doing: str) -> Iterator[None]:
    """Turn the device's (or the machine's) out of memory into `OutOfMemory`, with the memory given back first."""
    failed = ""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        # The traceback holds the frames, and they hold the tensors: forget both before asking for the memory back.
        failed = str(error).splitlines()[0] if str(error) else type(error).__name__
        error.__traceback__ = None
    if failed:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory(f"out of memory while {doing}: {failed}")


def _is_out_of_memory(error: BaseException) -> bool:
    # The CPU's allocator raises a plain RuntimeError.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
