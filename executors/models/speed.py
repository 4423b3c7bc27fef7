"""Apply a speed profile to a denoiser: memory layout, step caches, quantised weights. The table is `executors.models.profiles`.

Call `dress` once, after the weights are read; use `forgetting` around every pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from diffusers import PyramidAttentionBroadcastConfig, TaylorSeerCacheConfig
from diffusers.hooks import HookRegistry, apply_pyramid_attention_broadcast

from executors.models import attention
from executors.models.profiles import Profile
from executors.models.regional import Regional

SDXL, T2V, VACE = "sdxl", "t2v", "vace"
Compiler = Callable[[Hashable], AbstractContextManager[bool]]
"""Returns the context for a pass of one shape; it yields whether the pass runs compiled."""


def dress(profile: Profile, model: str, denoiser: Any, device: torch.device) -> None:
    """Apply `profile` to `denoiser` (SDXL's UNet, Wan's transformer). Once per denoiser."""
    if model == SDXL:
        attention.dress(profile.attention, denoiser)
    if profile.quantised:
        _quantise(denoiser, profile.quantised)
    if profile.channels_last and device.type == "cuda" and model == SDXL:  # no effect on Wan's matrices
        denoiser.to(memory_format=torch.channels_last)
    if profile.step_cache:
        CACHES[model](denoiser)


@contextmanager
def forgetting(denoiser: Any) -> Iterator[None]:
    """Context of a pass: empty the step caches, if any, however it ends. Leftover state would show in the next picture."""
    try:
        yield
    finally:
        HookRegistry.check_if_exists_or_initialize(denoiser).reset_stateful_hooks()


def compiler(profile: Profile, denoiser: Any, device: torch.device) -> Compiler:
    return Regional(denoiser).during if profile.compiled and device.type == "cuda" else lambda shape: nullcontext(False)


def _broadcast(unet: Any) -> None:
    """Enable Pyramid Attention Broadcast (https://arxiv.org/abs/2408.12588), in the middle of the schedule: every second step reuses the
    attention outputs of the step before. It keeps one state per layer, so both halves of the guidance must be in one call, as in SDXL."""
    now = [0.0]
    unet.register_forward_pre_hook(lambda _, args: now.__setitem__(0, float(args[1])))  # the pipeline passes the timestep second
    apply_pyramid_attention_broadcast(
        unet,
        PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2, cross_attention_block_skip_range=2, current_timestep_callback=lambda: now[0]
        ),
    )


def _forecast(transformer: Any) -> None:
    """Enable TaylorSeer, lite (https://arxiv.org/abs/2503.06923): from the fourth step on, every second output is extrapolated from the two
    computed before it. It keeps one state for each half of the guidance, which Wan computes in separate calls (PAB would mix them), and
    predicts the final output, so that VACE's hints are not added twice (as with First Block Cache)."""
    transformer.enable_cache(
        TaylorSeerCacheConfig(
            use_lite_mode=True, cache_interval=2, disable_cache_before_step=3, max_order=1, taylor_factors_dtype=torch.float32
        )
    )


CACHES: dict[str, Callable[[Any], None]] = {SDXL: _broadcast, T2V: _forecast, VACE: _forecast}


def _quantise(denoiser: Any, kind: str) -> None:
    # Optional package: `check_needs` has refused the profile at start if it is not installed.
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, Int8WeightOnlyConfig, quantize_

    logging.getLogger("torchao").setLevel(logging.ERROR)
    quantize_(denoiser, Int8WeightOnlyConfig() if kind == "int8" else Float8DynamicActivationFloat8WeightConfig())
