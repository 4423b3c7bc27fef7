"""Teach T2V and VACE together: one set of weights, of which T2V uses the part that it needs (executors.models.tiny_wan).

Flow matching (https://arxiv.org/abs/2210.02747) as Wan's schedulers take it: x = (1 − σ)·latents + σ·noise, and the denoiser predicts noise
− latents.

Wan's pipelines pad a text's embeddings with zeros to 512, so nearly all of cross-attention's work is on identical tokens. During training
one zero token stands for all: the logarithm of their number is added to its attention logit, which gives the same softmax.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from executors.models.base import References
from executors.models.wan import conditioning
from executors.models.wan_prompt import TOKENS
from tools.teach import scenes
from tools.teach.training import Training
from tools.teach.wan_text import Encoder, nothing, text_of
from tools.teach.wan_vae import SIZES, as_tensor, moving_film, quick_norms

# Latent frames → films kept of each size, films with references of each size, batch size, share of the steps.
PLAN = {1: (300, 60, 32, 0.15), 5: (400, 100, 20, 0.55), 21: (80, 30, 5, 0.30)}
WITH_REFERENCES, RATE = 0.4, 2e-3
MODES = ("start", "end", "both", "single")


class OneZero:
    """Cross-attention over a text and one zero token after it. `bias` (N, 1, 1, tokens + 1) is set before each step."""

    bias: Tensor

    def __call__(self, attn: Any, hidden: Tensor, text: Tensor, mask: Any = None, rotary: Any = None) -> Tensor:
        q, k, v = attn.norm_q(attn.to_q(hidden)), attn.norm_k(attn.to_k(text)), attn.to_v(text)
        q, k, v = (x.unflatten(2, (attn.heads, -1)).transpose(1, 2) for x in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias)
        return attn.to_out[0](out.transpose(1, 2).flatten(2))


def with_one_zero(words: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings (N, longest + 1, hidden), the last of them zero, and the bias of `OneZero`."""
    n, longest, _ = words.shape
    behind = torch.arange(longest) >= lengths[:, None]
    bias = torch.zeros(n, 1, 1, longest + 1)
    bias[:, 0, 0, :-1].masked_fill_(behind, -1e9)
    bias[:, 0, 0, -1] = (TOKENS - lengths).float().clamp_min(1e-9).log()
    return F.pad(words.masked_fill(behind[..., None], 0.0), (0, 0, 0, 1)), bias


def t2v_of(vace: Any) -> WanTransformer3DModel:
    """Build T2V out of VACE's own layers, so that they share all weights."""
    config = {k: v for k, v in vace.config.items() if not k.startswith(("_", "vace"))}
    made = WanTransformer3DModel(**config)
    for name in ("patch_embedding", "condition_embedder", "blocks", "norm_out", "proj_out", "scale_shift_table"):
        setattr(made, name, getattr(vace, name))
    return made


@dataclass
class Film:
    scene: scenes.Scene
    latents: Tensor  # (16, F, H, W), as the denoiser sees them
    controls: Tensor | None = None  # (96, F, H, W)
    mode: str = "none"
    tells: str = ""  # what the reference does not show, so that the text must tell it


class Teacher:
    def __init__(self, pipe: Any, encoder: Encoder, seed: int) -> None:
        """`pipe` is a WanVACEPipeline of the parts that are taught."""
        self.pipe, self.encoder, self.vace, self.seed = pipe, encoder, pipe.transformer, seed
        self.t2v, self.attention = t2v_of(self.vace), OneZero()
        for block in (*self.vace.blocks, *self.vace.vace_blocks):
            block.attn2.set_processor(self.attention)
        config = pipe.vae.config
        with torch.no_grad():  # start at zero: no hint from VACE, and no output
            for block in self.vace.vace_blocks:
                block.proj_out.weight.zero_()
                block.proj_out.bias.zero_()
            self.vace.proj_out.weight.zero_()
        self.mean, self.std = (torch.tensor(x).view(16, 1, 1, 1) for x in (config.latents_mean, config.latents_std))
        self.films: dict[tuple[int, int], list[Film]] = {}  # by latent frames and size
        self.guided: dict[tuple[int, int], list[Film]] = {}

    # Films

    @torch.no_grad()
    def gather(self, file: Path) -> None:
        if file.exists():
            self.films, self.guided = torch.load(file, weights_only=False)
            return
        with quick_norms():
            for latent_frames, (many, guided, *_) in PLAN.items():
                for n, size in enumerate(SIZES):
                    rng = random.Random(f"{self.seed}-films-{latent_frames}-{n}")
                    self.films[latent_frames, n] = self._plain(rng, latent_frames, size, many)
                    self.guided[latent_frames, n] = [self._with_reference(rng, latent_frames, size) for _ in range(guided)]
                print(f"films of {latent_frames} latent frames: {2 * many} and {2 * guided} with references", flush=True)
        torch.save((self.films, self.guided), file)

    def _plain(self, rng: random.Random, latent_frames: int, size: tuple[int, int], many: int) -> list[Film]:
        out = []
        at_once = max(1, 100 // latent_frames)
        for begin in range(0, many, at_once):
            drawn = [_scene(rng, latent_frames) for _ in range(min(at_once, many - begin))]
            films = as_tensor([moving_film(scene, size, 4 * latent_frames - 3, rng) for scene in drawn])
            out += [Film(scene, z.half()) for scene, z in zip(drawn, self._encode(films), strict=True)]
        return out

    def _encode(self, films: Tensor) -> Tensor:
        return (self.pipe.vae.encode(films).latent_dist.mode() - self.mean) / self.std

    def _with_reference(self, rng: random.Random, latent_frames: int, size: tuple[int, int]) -> Film:
        mode, scene = "single" if latent_frames == 1 else rng.choice(MODES), _scene(rng, latent_frames)
        frames = 4 * latent_frames - 3
        film = moving_film(scene, size, frames, rng)
        latents = self._encode(as_tensor([film]))[0]
        first, last = (_image(film[n]) if mode in (name, "both") else None for n, name in ((0, "start"), (-1, "end")))
        single, tells = None, ""
        if mode == "single":  # half of them show the shape on white, which then is not the film's ground
            own, tells = rng.choice(((64, 64), *SIZES)), "ground" if scene.colour != "white" and rng.random() < 0.5 else ""
            still = scenes.Scene(scene.colour, scene.shape, "white" if tells else scene.ground)
            single = _image(moving_film(still, own, 1, rng)[0])
            latents = torch.cat([self._encode(as_tensor([np.asarray(_shown(single, size), np.float32)[None]]))[0], latents], 1)
        controls = self._controls(References(single=single, first_frame=first, last_frame=last), size, frames)
        return Film(scene, latents.half(), controls.half(), mode, tells)

    def _controls(self, references: References, size: tuple[int, int], frames: int) -> Tensor:
        """Prepare the controls as `executors.models.wan` and the pipeline do."""
        given, pipe = conditioning(references, *size, frames), self.pipe
        names = ("video", "mask", "reference_images")
        video, mask, pictures = pipe.preprocess_conditions(
            *(given.get(name) for name in names), 1, size[1], size[0], frames, torch.float32, torch.device("cpu")
        )
        latents = pipe.prepare_video_latents(video, mask, pictures, None, torch.device("cpu"))
        return torch.cat([latents, pipe.prepare_masks(mask, pictures, None)], 1)[0]

    # Steps

    def encode(self, texts: list[str]) -> Tensor:
        with torch.no_grad():
            words, bias = with_one_zero(*self.encoder(texts))
        self.attention.bias = bias
        return words

    def loss(self, step: int) -> Tensor:
        rng, gen = random.Random(f"{self.seed}-denoiser-{step}"), torch.Generator().manual_seed(self.seed * 10**7 + step)
        latent_frames = rng.choices(list(PLAN), [often for *_, often in PLAN.values()])[0]
        size, batch = rng.randrange(2), PLAN[latent_frames][2]
        if rng.random() < WITH_REFERENCES:
            shelf = self.guided[latent_frames, size]
            wanted = rng.choice(shelf).mode == "single"  # those have one more latent frame
            shelf, batch = [film for film in shelf if (film.mode == "single") == wanted], math.ceil(0.7 * batch)
        else:
            shelf = self.films[latent_frames, size]
        films = [rng.choice(shelf) for _ in range(batch)]
        unguided = rng.random() < 0.1
        words = self.encode([nothing(rng)] * batch if unguided else [self._text(film, rng) for film in films])
        clean = torch.stack([film.latents for film in films]).float()
        u, shift = torch.rand(batch, 1, 1, 1, 1, generator=gen), rng.choice((3.0, 5.0, 8.0))
        sigma = shift * u / (1 + (shift - 1) * u)
        noise = torch.randn(clean.shape, generator=gen)
        made = self.velocity((1 - sigma) * clean + sigma * noise, sigma.flatten() * 1000, words, films, rng)
        return F.mse_loss(made, noise - clean)

    def _text(self, film: Film, rng: random.Random) -> str:
        knows = 0.9 if film.mode == "none" else rng.choice((0.4, 0.9))
        return text_of(film.scene, rng, knows, film.tells)[0]

    def velocity(self, x: Tensor, times: Tensor, words: Tensor, films: list[Film], rng: random.Random | None = None) -> Tensor:
        controls = [film.controls for film in films if film.controls is not None]
        if not controls:
            return self.t2v(x, times, words, return_dict=False)[0]
        scale = rng.choice((0.7, 1.0, rng.uniform(0.5, 1.0))) if rng else 0.7
        hints = torch.full((len(self.vace.config.vace_layers),), scale)
        return self.vace(
            x, times, words, control_hidden_states=torch.stack(controls).float(), control_hidden_states_scale=hints, return_dict=False
        )[0]

    def teach(self, folder: Path, steps: int, until: int | None) -> dict[str, Any]:
        self.check()
        training = Training("denoiser", {"denoiser": self.vace}, [([*self.vace.parameters()], RATE)], folder)
        training.run(steps, self.loss, until=until)
        return {"steps": training.step, "loss": round(float(np.mean(training.losses[-200:])), 4)}

    @torch.no_grad()
    def check(self) -> None:
        """Raise `AssertionError` unless one zero token gives what the pipelines' hundreds do."""
        text = ["a red circle moving right on a blue background", ""]
        x, times = torch.randn(2, 16, 2, 4, 6), torch.tensor([900.0, 100.0])
        words = self.encode(text)
        torch.nn.init.normal_(self.vace.proj_out.weight, 0, 0.1)
        ours = self.t2v(x, times, words, return_dict=False)[0]
        plain = WanTransformer3DModel.from_config(self.t2v.config)
        plain.load_state_dict(self.t2v.state_dict())
        full = self.pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=TOKENS)[0]
        theirs = plain(x, times, full, return_dict=False)[0]
        self.vace.proj_out.weight.zero_()
        assert torch.allclose(ours, theirs, atol=1e-4), (ours - theirs).abs().max()


def _scene(rng: random.Random, latent_frames: int) -> scenes.Scene:
    return scenes.draw_scene(rng, two=0.0, placed=0.0, moving=0.85 if latent_frames > 1 else 0.0)


def _image(frame: scenes.Pixels) -> Image.Image:
    return Image.fromarray(frame.round().astype(np.uint8))


def _shown(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return conditioning(References(single=picture), *size, 1)["reference_images"][0]
