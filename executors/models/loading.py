"""Helpers for loading and running models: silence the libraries, load complete components, translate errors of the libraries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers.utils.logging
import torch
import transformers.utils.logging

from executors.device_memory import is_out_of_memory
from executors.errors import ExecutorError, ModelFileError
from executors.models.base import ModelPaths
from executors.models.pinned import pinned
from executors.models.structure import of_folder, of_single_file, whole


def quiet() -> None:
    """Disable the libraries' progress bars: an executor's stderr is a log."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


@contextmanager
def loading(root: Path, *places: Path, always: bool = False) -> Iterator[None]:
    """Context for `from_pretrained` of these files and folders of the model folder `root`: checks that they match their pins
    (`executors.models.pinned`), and turns the library's errors into `ModelFileError` naming the folder.
    """
    folder = places[0]
    try:
        with pinned(root, *places, always=always):
            yield
    except (ExecutorError, MemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ModelFileError(f"cannot load {folder}: {error}") from error


def from_folder(kind: Any, root: Path, folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """Load a complete component to the CPU from a folder in the library's own layout. Raises `ModelFileError` naming the first tensor that
    is missing or has a wrong shape, before any is read."""
    if fault := of_folder(kind, folder):
        raise fault.raised(root)
    told: dict[str, Any] = {"trust_remote_code": False} if issubclass(kind, transformers.PreTrainedModel) else {}
    module, info = kind.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True, **told)
    return whole(module.eval(), str(folder.relative_to(root)), info)


def from_single_file(paths: ModelPaths, component: str, dtype: torch.dtype) -> torch.nn.Module:
    """Load one complete SDXL component to the CPU from the checkpoint. Raises `ModelFileError` as `from_folder`."""
    if fault := of_single_file(paths.sdxl_file, paths.sdxl_config, (component,)):
        raise fault.raised(paths.root)
    others = dict.fromkeys({"unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"} - {component})
    config = str(paths.sdxl_config)  # else diffusers would fetch one from the hub
    options = {"config": config, "local_files_only": True, "torch_dtype": dtype, "add_watermarker": False}
    made = getattr(diffusers.StableDiffusionXLPipeline.from_single_file(str(paths.sdxl_file), **others, **options), component)
    return whole(made.eval(), f"{paths.sdxl_file.relative_to(paths.root)}: its {component}")
