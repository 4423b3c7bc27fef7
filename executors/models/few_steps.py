"""Distilled models: a LoRA that lets a denoiser draw in a few steps what took it many, added into its weights when they are loaded.

Added and not kept beside them: nothing is computed twice in each step, and no further package is needed. W + α/r · B·A (Hu et al. 2021,
https://arxiv.org/abs/2106.09685), in fp32, then rounded to the weights' own precision once.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
from diffusers import LCMScheduler
from diffusers.loaders import StableDiffusionXLLoraLoaderMixin, WanLoraLoaderMixin
from diffusers.utils import convert_unet_state_dict_to_peft
from safetensors.torch import load_file

from executors.errors import ModelFileError
from executors.models.base import Work
from executors.models.loading import loading
from executors.models.profiles import Profile


def shortened(profile: Profile, work: Work) -> Work:
    """The work as a distilled model does it: few steps, no guidance. Unchanged under every other profile."""
    if profile.few_steps is None:
        return work
    least = profile.few_steps.steps if work.strength is None else max(profile.few_steps.steps, ceil(1 / work.strength))
    return replace(work, steps=min(work.steps, least), guidance=1.0)  # of a first picture at least one step must be left


def distil(profile: Profile, model: str, denoiser: Any, root: Path) -> None:
    """Add the profile's LoRA for `model` (sdxl, t2v, vace) into `denoiser`. Raises `ModelFileError` for a file that does not fit it."""
    if profile.few_steps is None:
        return
    file = root / profile.few_steps.files[model]
    if not file.is_file():
        raise ModelFileError(f"the speed profile {profile.name} needs {file}: put the distilled LoRA there, or choose another profile")
    with loading(root, file):
        added = add(denoiser, _by_layer(model, denoiser, load_file(file)))
    if not added:
        raise ModelFileError(f"{file} holds no LoRA for {model}: it fits none of its layers")


@torch.no_grad()
def add(denoiser: Any, weights: dict[str, torch.Tensor]) -> int:
    """Add every pair `<layer>.lora_A.weight` (r × in), `<layer>.lora_B.weight` (out × r); returns how many. Raises `KeyError` for a layer
    that `denoiser` does not have: a LoRA of another model must not be added in part."""
    layers = dict(denoiser.named_modules())
    pairs = sorted(key.removesuffix(".lora_A.weight") for key in weights if key.endswith(".lora_A.weight"))
    if strange := [name for name in pairs if name not in layers]:
        raise KeyError(f"no layer {strange[0]} in this model")
    for name in pairs:
        weight = layers[name].weight
        down, up = (weights[f"{name}.lora_{half}.weight"].to(weight.device, torch.float32) for half in "AB")
        weight.copy_(weight.float() + (up.flatten(1) @ down.flatten(1)).view(weight.shape))
    return len(pairs)


def _by_layer(model: str, denoiser: Any, file: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The file's weights by layer, from any of the layouts that diffusers knows (kohya's, its own, ComfyUI's)."""
    weights = _scaled(file)
    if model == "sdxl":
        found, prefix = StableDiffusionXLLoraLoaderMixin.lora_state_dict(weights, unet_config=denoiser.config)[0], "unet."
    else:
        found, prefix = WanLoraLoaderMixin.lora_state_dict(weights), "transformer."
    ours = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
    return ours if any(".lora_A." in key for key in ours) else convert_unet_state_dict_to_peft(ours)


def _scaled(file: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each α/r taken into its B, here where both names are still the file's own: converted, they would no longer match."""
    weights = {key: value.float() for key, value in file.items() if not key.endswith(".alpha")}
    for name in (key.removesuffix(".alpha") for key in file if key.endswith(".alpha")):
        for down, up in (("lora_down", "lora_up"), ("lora_A", "lora_B")):
            if (big := f"{name}.{up}.weight") in weights:
                weights[big] *= float(file[f"{name}.alpha"]) / len(weights[f"{name}.{down}.weight"])
    return weights


def sampler(schedule: dict[str, Any]) -> LCMScheduler:
    """What SDXL's distilled LoRAs of the LCM kind were made for (https://arxiv.org/abs/2311.05556)."""
    return LCMScheduler.from_config(schedule)
