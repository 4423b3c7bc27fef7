"""`exact` against plain diffusers scripts, written as in its documentation: the same pixels to the bit, for every job type."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UniPCMultistepScheduler,
    WanPipeline,
    WanVACEPipeline,
)
from PIL import Image, ImageOps

from executors.models.base import Clip, Family, ModelPaths, References, Work
from executors.models.profiles import EXACT
from executors.models.sdxl import Sdxl
from executors.models.wan import Wan
from state.catalog import JOB_TYPES, JobType
from state.schedulers import find

PROMPT, NEGATIVE = "a red cat on a mat", "ugly, bad anatomy"
STEPS = 5  # of a schedule; all other settings are the job type's own
FRAMES = 9
Pixels = np.ndarray[Any, Any]


def photo(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 4, 3), dtype=np.uint8)).resize(
        (300, 375), Image.Resampling.BICUBIC
    )


def work_of(kind: JobType, seeds: tuple[int, ...] = (7,), **more: Any) -> Work:
    if kind.init_image:
        more = {"strength": kind.strength, "references": References(init=photo(1))} | more
    (width, height), frames = kind.sizes[0], FRAMES if kind.video else 1
    return Work("job", kind.name, PROMPT, NEGATIVE, width, height, STEPS, kind.guidance, seeds, frames=frames, **more)


def made(family: Family, work: Work) -> list[Pixels]:
    def frames(output: Any) -> list[Image.Image]:
        return output.frames if isinstance(output, Clip) else [output.image]

    return [np.stack([np.asarray(frame) for frame in frames(output)]) for output in family.generate(work, lambda done, total: None)]


def same(ours: list[Pixels], plain: list[Pixels]) -> None:
    assert len(ours) == len(plain)
    for one, other in zip(ours, plain, strict=True):
        assert one.std() > 5
        assert np.array_equal(one, other), np.abs(one.astype(int) - other).max()


SDXL = [kind for kind in JOB_TYPES.values() if kind.family == "sdxl"]
WAN = [kind for kind in JOB_TYPES.values() if kind.family == "wan"]


@pytest.fixture(scope="module")
def sdxl(tiny_root: Path) -> Iterator[Sdxl]:
    model = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), profile=EXACT, at_once=4)
    model.load()
    yield model
    model.unload()


@pytest.fixture(scope="module")
def wan(tiny_root: Path) -> Iterator[Wan]:
    model = Wan(ModelPaths(tiny_root), device=torch.device("cpu"), profile=EXACT)
    model.load()
    yield model
    model.unload()


@pytest.fixture
def plain_sdxl(one_plain_sdxl: StableDiffusionXLPipeline) -> Iterator[StableDiffusionXLPipeline]:
    """Reset scheduler and adapter after each test."""
    pipe, scheduler = one_plain_sdxl, one_plain_sdxl.scheduler
    yield pipe
    pipe.scheduler = scheduler
    pipe.unload_ip_adapter()


@pytest.fixture(scope="module")
def one_plain_sdxl(tiny_root: Path) -> StableDiffusionXLPipeline:
    paths = ModelPaths(tiny_root)
    pipe = StableDiffusionXLPipeline.from_single_file(
        str(paths.sdxl_file), config=str(paths.sdxl_config), local_files_only=True, dtype=torch.float32, add_watermarker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def script_sdxl(pipe: Any, model: Sdxl, work: Work, **more: Any) -> list[Pixels]:
    """One call per image, as in a script for six images with six independent seeds."""
    width, height = model.size_of(work)
    if work.references.init is not None:
        pipe = StableDiffusionXLImg2ImgPipeline(**pipe.components, add_watermarker=False)
        pipe.set_progress_bar_config(disable=True)
        more |= {"image": ImageOps.fit(work.references.init, (width, height), Image.Resampling.LANCZOS), "strength": work.strength}
    else:
        more |= {"width": width, "height": height}
    return [
        np.asarray(
            pipe(
                prompt=work.prompt,
                negative_prompt=work.negative_prompt,
                num_inference_steps=work.steps,
                guidance_scale=work.guidance,
                generator=[torch.Generator().manual_seed(seed)],
                **more,
            ).images[0]
        )[None]
        for seed in work.seeds
    ]


@pytest.mark.parametrize("kind", SDXL, ids=lambda kind: kind.name)
def test_every_sdxl_job_type_equals_the_plain_pipeline(sdxl: Sdxl, plain_sdxl: StableDiffusionXLPipeline, kind: JobType) -> None:
    work = work_of(kind, seeds=(7, 8, 9))
    same(made(sdxl, work), script_sdxl(plain_sdxl, sdxl, work))


@pytest.mark.parametrize("more", [{"width": 832, "height": 1216}, {"guidance": 1.0}, {"negative_prompt": ""}], ids=str)
def test_sdxl_variants_equal_the_plain_pipeline(sdxl: Sdxl, plain_sdxl: StableDiffusionXLPipeline, more: dict[str, Any]) -> None:
    work = Work(**vars(work_of(JOB_TYPES["sdxl_image_fast"])) | more)
    same(made(sdxl, work), script_sdxl(plain_sdxl, sdxl, work))


@pytest.mark.parametrize(
    "kind",
    [EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler],
    ids=lambda kind: kind.__name__,
)
@pytest.mark.parametrize("job_type", ["sdxl_image_high", "sdxl_img2img"])
def test_every_sdxl_scheduler_equals_the_plain_pipeline(
    sdxl: Sdxl, plain_sdxl: StableDiffusionXLPipeline, kind: Any, job_type: str
) -> None:
    assert find("sdxl", kind.__name__)
    work = work_of(JOB_TYPES[job_type], scheduler=kind.__name__)
    plain_sdxl.scheduler = kind.from_config(plain_sdxl.scheduler.config)
    same(made(sdxl, work), script_sdxl(plain_sdxl, sdxl, work))


@pytest.mark.parametrize(
    ("reference_type", "weights", "encoder", "scale"),
    [
        ("style", "ip-adapter_sdxl.safetensors", "image_encoder", {"up": {"block_0": [0.0, 0.7, 0.0]}}),
        ("composition", "ip-adapter_sdxl.safetensors", "image_encoder", {"down": {"block_2": [0.0, 0.7]}}),
        ("character", "ip-adapter-plus-face_sdxl_vit-h.safetensors", "models/image_encoder", 0.7),
    ],
)
@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "sdxl_img2img"])
def test_every_sdxl_reference_type_equals_the_plain_pipeline(
    sdxl: Sdxl,
    plain_sdxl: StableDiffusionXLPipeline,
    tiny_root: Path,
    job_type: str,
    reference_type: str,
    weights: str,
    encoder: str,
    scale: Any,
) -> None:
    kind = JOB_TYPES[job_type]
    references = References(init=photo(1) if kind.init_image else None, style=photo(2))
    work = work_of(kind, seeds=(7, 8), reference_type=reference_type, references=references)
    folder = str(ModelPaths(tiny_root).ip_adapter)
    plain_sdxl.load_ip_adapter(folder, subfolder="sdxl_models", weight_name=weights, image_encoder_folder=encoder, local_files_only=True)
    plain_sdxl.set_ip_adapter_scale(scale)
    same(made(sdxl, work), script_sdxl(plain_sdxl, sdxl, work, ip_adapter_image=photo(2)))


@cache
def plain_wan(root: Path, *, vace: bool) -> Any:
    paths = ModelPaths(root)
    folder, kind = (paths.vace, WanVACEPipeline) if vace else (paths.wan, WanPipeline)
    vae = AutoencoderKLWan.from_pretrained(folder, subfolder="vae", dtype=torch.float32)
    pipe = kind.from_pretrained(folder, vae=vae, dtype=torch.float32)
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=5.0)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def script_wan(root: Path, model: Wan, work: Work, **more: Any) -> list[Pixels]:
    width, height = model.size_of(work)
    frames = plain_wan(root, vace=work.references.wan_mode != "none")(
        prompt=work.prompt,
        negative_prompt=work.negative_prompt,
        width=width,
        height=height,
        num_frames=work.frames,
        num_inference_steps=work.steps,
        guidance_scale=work.guidance,
        generator=torch.Generator().manual_seed(work.seeds[0]),
        output_type="pil",
        **more,
    ).frames[0]
    return [np.stack([np.asarray(frame) for frame in frames])]


@pytest.mark.parametrize("kind", WAN, ids=lambda kind: kind.name)
def test_every_wan_job_type_equals_the_plain_pipeline(wan: Wan, tiny_root: Path, kind: JobType) -> None:
    work = work_of(kind)
    same(made(wan, work), script_wan(tiny_root, wan, work))


def conditions(mode: str, size: tuple[int, int], frames: int) -> dict[str, Any]:
    """As VACE's authors do: a single reference whole on white; frames to keep among grey frames to fill."""
    if mode == "single":
        return {"reference_images": [ImageOps.pad(photo(3), size, Image.Resampling.LANCZOS, color=(255, 255, 255))]}
    video, mask = [Image.new("RGB", size, (128, 128, 128))] * frames, [Image.new("L", size, 255)] * frames
    for place, seed, modes in ((0, 4, ("start", "both")), (-1, 5, ("end", "both"))):
        if mode in modes:
            video[place], mask[place] = ImageOps.fit(photo(seed), size, Image.Resampling.LANCZOS), Image.new("L", size, 0)
    return {"video": video, "mask": mask}


@pytest.mark.parametrize(
    ("job_type", "mode"), [("video_fast", mode) for mode in ("none", "single", "start", "end", "both")] + [("image_high", "single")]
)
def test_every_wan_reference_mode_equals_the_plain_pipeline(wan: Wan, tiny_root: Path, job_type: str, mode: str) -> None:
    references = References(
        single=photo(3) if mode == "single" else None,
        first_frame=photo(4) if mode in ("start", "both") else None,
        last_frame=photo(5) if mode in ("end", "both") else None,
    )
    work = work_of(JOB_TYPES[job_type], references=references, reference_strength=1.0)
    assert references.wan_mode == mode
    more = conditions(mode, wan.size_of(work), work.frames) if mode != "none" else {}
    same(made(wan, work), script_wan(tiny_root, wan, work, **more))


def test_all_twelve_job_types_were_compared() -> None:
    assert len(SDXL) + len(WAN) == len(JOB_TYPES) == 12
