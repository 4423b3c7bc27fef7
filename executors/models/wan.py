"""Wan 2.1 1.3B: pictures and videos from text (T2V), and from text with reference pictures (VACE, since T2V takes no pictures).

The two pipelines share VAE, text encoder and tokenizer, and the equal weights of their denoisers. Precision: on a GPU, VAE and the norms in
float32, the rest of the denoiser and UMT5 in bfloat16; on a CPU everything in float32. So `.to(bfloat16)` is never used:
`from_pretrained(dtype=…)` keeps the norms in float32.

Each part is a component (`executors.residency`), on the device only while its stage runs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from PIL import Image, ImageOps
from transformers import AutoTokenizer, UMT5EncoderModel

from executors.device_memory import pick_device
from executors.errors import BadOutput, BadWork, ModelFileError
from executors.models import files, samplers, working
from executors.models.attention import during
from executors.models.base import Clip, ModelPaths, OnStep, Output, Picture, References, Work
from executors.models.convert import source_of
from executors.models.few_steps import distil, shortened
from executors.models.loading import from_folder, loading, quiet
from executors.models.profiles import DEFAULT, Profile, facts
from executors.models.quality import check_pixels
from executors.models.speed import T2V, VACE, Compiler, compiler, dress, forgetting
from executors.models.tiling import tiled
from executors.models.tinydir import facts_of
from executors.models.wan_prompt import TOKENS, PromptCache
from executors.residency import Chance, Residency

TEXT, VAE = "wan.text", "wan.vae"
DENOISERS = {T2V: "wan.t2v", VACE: "wan.vace"}
MULTIPLE = 16  # VAE 8 × patch 2
GREY = (128, 128, 128)  # VACE's marker for frames to generate


class Wan:
    """The Wan family on one device; implements `executors.models.base.Family`. Called by one device thread.

    `modes`: the pipelines that this executor may load: "t2v" (no references), "vace" (every other mode).
    """

    name = "wan"

    def __init__(
        self,
        paths: ModelPaths,
        modes: Iterable[str] = (T2V, VACE),
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        profile: Profile = DEFAULT,
        residency: Residency | None = None,
    ) -> None:
        self.paths, self.profile = paths, profile
        self.modes = frozenset(modes)
        if unknown := self.modes - {T2V, VACE}:
            raise ValueError(f"unknown modes {sorted(unknown)}: there are {T2V} and {VACE}")
        self.device = residency.device if residency else device or pick_device()
        self.dtype = dtype or (torch.bfloat16 if self.device.type == "cuda" else torch.float32)
        self.residency = residency or Residency(self.device)
        self._tokenizer: Any = None
        self._pipes: dict[str, Any] = {}
        self._prompts = PromptCache()
        self._compiled: dict[str, Compiler] = {}

    # Loading

    def load(self, modes: Iterable[str] | None = None) -> None:
        """Assemble the pipelines of `modes` (default: all of the constructor's). Raises `ModelFileError`, `OutOfMemory`."""
        quiet()
        for mode in sorted(self.modes if modes is None else modes):
            if mode not in self.modes:
                raise ModelFileError(f"this executor was started without {mode}: it has {', '.join(sorted(self.modes)) or 'nothing'}")
            if mode not in self._pipes:
                files.require(self.paths.root, "wan" if mode == T2V else "vace")
                chance = Chance(self.residency, f"loading {self._folder(mode).name}", loading=True)
                self._pipes[mode] = chance(partial(self._loaded, mode))
                self._compiled[mode] = compiler(self.profile, self._pipes[mode].transformer, self.device)

    def unload(self) -> None:
        self._pipes.clear()
        self._tokenizer = None
        for name in (TEXT, VAE, *DENOISERS.values()):
            self.residency.remove(name)

    def loaded(self) -> frozenset[str]:
        return frozenset(self._pipes)

    def describe(self) -> dict[str, Any]:
        tiny = self._tiny()
        return {
            "family": self.name,
            "models": {mode: self._folder(mode).name for mode in sorted(self.modes)},
            "tiny": tiny is not None,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
        } | facts(self.profile)

    def _folder(self, mode: str) -> Path:
        return self.paths.wan if mode == T2V else self.paths.vace

    def _tiny(self) -> dict[str, Any] | None:
        folder = self._folder(T2V if T2V in self.modes else VACE)
        return facts_of(folder)

    def _loaded(self, mode: str, small: bool) -> Any:
        return self._assemble(mode)

    def _assemble(self, mode: str) -> Any:
        folder, role = self._folder(mode), "wan" if mode == T2V else "vace"
        kind = WanPipeline if mode == T2V else WanVACEPipeline
        words = source_of(self.paths, role, "text_encoder", self.dtype).path
        for name, build, like in (
            # Text encoder and VAE are the same in both folders; the first mode loaded adds them.
            (TEXT, partial(self._build, UMT5EncoderModel, words, self.dtype), None),
            (VAE, partial(self._build, AutoencoderKLWan, folder / "vae", torch.float32), None),
            (DENOISERS[T2V], partial(self._build_denoiser, T2V), None),
            (DENOISERS[VACE], partial(self._build_denoiser, VACE), DENOISERS[T2V]),
        ):
            if not self.residency.known(name):
                self.residency.add(name, build, like)
        # The other parts are read separately.
        with loading(self.paths.root, folder / "tokenizer", folder / "scheduler", folder / "model_index.json"):
            tokenizer = self._tokenizer or AutoTokenizer.from_pretrained(
                folder / "tokenizer", local_files_only=True, trust_remote_code=False
            )
            text_encoder = self.residency.load(TEXT)
            have, expected = len(tokenizer), text_encoder.config.vocab_size
            if have < 0.9 * expected:  # a wrong tokenizer loads without an error, and the pictures then ignore the prompt
                raise ModelFileError(f"not a pair: {folder / 'tokenizer'} has {have} tokens, the text encoder beside it {expected}")
            self._tokenizer = tokenizer
            parts = {"text_encoder": text_encoder, "vae": self.residency.load(VAE), "transformer": self.residency.load(DENOISERS[mode])}
            pipe = kind.from_pretrained(folder, tokenizer=tokenizer, **parts, local_files_only=True, use_safetensors=True)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def _build_denoiser(self, mode: str) -> torch.nn.Module:
        kind = WanTransformer3DModel if mode == T2V else WanVACETransformer3DModel
        transformer = self._build(kind, self._folder(mode) / "transformer", self.dtype)
        distil(self.profile, mode, transformer, self.paths.root)
        dress(self.profile, mode, transformer, self.device)
        return transformer

    def _build(self, kind: Any, folder: Path, dtype: torch.dtype) -> torch.nn.Module:
        with loading(self.paths.root, folder):
            return from_folder(kind, self.paths.root, folder, dtype)

    # Generating

    def generate(self, work: Work, on_step: OnStep) -> Generator[Output, None, None]:
        """Yield the job's pictures (`work.frames == 1`, one per seed) or clip.

        Raises `BadWork` for what Wan cannot make, `BadOutput`, `OutOfMemory`, `ModelFileError`, and what `on_step` raises.
        """
        check(work := shortened(self.profile, work))
        width, height = self.size_of(work)
        mode = T2V if work.references.wan_mode == "none" else VACE
        self.load({mode})
        chance = Chance(self.residency, f"generating {work.job_type} {width}×{height}")
        for seed in work.seeds:
            words = chance(partial(self._encode, mode, work))
            latents = chance(partial(self._denoise, mode, work, width, height, seed, words, on_step))
            frames = chance(partial(self._decode, mode, work, latents))
            yield Picture(frames[0], seed) if work.frames == 1 else Clip(frames, work.fps, seed)

    def together(self, work: Work) -> None:
        """Return None always: a clip fills a GPU by itself, and the pipeline takes one prompt per call."""

    def generate_together(self, works: Sequence[Work], on_steps: Sequence[OnStep]) -> Generator[tuple[int, Output | Exception], None, None]:
        raise BadWork(f"these {len(works)} jobs do not go together: make each alone")

    def size_of(self, work: Work) -> tuple[int, int]:
        """Return the width and height to generate: those requested, or a tiny model's own in the same orientation."""
        tiny = self._tiny()
        if tiny is None:
            return work.width, work.height
        short, long = tiny["short_side"], tiny["long_side"]
        return (short, long) if work.width <= work.height else (long, short)

    @torch.no_grad()
    def _encode(self, mode: str, work: Work, small: bool) -> dict[str, torch.Tensor | None]:
        pipe = self._pipes[mode]
        need = working.text(TOKENS, pipe.text_encoder.config.d_ff, self.dtype.itemsize)

        def encode(text: str) -> torch.Tensor:
            return self._prompts.encode(pipe, text, self.device, lambda: self.residency.hold(TEXT, working=need))

        return {"prompt_embeds": encode(work.prompt), "negative_prompt_embeds": encode(work.negative_prompt) if work.guidance > 1 else None}

    def _denoise(
        self, mode: str, work: Work, width: int, height: int, seed: int, words: dict[str, Any], on_step: OnStep, small: bool
    ) -> torch.Tensor:
        """Return the latents for the VAE, not yet rescaled: (1, 16, 1 + (frames − 1)/4, H/8, W/8)."""
        pipe = self._pipes[mode]
        # A new scheduler per job, so that no state of a cancelled job is left in it.
        pipe.scheduler = samplers.wan(work.sampler, work.shift)
        steps = StepReports(self.device, on_step)
        # The text encoder is not widened: its files are bfloat16, and in float32 it would take 21 GiB.
        dtype = torch.float32 if work.precise and self.dtype != torch.float32 else None
        parts, arguments = [DENOISERS[mode]], {}
        if mode == VACE:
            parts.append(VAE)  # encodes the references
            arguments = conditioning(work.references, width, height, work.frames)
            arguments["conditioning_scale"] = work.reference_strength
        try:
            need = self._need(mode, work, width, height, dtype or self.dtype)
            shape = (width, height, work.frames, dtype)
            with (
                self.residency.hold(*parts, working=need, dtype=dtype),
                self._compiled[mode](shape),
                forgetting(pipe.transformer),
                during(self.profile.attention),
            ):
                latents = pipe(
                    **words,
                    width=width,
                    height=height,
                    num_frames=work.frames,
                    num_inference_steps=work.steps,
                    guidance_scale=work.guidance,
                    # On the CPU, so that a seed gives the same noise on every device.
                    generator=torch.Generator("cpu").manual_seed(seed),
                    output_type="latent",
                    callback_on_step_end=steps,
                    callback_on_step_end_tensor_inputs=["latents"],
                    **arguments,
                ).frames
        finally:
            pipe.vae.clear_cache()
        return latents[:, :, len(arguments.get("reference_images", ())) :]  # drop the reference pictures, prepended as frames

    def _need(self, mode: str, work: Work, width: int, height: int, dtype: torch.dtype) -> int:
        config = self._pipes[mode].transformer.config
        tokens = working.wan_tokens(width * height, work.frames + 4)  # one more latent frame for a reference picture
        hints = len(config.vace_layers) if mode == VACE else 0
        dim = config.num_attention_heads * config.attention_head_dim
        denoise = working.wan_denoise(tokens, config.ffn_dim, dim, hints, dtype.itemsize)
        encode = working.wan_vae(width * height, work.frames, self._pipes[mode].vae.config.base_dim) if mode == VACE else 0
        return max(denoise, encode)  # they run one after the other

    @torch.no_grad()
    def _decode(self, mode: str, work: Work, latents: torch.Tensor, small: bool) -> list[Image.Image]:
        """Decode as a separate stage, outside the pipelines: the denoiser may be evicted, and a retry need not denoise again."""
        pipe, vae = self._pipes[mode], self._pipes[mode].vae
        height, width = (side * pipe.vae_scale_factor_spatial for side in latents.shape[-2:])
        need = working.wan_vae(width * height, work.frames, vae.config.base_dim) // (4 if small else 1)
        mean, std = (torch.tensor(figures).view(1, -1, 1, 1, 1).to(latents.device, vae.dtype) for figures in _figures(vae))
        try:
            with self.residency.hold(VAE, working=need), tiled(vae, width, height, small):
                video = vae.decode(latents.to(vae.dtype) / (1.0 / std) + mean, return_dict=False)[0]
                return to_pictures(pipe.video_processor.postprocess_video(video, output_type="pt")[0])
        finally:
            vae.clear_cache()


def _figures(vae: Any) -> tuple[list[float], list[float]]:
    return vae.config.latents_mean, vae.config.latents_std


class StepReports:
    """Pipeline callback: reports to `on_step` the steps that the device has actually finished.

    The CPU runs ahead of a GPU by whole steps. Waiting for each step's end would leave the GPU idle between two; so each call waits for
    the step before it, and only the last call for its own step.
    """

    def __init__(self, device: torch.device, on_step: OnStep) -> None:
        self.on_step = on_step
        self.cuda = device.type == "cuda"
        self.before: torch.cuda.Event | None = None

    def __call__(self, pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        done, total = index + 1, pipe.num_timesteps
        if self.cuda:
            event = torch.cuda.Event()
            event.record()
            if done == total:
                event.synchronize()
            elif self.before is not None:
                self.before.synchronize()
                done -= 1
            else:
                done = 0
            self.before = event
        self.on_step(done, total)
        return {}


def check(work: Work) -> None:
    """Raise `BadWork` for what the pipelines would round, warn about or silently accept."""
    mode = work.references.wan_mode
    if work.frames < 1 or work.frames % 4 != 1:
        raise BadWork(f"Wan makes 4k+1 frames, not {work.frames}")
    if work.width % MULTIPLE or work.height % MULTIPLE or work.width <= 0 or work.height <= 0:
        raise BadWork(f"Wan's sizes are multiples of {MULTIPLE}, not {work.width}×{work.height}")
    if work.frames == 1 and mode not in ("none", "single"):
        raise BadWork(f"a picture of one frame takes no reference or a single one, not {mode!r}")
    if work.frames > 1 and len(work.seeds) != 1:
        raise BadWork(f"a video has one seed, not {len(work.seeds)}")
    samplers.named("wan", work.sampler)
    if work.steps < 1 or not work.seeds:
        raise BadWork("a job needs at least one step and one seed")


def conditioning(references: References, width: int, height: int, frames: int) -> dict[str, Any]:
    """Return WanVACEPipeline's arguments for a job's references (ali-vilab/VACE: grey frames to fill; mask: black keeps, white generates).

    A single reference is padded with white, as VACE was trained (a crop could lose the head); a first or last frame is cropped at its
    centre to fill the frame.
    """
    if references.single is not None:
        whole = ImageOps.pad(as_rgb(references.single), (width, height), Image.Resampling.LANCZOS, color=(255, 255, 255))
        return {"reference_images": [whole]}
    keep, fill = Image.new("L", (width, height), 0), Image.new("L", (width, height), 255)
    video = [Image.new("RGB", (width, height), GREY)] * frames
    mask = [fill] * frames
    for place, picture in ((0, references.first_frame), (-1, references.last_frame)):
        if picture is not None:
            video[place] = ImageOps.fit(as_rgb(picture), (width, height), Image.Resampling.LANCZOS)
            mask[place] = keep
    return {"video": video, "mask": mask}


def as_rgb(picture: Image.Image) -> Image.Image:
    """Convert to RGB, transparency composited on white: the pipelines crash on a fourth channel."""
    if picture.mode == "RGB":
        return picture
    if picture.has_transparency_data:
        layered = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, (255, 255, 255, 255)), layered).convert("RGB")
    return picture.convert("RGB")


def to_pictures(video: torch.Tensor) -> list[Image.Image]:
    """Convert frames × 3 × H × W in [0, 1] to RGB images. Raises `BadOutput` for NaN or a single colour.

    NaN is checked on the device, before the conversion to bytes, which would hide it as black.
    """
    if not torch.isfinite(video).all():
        raise BadOutput("the model made NaN or infinity")
    pixels = (video * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    check_pixels(pixels)
    return [Image.fromarray(frame) for frame in pixels]
