"""Check each file of a role against its architecture, before anything is loaded (`ourvidz models verify`, `pin` and `convert`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import diffusers
import transformers

from executors.models.adapters import of_ip_adapter, of_lora
from executors.models.base import ModelPaths
from executors.models.profiles import PROFILES
from executors.models.structure import Fault, of_folder, of_single_file

FOLDERS: Mapping[str, tuple[tuple[str, Any], ...]] = {
    # role → its subfolders, with the class that reads each
    "wan": (
        ("transformer", diffusers.WanTransformer3DModel),
        ("vae", diffusers.AutoencoderKLWan),
        ("text_encoder", transformers.UMT5EncoderModel),
    ),
    "vace": (
        ("transformer", diffusers.WanVACETransformer3DModel),
        ("vae", diffusers.AutoencoderKLWan),
        ("text_encoder", transformers.UMT5EncoderModel),
    ),
    "qwen": (("", transformers.Qwen2ForCausalLM),),
    "ip_adapter": (
        ("sdxl_models/image_encoder", transformers.CLIPVisionModelWithProjection),
        ("models/image_encoder", transformers.CLIPVisionModelWithProjection),
    ),
}
# An adapter's file → its image encoder, as in the repository h94/IP-Adapter.
ADAPTERS: Mapping[str, str] = {
    "ip-adapter_sdxl.safetensors": "sdxl_models/image_encoder",
    "ip-adapter-plus-face_sdxl_vit-h.safetensors": "models/image_encoder",
    "ip-adapter-plus_sdxl_vit-h.safetensors": "models/image_encoder",
}
DENOISERS: Mapping[str, tuple[str, Any]] = {
    # a model's name in a profile → its role, and the class of its denoiser
    "sdxl": ("sdxl", diffusers.UNet2DConditionModel),
    "t2v": ("wan", diffusers.WanTransformer3DModel),
    "vace": ("vace", diffusers.WanVACETransformer3DModel),
}


def faults(root: Path, role: str, folder: str) -> Iterator[Fault]:
    """Yield the first fault of each component of a role whose files are all present."""
    paths, home = ModelPaths(root), root / folder
    if role == "sdxl":
        found = [of_single_file(paths.sdxl_file, paths.sdxl_config)]
    else:
        found = [of_folder(kind, home / part) for part, kind in FOLDERS[role]]
    unet = paths.sdxl_config / "unet"
    if role == "ip_adapter" and (unet / "config.json").is_file():  # the check needs the config of the UNet that it is applied to
        there = [(home / "sdxl_models" / name, home / encoder) for name, encoder in ADAPTERS.items()]
        found += [of_ip_adapter(file, encoder, unet) for file, encoder in there if file.is_file()]
    found += _loras(root, role, home)
    yield from (fault for fault in found if fault is not None)


def _loras(root: Path, role: str, home: Path) -> Iterator[Fault | None]:
    named = {(model, root / name) for p in PROFILES.values() if p.few_steps for model, name in p.few_steps.files.items()}
    for model, file in sorted(named):
        of_role, kind = DENOISERS[model]
        if of_role == role and file.is_file():
            yield of_lora(file, model, kind, home / ("config/unet" if model == "sdxl" else "transformer"))
