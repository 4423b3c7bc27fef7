"""What loading a model has in common for the families kept as folders: checks that name the file, and errors a policy understands."""

from __future__ import annotations

import gc
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers.utils.logging
import torch
import transformers.utils.logging

from ..errors import ModelFileError, OutOfMemory

HEADER_LIMIT = 100_000_000  # bytes; what the safetensors library itself accepts


def quiet() -> None:
    """No progress bars of the libraries: an executor's stderr is a log, and has its own progress."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_folder(folder: Path, needed: tuple[str, ...]) -> None:
    """Raise `ModelFileError` naming the first of `needed` (relative paths; a folder means: with weights in it) that is missing or broken.

    It reads headers only, so it costs nothing even on 20 GB; contents are `executors.models.files`' work (sha256). Loading a truncated
    file would fail too, but deep in a library and without saying which file.
    """
    if not folder.is_dir():
        raise ModelFileError(f"no model folder at {folder}")
    for name in needed:
        path = folder / name
        if not path.exists():
            raise ModelFileError(f"missing: {path}")
        if path.is_dir():
            _check_weights(path)
        elif path.suffix == ".json":
            _read_json(path)


def _check_weights(folder: Path) -> None:
    _read_json(folder / "config.json")
    wanted = set(folder.glob("*.safetensors"))
    for index in folder.glob("*.safetensors.index.json"):
        wanted |= {folder / shard for shard in _read_json(index).get("weight_map", {}).values()}
    if not wanted:
        pickled = sorted(folder.glob("*.bin")) + sorted(folder.glob("*.pt"))
        why = f"{pickled[0]} is pickled, and pickles are never loaded" if pickled else "there are none"
        raise ModelFileError(f"no safetensors weights in {folder}: {why}")
    for path in sorted(wanted):
        check_safetensors(path)


def check_safetensors(path: Path) -> None:
    """Raise `ModelFileError` unless the file is as long as its own header says (https://huggingface.co/docs/safetensors, "Format")."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, HEADER_LIMIT):
                raise ValueError(f"its header would be {length} bytes long")
            header = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"not a safetensors file: {path} ({error})") from error
    if size != 8 + length + end:
        raise ModelFileError(f"truncated or damaged: {path} has {size} bytes, its header says {8 + length + end}")


def _read_json(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"cannot be read: {path} ({error})") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"not a JSON object: {path}")
    return value


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Around `from_pretrained`: whatever it raises about the files becomes a `ModelFileError` that says which folder."""
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
