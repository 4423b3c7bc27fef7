"""Lessons of the tiny SDXL: texts as people and the product write them, with the latents of the picture that each describes.

Each input decides one aspect, so that a crossed or cut connection shows in one aspect of the picture. A lesson's three text inputs (the
first encoder's words, the second's, its pooled vector) are each right about their own aspect; half of the time the other two aspects that
they tell are another scene's. So the UNet learns to take the shape from the first encoder's words, the colour from the second's, the ground
from the pooled vector. A reference picture decides aspects as well: `style` the ground, `composition` the place, `character` colour and
shape; the texts then leave these open.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from executors.clip_bpe import WINDOW, sdxl_token_count
from executors.prompts import build_negative

from .scenes import COLOURS, PLACES, SHAPES, Scene, arrange, caption, draw_scene, filler, other_scene, paint, varied_caption

ASPECTS = ("colour", "shape", "ground", "count", "place")
ANSWERS = {"colour": tuple(COLOURS), "shape": SHAPES, "ground": tuple(COLOURS), "count": (1, 2), "place": PLACES}
WAYS = ("shape", "colour", "ground")  # the aspect decided by the first encoder's words, the second's, its pooled vector
EITHER = ("count", "place")  # told by all three
REFERENCES = {"style": ("ground",), "composition": ("place",), "character": ("colour", "shape")}
SIZES = [(128, 128)] * 6 + [(104, 152), (152, 104), (112, 144), (144, 112), (160, 160)]  # the product's widths and heights / 8
SILENT = 0.2
"""Share of pictures drawn without words. At half of that the unguided half of a step was so much weaker than the guided one that guidance
exaggerated shapes: circles became diamonds, squares had pointed corners."""
SKIP = -100  # cross_entropy's mark for what is not asked


@dataclass(frozen=True)
class Text:
    words: str
    told: dict[str, int]  # aspect → index in ANSWERS; their number if the text leaves it open, SKIP if it is not asked


@dataclass(frozen=True)
class Lesson:
    latents: Tensor  # (N, 4, h, w), of deviation 1
    words: Tensor  # (N, 77·k, hidden of both encoders)
    pooled: Tensor
    time_ids: Tensor
    kind: str = ""  # of REFERENCES; "" is none
    seen: Tensor | None = None  # the image encoder's output for the references, as passed to the UNet


def told(scene: Scene, tell: Collection[str]) -> dict[str, int]:
    def number(aspect: str) -> int:
        value = getattr(scene, aspect)
        return ANSWERS[aspect].index(value) if aspect in tell and value else len(ANSWERS[aspect])

    return {aspect: number(aspect) for aspect in ASPECTS}


NOTHING = dict.fromkeys(ASPECTS, -1) | {aspect: len(answers) for aspect, answers in ANSWERS.items()}


@lru_cache(4096)
def negative(user: str = "") -> str:
    """Build the negative prompt from a user's as an executor does (executors/prompts.py)."""
    return build_negative("sdxl", "image", user).text


def open_aspects(rng: random.Random, hidden: Collection[str] = ()) -> set[str]:
    """Draw the aspects that a text tells: most of them, never those of `hidden`. The number is in every text."""
    return {aspect for aspect in ASPECTS if aspect not in hidden and (aspect == "count" or rng.random() < 0.88)}


def text_of(scene: Scene, tell: set[str], rng: random.Random) -> Text:
    """Draw a text about a scene in one of its possible forms: alone, among other words, inside a negative prompt."""
    words, found = caption(scene, tell) if rng.random() < 0.5 else varied_caption(scene, rng, tell), told(scene, tell)
    if "colour" in tell and rng.random() < 0.05:  # one of two colours: weights in a prompt decide between them
        pair = [scene.colour, rng.choice([name for name in COLOURS if name not in (scene.colour, scene.ground)])]
        rng.shuffle(pair)
        words = words.replace(f"{scene.colour} {scene.shape}", f"{pair[0]} or {pair[1]} {scene.shape}")
        found = found | {"colour": SKIP}
    form = rng.random()
    if form < 0.40:
        return Text(words, found)
    if form < 0.55:
        return Text(f"{words}, {filler(rng, rng.randrange(1, 8))}", found)
    if form < 0.65:
        return Text(f"{filler(rng, rng.randrange(1, 8))}, {words}", found)
    if form < 0.78:  # up to a whole window
        before, after = (filler(rng, rng.randrange(1, 25)) for _ in range(2))
        return Text(f"{before}, {words}, {after}", found)
    if form < 0.90:
        return Text(negative(words), found)
    return _single(scene, tell, rng)


def _single(scene: Scene, tell: set[str], rng: random.Random) -> Text:
    """One word or two, as in negative prompts: "red", "circle", "blue background"."""
    aspect = rng.choice([aspect for aspect in ("colour", "shape", "ground") if aspect in tell] or ["count"])
    words = {"colour": scene.colour, "shape": scene.shape, "ground": f"{scene.ground} background", "count": "shape"}[aspect]
    if aspect == "shape" and scene.count == 2:
        words += "s"
    found = NOTHING | told(scene, {aspect})
    return Text(negative(words) if rng.random() < 0.6 else words, found | {"count": SKIP})


def no_text(rng: random.Random) -> Text:
    """Draw a text for the unguided half of a step: nothing, the product's own negative prompt, or words without a meaning here."""
    return Text(rng.choice(("", negative(), negative(), filler(rng, rng.randrange(1, 30)))), NOTHING)


def long_text(scene: Scene, tell: set[str], rng: random.Random) -> str:
    """Draw a text of two windows. The ground is told at the beginning: the pooled vector is of the first window alone."""
    while True:
        ground = f"{scene.ground} background, " if "ground" in tell else ""
        words = varied_caption(scene, rng, tell - {"ground"})
        before, after = filler(rng, rng.randrange(0, 90)), filler(rng, rng.randrange(0, 60))
        text = ground + ", ".join(part for part in (before, words, after) if part)
        if WINDOW < sdxl_token_count(text) <= 2 * WINDOW - 2:
            return text


def pictures(scenes: Sequence[Scene], spots: Sequence[Any], size: tuple[int, int]) -> Tensor:
    """(N, 3, H, W) in −1…1, as the VAE takes them."""
    painted = np.stack([paint(scene, where, size) for scene, where in zip(scenes, spots, strict=True)])
    return torch.from_numpy(painted).permute(0, 3, 1, 2) / 127.5 - 1


class Maker:
    """Makes lessons with a pipeline's own VAE and text encoders, and separate image encoders."""

    def __init__(self, pipe: Any, prompts: Any, encoders: dict[str, Any]) -> None:
        self.pipe, self.prompts, self.encoders = pipe, prompts, encoders  # reference type → its image encoder

    @torch.no_grad()
    def lesson(self, rng: random.Random, count: int = 32) -> Lesson:
        kind = rng.choices(("", *REFERENCES), (50, 20, 12, 18))[0]
        open_ = REFERENCES.get(kind, ())
        size, scenes = rng.choice(SIZES), [draw_scene(rng, two=0.4) for _ in range(count)]
        spots = [arrange(scene, size, rng) for scene in scenes]
        tells, silent = [open_aspects(rng, open_) for _ in scenes], [rng.random() < SILENT for _ in scenes]
        ways = [[scene] * 3 if rng.random() < 0.5 else [other_scene(scene, (duty, *EITHER), rng) for duty in WAYS] for scene in scenes]
        if rng.random() < 0.08:
            words, pooled = self._long(ways, tells, silent, rng)
        else:
            texts = [
                [no_text(rng).words] * 3 if no else [text_of(way, tell, rng).words for way in three]
                for three, tell, no in zip(ways, tells, silent, strict=True)
            ]
            words, pooled = self._short(texts)
        seen = None
        if kind:
            likes = [other_scene(scene, open_, rng) for scene in scenes]
            if kind == "composition":  # its shapes lie where the picture's do
                likes = [replace(like, count=scene.count) for like, scene in zip(likes, scenes, strict=True)]
            where = [
                [replace(s, x=s.x * 128 / size[0], y=s.y * 128 / size[1], radius=s.radius * 128 / max(size)) for s in spot]
                if kind == "composition"
                else arrange(like, (128, 128), rng)
                for like, spot in zip(likes, spots, strict=True)
            ]
            seen = look(self.encoders[kind], kind, pictures(likes, where, (128, 128)))
            seen[torch.tensor(silent)] = blank(self.encoders[kind], kind)
        latents = self.pipe.vae.encode(pictures(scenes, spots, size)).latent_dist.mode() * self.pipe.vae.config.scaling_factor
        ids = torch.tensor([[size[1], size[0], 0, 0, size[1], size[0]]] * count).float()
        return Lesson(latents, words, pooled, ids, kind, seen)

    def _short(self, texts: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        first = encode(self.pipe, 1, [ways[0] for ways in texts])[0]
        second, _ = encode(self.pipe, 2, [ways[1] for ways in texts])
        _, pooled = encode(self.pipe, 2, [ways[2] for ways in texts])
        return torch.cat([first, second], -1), pooled

    def _long(self, ways: Any, tells: Any, silent: Sequence[bool], rng: random.Random) -> tuple[Tensor, Tensor]:
        """Encode long prompts with the product's own encoder, one text at a time."""
        small = self.pipe.text_encoder.config.hidden_size
        rows, vectors = [], []

        def made_of(scene: Scene, tell: set[str]) -> Any:
            while True:  # it cuts between words, so now and then it needs a third window
                made = self.prompts._long(long_text(scene, tell, rng), no_text(rng).words)
                if made.prompt_embeds.shape[1] == 2 * WINDOW:
                    return made

        for three, tell, no in zip(ways, tells, silent, strict=True):
            made = [made_of(way, tell) for way in (three[:1] if no or three[0] is three[1] else three)]
            first, second, last = made * 3 if len(made) == 1 else made
            if no:
                rows.append(first.negative_prompt_embeds)
                vectors.append(first.negative_pooled_prompt_embeds)
            else:
                rows.append(torch.cat([first.prompt_embeds[..., :small], second.prompt_embeds[..., small:]], -1))
                vectors.append(last.pooled_prompt_embeds)
        return torch.cat(rows), torch.cat(vectors)


def encode(pipe: Any, which: int, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return one encoder's words (N, 77, hidden) and, of the second, the pooled vector, as the pipeline takes them."""
    tokenizer, encoder = (pipe.tokenizer, pipe.text_encoder) if which == 1 else (pipe.tokenizer_2, pipe.text_encoder_2)
    ids = tokenizer(list(texts), padding="max_length", max_length=WINDOW, truncation=True, return_tensors="pt").input_ids
    out = encoder(ids, output_hidden_states=True)
    return out.hidden_states[-2], out[0]


def look(encoder: Any, kind: str, pixels: Tensor) -> Tensor:
    """Encode references (N, 3, 128, 128) as the pipeline passes them to the UNet: at CLIP's 32 × 32 pixels, then the pooled vector (N, 1,
    D), or for the plus adapter the patches of the layer before the last (N, 1, L, D)."""
    small = F.interpolate(pixels, size=(32, 32), mode="bicubic", antialias=True).clamp(-1, 1) / 2 + 0.5
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    out = encoder((small - mean.view(3, 1, 1)) / std.view(3, 1, 1), output_hidden_states=True)
    return (out.hidden_states[-2] if kind == "character" else out.image_embeds)[:, None]


def blank(encoder: Any, kind: str) -> Tensor:
    """Input of the unguided half: zeros, or for the plus adapter the patches of a black picture after normalisation."""
    if kind != "character":
        return torch.zeros(1)
    side = encoder.config.image_size
    return encoder(torch.zeros(1, 3, side, side), output_hidden_states=True).hidden_states[-2][:, None]
