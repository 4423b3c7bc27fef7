"""The plain way, like OurVidz's first worker (shared documents of July 2025): for each job load the pipeline, call it, save the files,
upload them one after the other, drop the pipeline.

Favoured in three ways: its files were just read and are in the page cache, UMT5 is in bf16 already (theirs was fp32, twice the bytes), and
no process is started per job.
"""

from __future__ import annotations

import gc
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, StableDiffusionXLPipeline, WanPipeline, WanVACEPipeline
from PIL import Image
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.gpu.cases import Case, Scale
from bench.gpu.meter import DECODE, DENOISE, Card, Meter
from bench.gpu.ours import Post, Took
from executors import media
from executors.models.base import ModelPaths, Work
from executors.models.wan import conditioning


@dataclass
class Plain:
    card: Card
    scale: Scale
    models: Path
    post: Post
    meter: Meter

    def job(self, case: Case, tokens: int = 0) -> Took:
        """Run one job from nothing. `tokens`: how many an enhancement must write, as many as ours did."""
        gc.collect()
        if self.card.cuda:
            torch.cuda.empty_cache()
        self.meter.take()
        self.card.forget_peak()
        work = self.scale.work(case)
        load, generate = {"sdxl": (self._load_sdxl, self._sdxl), "qwen": (self._load_qwen, self._qwen(tokens))}.get(
            case.lane, (lambda: self._load_wan(case.lane), self._wan)
        )
        begun = self.card.now()
        pipe = load()
        loaded = self.card.now()
        files: dict[str, bytes] = generate(pipe, work)
        free = self.card.now()
        for name, data in files.items():
            self.post.put(f"plain-{name}", data)
        whole = time.perf_counter() - begun
        seconds = self.meter.take()
        return Took(free - begun, whole, seconds[DENOISE], seconds[DECODE], tokens, loaded - begun, self.card.peak())

    @property
    def _paths(self) -> ModelPaths:
        return ModelPaths(self.models)

    def _dtype(self, on_cuda: torch.dtype) -> torch.dtype:
        return on_cuda if self.card.cuda else torch.float32

    # SDXL: the whole batch in one pass, in fp16; the pipeline itself upcasts the VAE to fp32

    def _load_sdxl(self) -> Any:
        pipe = StableDiffusionXLPipeline.from_single_file(
            str(self._paths.sdxl_file),
            config=str(self._paths.sdxl_config),
            local_files_only=True,
            torch_dtype=self._dtype(torch.float16),
            add_watermarker=False,
        )
        return pipe.to(self.card.device)

    def _sdxl(self, pipe: Any, work: Work) -> dict[str, bytes]:
        images = pipe(
            work.prompt,
            negative_prompt=work.negative_prompt,
            width=work.width,
            height=work.height,
            num_inference_steps=work.steps,
            guidance_scale=work.guidance,
            num_images_per_prompt=len(work.seeds),
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in work.seeds],
        ).images
        return {f"{n}.png": _png(image) for n, image in enumerate(images)}

    # Wan

    def _load_wan(self, lane: str) -> Any:
        folder, kind = (self._paths.wan, WanPipeline) if lane == "wan" else (self._paths.vace, WanVACEPipeline)
        vae = AutoencoderKLWan.from_pretrained(folder / "vae", dtype=torch.float32, local_files_only=True)
        pipe = kind.from_pretrained(folder, vae=vae, dtype=self._dtype(torch.bfloat16), local_files_only=True)
        return pipe.to(self.card.device)

    def _wan(self, pipe: Any, work: Work) -> dict[str, bytes]:
        more = conditioning(work.references, work.width, work.height, work.frames) if work.references.first_frame is not None else {}
        frames = pipe(
            prompt=work.prompt,
            negative_prompt=work.negative_prompt,
            width=work.width,
            height=work.height,
            num_frames=work.frames,
            num_inference_steps=work.steps,
            guidance_scale=work.guidance,
            generator=torch.Generator("cpu").manual_seed(work.seeds[0]),
            output_type="pil",
            **more,
        ).frames[0]
        if work.frames == 1:
            return {"0.png": _png(frames[0])}
        film = self.post.folder / "plain.part.mp4"
        media.encode_mp4(frames, work.fps, film, {})
        return {"0.mp4": film.read_bytes()}

    # Qwen

    def _load_qwen(self) -> Any:
        folder = self._paths.qwen
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=self._dtype(torch.bfloat16), local_files_only=True)
        return model.eval().to(self.card.device), AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def _qwen(self, tokens: int) -> Callable[[Any, Work], dict[str, bytes]]:
        def write(loaded: Any, work: Work) -> dict[str, bytes]:
            model, tokenizer = loaded
            turns = [{"role": "user", "content": work.prompt}]
            inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
            with torch.inference_mode():
                model.generate(**inputs.to(self.card.device), min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False)
            return {}

        return write


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
