"""SDXL on one device: pictures from text, from an init image (img2img), and with a reference picture (IP-Adapter).

Precision: on a GPU the UNet and text encoders run in bf16 and the VAE in fp32; on a CPU everything is fp32. The pipeline stops at latents;
they are decoded here, in fp32 and one picture at a time: diffusers' own decode fails on a bf16 UNet with an fp32 VAE, a picture can be
uploaded while the next is made, and a cancelled job is not decoded.

Three components (`executors.residency`), each on the device only while its stage runs: text encoders, UNet, VAE.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Hashable, Sequence
from functools import partial
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image, ImageOps
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from executors.device_memory import pick_device
from executors.errors import BadOutput, BadWork, ModelFileError
from executors.models import files, prediction, samplers, sdxl_together, working
from executors.models.base import ModelPaths, OnStep, Output, Picture, Work
from executors.models.convert import source_of
from executors.models.few_steps import distil, sampler, shortened
from executors.models.loading import from_folder, from_single_file, loading, quiet
from executors.models.profiles import DEFAULT, Profile, at_once_of, facts
from executors.models.quality import check_pixels
from executors.models.sdxl_ip import IpAdapters
from executors.models.sdxl_prompt import PromptEncoder
from executors.models.speed import SDXL, compiler, dress, forgetting
from executors.models.tiling import tiled
from executors.models.tinydir import facts_of
from executors.models.wan import StepReports
from executors.residency import Chance, Residency

TEXT, UNET, VAE = "sdxl.text", "sdxl.unet", "sdxl.vae"
VOCABULARY = 49_408  # CLIP's; a missing tokenizer folder loads without an error, with two tokens


class Sdxl:
    """The SDXL family; implements `executors.models.base.Family`. Called by one device thread.

    `at_once` pictures share a pass of the UNet; None: the profile's value on a GPU, 1 on a CPU. With 1 a picture is the same bit for bit
    alone or in a batch, and the first is ready soonest; more is faster on a big GPU, and equal to within 1/255 in fp32.
    """

    name = "sdxl"

    def __init__(
        self,
        paths: ModelPaths,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        at_once: int | None = None,
        profile: Profile = DEFAULT,
        residency: Residency | None = None,
    ) -> None:
        self.paths = paths
        self.device = residency.device if residency else device or pick_device()
        self.dtype = dtype or (torch.bfloat16 if self.device.type == "cuda" else torch.float32)
        self.profile = profile
        self.at_once = at_once_of(profile, at_once, gpu=self.device.type == "cuda")
        self.residency = residency or Residency(self.device)
        self._pipe: Any = None
        self._ip: Any = None
        self._prompts: Any = None

    # Loading

    def load(self) -> None:
        if self._pipe is None:
            quiet()
            files.require(self.paths.root, "sdxl")
            self.unload()  # clean up after a load that failed half-way
            for name, build in ((VAE, self._build_vae), (UNET, self._build_unet), (TEXT, self._build_text)):
                self.residency.add(name, build)
            with loading(self.paths.root, self.paths.sdxl_config):
                pipe = Chance(self.residency, "loading sdxl-lustify", loading=True)(lambda small: self._assemble())
            self._pipe, self._ip, self._prompts = (
                pipe,
                IpAdapters(pipe, self.paths, self.residency, self.dtype),
                PromptEncoder(pipe, self.device),
            )
            self._predicts = prediction.of(self.paths.sdxl_file, self.paths.sdxl_config / "scheduler")
            self._schedule = self._predicts.schedule(pipe.scheduler.config)
            self._compiled = compiler(self.profile, pipe.unet, self.device)

    def _assemble(self) -> StableDiffusionXLPipeline:
        modules = {"vae": self.residency.load(VAE), "unet": self.residency.load(UNET), **dict(self.residency.load(TEXT).named_children())}
        # Reads only tokenizers and schedule, from the config folder.
        pipe = StableDiffusionXLPipeline.from_pretrained(self.paths.sdxl_config, **modules, local_files_only=True, add_watermarker=False)
        for tokenizer in (pipe.tokenizer, pipe.tokenizer_2):
            if (have := len(tokenizer)) != VOCABULARY:
                raise ModelFileError(f"sdxl-lustify/config: its tokenizer has {have} tokens where CLIP has {VOCABULARY}. Fetch it again")
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def _build_vae(self) -> torch.nn.Module:
        # Read separately, in fp32: reading it in bf16 first would lose precision.
        vae = self._read(AutoencoderKL, "vae", torch.float32)
        return vae.to(memory_format=torch.channels_last) if self.profile.channels_last and self.device.type == "cuda" else vae

    def _build_unet(self) -> torch.nn.Module:
        unet = self._read(UNet2DConditionModel, "unet", self.dtype)
        distil(self.profile, SDXL, unet, self.paths.root)
        dress(self.profile, SDXL, unet, self.device)
        return unet

    def _build_text(self) -> torch.nn.Module:
        kinds = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
        return torch.nn.ModuleDict({name: self._read(kind, name, self.dtype) for name, kind in kinds.items()})

    def _read(self, kind: Any, component: str, dtype: torch.dtype) -> torch.nn.Module:
        """Read one component to the CPU: from the folder made by `ourvidz models convert`, else from the single file."""
        source = source_of(self.paths, "sdxl", component, dtype)
        logging.getLogger("diffusers.models.modeling_utils").setLevel(logging.ERROR)  # warns of an empty list of modules at every cast
        places = (source.path, self.paths.sdxl_config) if source.single_file else (source.path,)
        with loading(self.paths.root, *places):
            if source.single_file:
                return from_single_file(self.paths, component, dtype)
            return from_folder(kind, self.paths.root, source.path, dtype)

    def unload(self) -> None:
        if self._pipe is not None:
            self._ip.unload()
        self._pipe = self._ip = self._prompts = None
        for name in (TEXT, UNET, VAE):
            self.residency.remove(name)

    def describe(self) -> dict[str, Any]:
        pin = files.read_manifest(self.paths.root)["files"].get(self.paths.sdxl_file.relative_to(self.paths.root).as_posix(), {})
        return (
            {
                "family": self.name,
                "model": self.paths.sdxl_file.parent.name,
                "sha256": pin.get("sha256"),
                "tiny": self._tiny() is not None,
                "dtype": str(self.dtype).removeprefix("torch."),
                "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            }
            | facts(self.profile)
            | (self._predicts.facts() if self._pipe is not None else {})
        )

    def _tiny(self) -> dict[str, Any] | None:
        return facts_of(self.paths.sdxl_config)

    # Generating

    def size_of(self, work: Work) -> tuple[int, int]:
        """Return the width and height to generate: those requested, or a tiny model's fraction of them, in multiples of 8."""
        scale = (self._tiny() or {}).get("scale", 1)
        return max(8, round(work.width / scale / 8) * 8), max(8, round(work.height / scale / 8) * 8)

    def generate(self, work: Work, on_step: OnStep) -> Generator[Output, None, None]:
        """Yield each picture as soon as it is decoded, in the order of `work.seeds`.

        Raises `BadWork` before anything runs, `ModelFileError`, `OutOfMemory`, `BadOutput` (pictures already yielded are good), and
        what `on_step` raises. In every case the model is reset for the next job.
        """
        check(work := shortened(self.profile, work))
        self.load()
        chance = Chance(self.residency, f"generating {work.job_type} {work.width}×{work.height}")
        try:
            arguments = chance(lambda small: self._arguments(work))
            made = 0
            while made < len(work.seeds):
                # After out of memory, one at a time; each is yielded as soon as it is decoded.
                for latent in chance(partial(self._denoise_some, work, made, arguments, on_step)).split(1):
                    yield Picture(chance(partial(self._decode, latent)), work.seeds[made])
                    made += 1
        finally:
            self._reset()

    def together(self, work: Work) -> Hashable | None:
        return sdxl_together.key(work, self.at_once)

    def generate_together(self, works: Sequence[Work], on_steps: Sequence[OnStep]) -> Generator[tuple[int, Output | Exception], None, None]:
        if len(keys := {self.together(work) for work in works}) != 1 or None in keys:
            raise BadWork(f"these {len(works)} jobs do not go together: make each alone")
        works = [shortened(self.profile, work) for work in works]
        for work in works:
            check(work)
        self.load()
        try:
            yield from sdxl_together.generate(self, works, on_steps)
        finally:
            self._reset()

    def _precision(self, work: Work) -> torch.dtype | None:
        """Return the dtype to widen the weights to, for work repeated in higher precision; else None."""
        return torch.float32 if work.precise and self.dtype != torch.float32 else None

    @torch.no_grad()
    def _arguments(self, work: Work) -> dict[str, Any]:
        """Return the pipeline arguments that all pictures of a job share."""
        width, height = self.size_of(work)
        dtype = self._precision(work)
        need = working.text(tokens=4 * 77, ffn=self._pipe.text_encoder_2.config.intermediate_size)
        words = self._prompts.encode(
            work.prompt, work.negative_prompt, dtype or self.dtype, lambda: self.residency.hold(TEXT, working=need, dtype=dtype)
        )
        arguments = dict(vars(words))
        if work.references.style is not None and work.reference_type is not None:
            arguments["ip_adapter_image_embeds"] = self._ip.attach(
                work.reference_type, work.reference_strength, work.references.style, guided=work.guidance > 1, dtype=dtype or self.dtype
            )
        if work.references.init is None:
            return arguments | {"width": width, "height": height}
        with self.residency.hold(VAE, working=working.sdxl_vae(width * height, self._pipe.vae.config.block_out_channels[0])):
            return arguments | {"image": self._encode(work.references.init, width, height), "strength": work.strength}

    def _encode(self, picture: Image.Image, width: int, height: int) -> Any:
        """Encode the init image, cropped at its centre to the requested shape, with the VAE: a distribution over latents.

        Done here and not in the pipeline, which would leave the VAE in bf16; and only once for all pictures of a job.
        """
        fitted = ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
        pixels = self._pipe.image_processor.preprocess(fitted).to(self.device, torch.float32)
        return self._pipe.vae.encode(pixels).latent_dist

    def _denoise_some(self, work: Work, first: int, arguments: dict[str, Any], on_step: OnStep, small: bool) -> torch.Tensor:
        seeds = work.seeds[first : first + (1 if small else self.at_once)]

        def report(done: int, steps: int) -> None:
            on_step(first * steps + done * len(seeds), len(work.seeds) * steps)

        return self._denoise(work, seeds, arguments, report)

    def _denoise(self, work: Work, seeds: tuple[int, ...], arguments: dict[str, Any], report: OnStep) -> torch.Tensor:
        """Return latents (len(seeds), 4, H/8, W/8) in fp32. `arguments`: shared by all seeds, or with one row for each."""
        dtype = self._precision(work)
        pipe, kind = self._pipe, StableDiffusionXLPipeline
        # On the CPU, so that a seed gives the same noise on every device; one each, so that a picture does not depend on its neighbours.
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        if "image" in arguments:
            # Sampled from each picture's own generator, before its noise, as in the pipeline.
            drawn = torch.cat([arguments["image"].sample(generator) for generator in generators]).to(dtype or self.dtype)
            arguments = arguments | {"image": self._pipe.vae.config.scaling_factor * drawn}
            kind = StableDiffusionXLImg2ImgPipeline
        if kind is not StableDiffusionXLPipeline or dtype is not None:
            # The same modules; for higher precision without the encoders, to whose dtype the pipeline would narrow the embeddings.
            modules = pipe.components | ({"text_encoder": None, "text_encoder_2": None} if dtype else {})
            pipe = kind(**modules, add_watermarker=False)
            pipe.set_progress_bar_config(disable=True)
        # A new scheduler per pass, because a cancelled pass leaves its position in the schedule behind.
        pipe.scheduler = sampler(self._schedule) if self.profile.few_steps else samplers.sdxl(work.scheduler, self._schedule)
        width, height = self.size_of(work)
        need = working.sdxl_denoise(width * height, len(seeds), pipe.unet.config.block_out_channels[0], (dtype or self.dtype).itemsize)
        shape = (len(seeds), width, height, work.guidance > 1, work.reference_type, dtype)
        with self.residency.hold(UNET, *self._ip.attached, working=need, dtype=dtype), self._compiled(shape), forgetting(pipe.unet):
            latents = pipe(
                **arguments,
                num_inference_steps=work.steps,
                guidance_scale=work.guidance,
                num_images_per_prompt=len(seeds) // len(arguments["prompt_embeds"]),
                generator=generators,
                output_type="latent",
                callback_on_step_end=StepReports(self.device, report),
            ).images
        return latents.float()

    @torch.no_grad()
    def _decode(self, latent: torch.Tensor, small: bool) -> Image.Image:
        """Decode latents (1, 4, H/8, W/8) into a picture.

        Pass a split of the batch, not an index: a re-added batch dimension has another stride, for which the convolutions choose another
        summation order, and so give other bits.
        """
        if not torch.isfinite(latent).all():
            raise BadOutput("the model made NaN or infinity")
        vae = self._pipe.vae
        height, width = (side * 2 ** (len(vae.config.block_out_channels) - 1) for side in latent.shape[-2:])
        need = working.sdxl_vae(width * height, vae.config.block_out_channels[1]) // (4 if small else 1)
        with self.residency.hold(VAE, working=need), tiled(vae, width, height, small):
            pixels = vae.decode(latent / vae.config.scaling_factor).sample[0]
        if not torch.isfinite(pixels).all():
            raise BadOutput("the decoder made NaN or infinity")
        array = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        check_pixels(array)
        return Image.fromarray(array)

    def _reset(self) -> None:
        if self._pipe is not None:
            self._ip.detach()
            self._pipe.scheduler = samplers.sdxl(None, self._schedule)


def check(work: Work) -> None:
    """Raise `BadWork` for what the pipeline would round, ignore, or fail on with an obscure error."""
    if work.width % 8 or work.height % 8 or work.width <= 0 or work.height <= 0:
        raise BadWork(f"SDXL's sizes are multiples of 8, not {work.width}×{work.height}")
    if work.steps < 1 or not work.seeds:
        raise BadWork("a job needs at least one step and one seed")
    if (work.strength is None) != (work.references.init is None):
        raise BadWork("an image made from a first picture needs that picture and a strength, both")
    if work.strength is not None and int(work.steps * work.strength) < 1:
        raise BadWork(f"strength {work.strength} of {work.steps} steps leaves none to run: ask for more of either")
    if (work.reference_type is None) != (work.references.style is None):
        raise BadWork("a reference picture needs a reference type, and a type needs its picture")
    if work.scheduler is not None:
        samplers.named("sdxl", work.scheduler)
