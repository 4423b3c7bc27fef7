"""Images from the trained tiny SDXL, requested as an executor does: the product's family, negative prompt and settings of each job type."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from executors.models.base import ModelPaths, References, Work
from executors.models.profiles import DEFAULT, Profile
from executors.models.sdxl import Sdxl
from executors.prompts import build_negative
from state.catalog import JOB_TYPES
from tools.teach.scenes import Scene, arrange, caption, draw_scene, paint

AT_ONCE = 8  # images per pass: faster on a CPU too


class Studio:
    def __init__(self, root: Path, profile: Profile = DEFAULT, at_once: int = AT_ONCE) -> None:
        self.sdxl = Sdxl(ModelPaths(root), torch.device("cpu"), profile=profile, at_once=at_once)
        self.sdxl.load()

    def work(self, prompt: str, seeds: Sequence[int] = (0,), job_type: str = "sdxl_image_fast", negative: str = "", **more: Any) -> Work:
        """A job of this type with the catalog's settings. `negative`: the user's text."""
        kind = JOB_TYPES[job_type]
        width, height = kind.sizes[0]
        given = {"width": width, "height": height, "steps": kind.steps, "guidance": kind.guidance} | more
        text = build_negative("sdxl", "image", negative).text
        return Work("job", job_type, prompt, text, seeds=tuple(seeds), **given)

    def draw(self, prompt: str, seeds: Sequence[int], **more: Any) -> list[Image.Image]:
        return self.made(self.work(prompt, seeds, **more))

    def made(self, work: Work) -> list[Image.Image]:
        return [output.image for output in self.sdxl.generate(work, lambda done, steps: None)]

    def each(self, works: Sequence[Work]) -> list[Image.Image]:
        """One image for each of these one-seed jobs, in shared passes."""
        pictures: dict[int, Image.Image] = {}
        for n, output in self.sdxl.generate_together(works, [lambda done, steps: None] * len(works)):
            if isinstance(output, Exception):
                raise output
            pictures[n] = output.image
        return [pictures[n] for n in range(len(works))]

    def scenes(self, scenes: Sequence[Scene], first_seed: int = 0, **more: Any) -> list[Image.Image]:
        return self.each([self.work(caption(scene), (first_seed + n,), **more) for n, scene in enumerate(scenes)])

    def from_picture(self, prompt: str, first: Image.Image, strength: float, seeds: Sequence[int], **more: Any) -> list[Image.Image]:
        work = self.work(prompt, seeds, "sdxl_img2img", strength=strength, **more)
        return self.made(replace(work, references=References(init=first)))

    def like(self, prompt: str, kind: str, reference: Image.Image, seeds: Sequence[int], strength: float = 0.7) -> list[Image.Image]:
        work = self.work(prompt, seeds, reference_type=kind, reference_strength=strength)
        return self.made(replace(work, references=References(style=reference)))


def asked_for(count: int, seed: int = 5, **more: Any) -> list[Scene]:
    """Random scenes, half of them combinations that were not in the training set."""
    rng = random.Random(seed)
    return [draw_scene(rng, unseen=n % 2 == 0, **more) for n in range(count)]


def painted(scene: Scene, seed: int = 0, side: int = 256) -> Image.Image:
    picture = paint(scene, arrange(scene, (side, side), random.Random(seed)), (side, side))
    return Image.fromarray(picture.round().astype(np.uint8))


def apart(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two images, in 0…255."""
    return float(np.abs(np.asarray(one).astype(float) - np.asarray(other).astype(float)).mean())


def count_of(values: Iterable[bool]) -> int:
    return sum(map(bool, values))
