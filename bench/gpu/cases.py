"""The benchmark's cases: job types as rows, the work that a family is given for each, and the minimum FLOPs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu.sizes import SMALL, TRUE, Sizes
from bench.gpu.weights import on_meta
from executors.models.base import References, Work
from state.catalog import JOB_TYPES, JobType

PROMPT = "a lighthouse on a cliff at dusk, waves breaking below, seabirds, a warm light in the window"
NEGATIVE = "low quality, blurry, distorted, text, watermark"
TOKENS = 512  # of UMT5, to which the pipelines pad every prompt


@dataclass(frozen=True)
class Case:
    """One line of the table. `aim` in seconds, for an H200 at the profile `default`. A vace case starts from a first frame."""

    name: str
    lane: str
    job_type: str
    images: int = 1
    aim: float | None = None

    @property
    def kind(self) -> JobType:
        return JOB_TYPES[self.job_type]

    @property
    def family(self) -> str:
        """Family of `bench.gpu.weights.FAMILIES` that the case needs."""
        return {"wan_vace": "vace"}.get(self.lane, self.lane)


CASES = (
    Case("sdxl-fast-x6", "sdxl", "sdxl_image_fast", 6, 4.5),
    Case("sdxl-high-x6", "sdxl", "sdxl_image_high", 6, 7.5),
    Case("sdxl-premium-x6", "sdxl", "sdxl_image_premium", 6),
    Case("image-fast", "wan", "image_fast"),
    Case("image-high", "wan", "image_high"),
    Case("video-fast", "wan", "video_fast", aim=48.0),
    Case("video-high", "wan", "video_high", aim=95.0),
    Case("vace-fast", "wan_vace", "video_fast"),
    Case("vace-high", "wan_vace", "video_high"),
    Case("enhancement", "qwen", "video7b_fast_enhanced"),
)
BY_NAME: Mapping[str, Case] = {case.name: case for case in CASES}


@dataclass(frozen=True)
class Scale:
    """Size of everything: as in production, or small enough for a CPU to run the same code in seconds."""

    sizes: Sizes
    small: bool = False

    def work(self, case: Case, prompt: str = PROMPT, *, steps: int | None = None, least: bool = False) -> Work:
        """`least`: one picture, or five frames; enough to need every model of the job."""
        kind, small = case.kind, self.small or least
        width, height = ((64, 64) if kind.family == "sdxl" else (48, 80)) if self.small else kind.sizes[0]
        images = 1 if least else min(case.images, 2) if small else case.images
        return Work(
            job_id="bench",
            job_type=case.job_type,
            prompt=prompt,
            negative_prompt=NEGATIVE,
            width=width,
            height=height,
            steps=steps or (2 if self.small else kind.steps),
            guidance=kind.guidance,
            seeds=tuple(range(7, 7 + images)),
            frames=min(kind.frames, 5) if small else kind.frames,
            references=References(first_frame=_first_frame(width, height)) if case.lane == "wan_vace" else References(),
        )


PRODUCTION, DRY = Scale(TRUE), Scale(SMALL, small=True)


def _first_frame(width: int, height: int) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


# -- FLOPs, counted operation by operation over tensors that have only a shape -----------------------------------------------------------


def flops(case: Case, scale: Scale) -> tuple[int, int]:
    """FLOPs of a job's denoising and decoding, a multiplication and an addition as two: matrix products, convolutions and attention, by
    torch's FlopCounterMode. Guidance takes two passes a step. Zero for enhancement, which is bound by reading weights, not by
    arithmetic."""
    if case.lane == "qwen":
        return 0, 0
    work = scale.work(case)
    part = {"sdxl": "unet", "wan": "t2v", "wan_vace": "vace"}[case.lane]
    shape = (len(work.seeds), work.width, work.height, work.frames)
    step, decode = _counted(part, scale.small, *shape[1:]), _counted("vae" if part == "unet" else "wan_vae", scale.small, *shape[1:])
    return shape[0] * work.steps * 2 * step, shape[0] * decode


STEADY = 3
"""Number of latents after which Wan's VAE does the same work for each further one (test_bench_gpu.py)."""


@lru_cache
def _counted(part: str, small: bool, width: int, height: int, frames: int) -> int:
    """FLOPs of one forward without batch, or of one decode."""
    wide, high, deep = width // 8, height // 8, (frames + 3) // 4  # both VAEs decode a latent to 8 × 8 pixels, Wan's to four frames as well
    if part == "wan_vae" and deep > STEADY:  # it decodes latents one by one, all alike once its caches are full
        before, full = (_of_forward(part, small, (wide, high, latents)) for latents in (STEADY - 1, STEADY))
        return full + (deep - STEADY) * (full - before)
    return _of_forward(part, small, (wide, high, deep))


def _of_forward(part: str, small: bool, shape: tuple[int, int, int]) -> int:
    sizes = SMALL if small else TRUE
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        _forward(part, on_meta(sizes, part), sizes[part], shape)
    return int(counter.get_total_flops())


def _forward(part: str, module: Any, config: Mapping[str, Any], shape: tuple[int, int, int]) -> None:
    wide, high, deep = shape
    match part:
        case "unet":
            cross = config["cross_attention_dim"]
            pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
            extra = {"text_embeds": torch.empty(1, pooled), "time_ids": torch.empty(1, 6)}
            module(torch.empty(1, 4, high, wide), torch.empty(1), torch.empty(1, 77, cross), added_cond_kwargs=extra)
        case "vae":
            module.decode(torch.empty(1, 4, high, wide))
        case "wan_vae":
            module.decode(torch.empty(1, config["z_dim"], deep, high, wide))
        case "t2v":
            module(torch.empty(1, 16, deep, high, wide), torch.empty(1), torch.empty(1, TOKENS, config["text_dim"]))
        case "vace":
            module(
                torch.empty(1, 16, deep, high, wide),
                torch.empty(1),
                torch.empty(1, TOKENS, config["text_dim"]),
                control_hidden_states=torch.empty(1, config["vace_in_channels"], deep, high, wide),
                control_hidden_states_scale=torch.ones(len(config["vace_layers"])),
            )
