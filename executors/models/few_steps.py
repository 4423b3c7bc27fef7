"""Distilled models: a LoRA that lets a denoiser work in few steps, merged into its weights at load time.

Merged, not applied beside them: no extra work in each step, and no further package. W + α/r · B·A (Hu et al. 2021,
https://arxiv.org/abs/2106.09685), in fp32, then rounded once to the weights' own precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
from diffusers import LCMScheduler
from safetensors.torch import load_file

from executors.errors import ModelFileError
from executors.models.adapters import pairs_of
from executors.models.base import Work
from executors.models.loading import loading
from executors.models.profiles import Profile
from executors.models.safetensors_header import read_whole


def shortened(profile: Profile, work: Work) -> Work:
    """Return the work for a distilled model: few steps, no guidance. Unchanged under every other profile."""
    if profile.few_steps is None:
        return work
    least = profile.few_steps.steps if work.strength is None else max(profile.few_steps.steps, ceil(1 / work.strength))
    return replace(work, steps=min(work.steps, least), guidance=1.0)  # img2img must keep at least one step


def distil(profile: Profile, model: str, denoiser: Any, root: Path) -> None:
    """Merge the profile's LoRA for `model` (sdxl, t2v, vace) into `denoiser`. Raises `ModelFileError` for a file that does not fit."""
    if profile.few_steps is None:
        return
    file = root / profile.few_steps.files[model]
    if not file.is_file():
        raise ModelFileError(f"the speed profile {profile.name} needs {file}: put the distilled LoRA there, or choose another profile")
    with loading(root, file):
        found = load_file(file)
        layers = {name.removesuffix(".weight"): tuple(p.shape) for name, p in denoiser.named_parameters() if name.endswith(".weight")}
        try:
            pairs = pairs_of(model, denoiser.config, layers, scaled(found), read_whole(file))
        except ModelFileError as error:
            raise ModelFileError(f"{file.relative_to(root)}: {error}") from error
        add(denoiser, pairs)


@torch.no_grad()
def add(denoiser: Any, pairs: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Add B·A of each layer's pair (r × in, out × r) to its weight; `adapters.pairs_of` has checked the shapes."""
    layers = dict(denoiser.named_modules())
    for name, pair in pairs.items():
        weight = layers[name].weight
        down, up = (half.to(weight.device, torch.float32) for half in pair)
        weight.copy_(weight.float() + (up.flatten(1) @ down.flatten(1)).view(weight.shape))


def scaled(file: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Multiply each α/r into its B. Done before the conversion of names, after which alphas and weights would no longer match."""
    weights = {key: value.float() for key, value in file.items() if not key.endswith(".alpha")}
    for name in (key.removesuffix(".alpha") for key in file if key.endswith(".alpha")):
        for down, up in (("lora_down", "lora_up"), ("lora_A", "lora_B")):
            if (big := f"{name}.{up}.weight") in weights and (small := f"{name}.{down}.weight") in weights:
                weights[big] *= float(file[f"{name}.alpha"]) / len(weights[small])
    return weights


def sampler(schedule: dict[str, Any]) -> LCMScheduler:
    """Return the LCM scheduler, for which SDXL's LCM-LoRAs were distilled (https://arxiv.org/abs/2311.05556)."""
    return LCMScheduler.from_config(schedule)
