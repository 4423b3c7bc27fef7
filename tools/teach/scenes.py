"""Scenes that the taught models draw: one or two coloured shapes on a ground of one colour, still or moving, and the texts that describe
them.

One vocabulary for all model families and for the tests' judge (tests/content/judge.py). A `Scene` says *what* is in a picture, its `Spot`s
say *where*; both are drawn from a `random.Random`, so that a seed determines a picture. Sizes and places are in pixels, arrays are (height,
width, 3).
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Pixels = np.ndarray[Any, np.dtype[np.float32]]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 30), "green": (30, 170, 50), "blue": (30, 60, 220), "yellow": (240, 220, 40),
    "white": (245, 245, 245), "black": (15, 15, 15), "purple": (150, 40, 180), "orange": (245, 140, 20),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle")
PLACES = ("left", "right", "top", "bottom")
MOTIONS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}  # steps in x and y; y grows downwards
ASPECTS = ("colour", "shape", "ground", "count", "place", "motion")
FILLER = (
    "photo", "picture", "soft", "light", "clean", "simple", "quiet", "warm", "detailed", "sharp", "high", "quality", "beautiful",
    "cat", "mat", "fox", "snow", "harbour", "lantern", "stone", "bridge", "rain", "boat",
)  # fmt: skip
"""Words without a meaning in this world: a prompt may hold them, and its picture is the same."""


@dataclass(frozen=True)
class Scene:
    colour: str
    shape: str
    ground: str
    count: int = 1
    place: str = ""  # of PLACES; "" leaves it open
    motion: str = ""  # of MOTIONS; "" stands still


@dataclass(frozen=True)
class Spot:
    """Position of one shape: its centre and its radius, in pixels."""

    x: float
    y: float
    radius: float


def held_out(scene: Scene) -> bool:
    """Check if a combination of colour, shape and ground is never taught (one in eight): tests ask for these as well."""
    c, s, g = list(COLOURS).index(scene.colour), SHAPES.index(scene.shape), list(COLOURS).index(scene.ground)
    return (5 * c + 3 * s + 7 * g) % 8 == 0


def draw_scene(rng: random.Random, two: float = 0.25, placed: float = 0.4, moving: float = 0.0, unseen: bool = False) -> Scene:
    """Draw a random scene. `two`, `placed`, `moving`: probability of two shapes, a place, a motion; at most one of the three.

    `unseen`: only combinations that are never taught; otherwise only those that are.
    """
    while True:
        colour, ground = rng.sample(list(COLOURS), 2)
        scene = Scene(colour, rng.choice(SHAPES), ground)
        if held_out(scene) == unseen:
            break
    chance = rng.random()
    if chance < two:
        return replace(scene, count=2)
    if chance < two + placed:
        return replace(scene, place=rng.choice(PLACES))
    return replace(scene, motion=rng.choice(list(MOTIONS))) if chance < two + placed + moving else scene


def other_scene(scene: Scene, keep: Collection[str], rng: random.Random) -> Scene:
    """Draw a random scene that agrees with this one in the aspects of `keep`. Never one of a colour on the same colour."""
    while True:
        made = replace(draw_scene(rng), **{aspect: getattr(scene, aspect) for aspect in keep})
        if made.count == 2 and made.place:
            made = replace(made, count=1) if "place" in keep else replace(made, place="")
        if made.colour != made.ground:
            return made


# Texts


def a(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def caption(scene: Scene, tell: Collection[str] = ASPECTS) -> str:
    """Return the text of a scene: "a red circle at the left on a blue background". An aspect that is not in `tell` is left open."""
    return _text(scene, tell, "a", "at the", "on a")


def varied_caption(scene: Scene, rng: random.Random, tell: Collection[str] = ASPECTS) -> str:
    """Return the same text in one of several wordings."""
    article, at, on = rng.choice(("a", "a", "one", "")), rng.choice(("at the", "on the")), rng.choice(("on a", "on a", ","))
    return _text(scene, tell, article, at, on)


def _text(scene: Scene, tell: Collection[str], article: str, at: str, on: str) -> str:
    thing = f"{scene.colour} " * ("colour" in tell) + (scene.shape if "shape" in tell else "shape")
    one = a(thing) if article == "a" else f"{article} {thing}".strip()
    text = f"two {thing}s" if scene.count == 2 else one
    if scene.motion and "motion" in tell:
        text += f" moving {scene.motion}"
    if scene.place and "place" in tell:
        text += f" {at} {scene.place}"
    if "ground" in tell:
        ground = f"{scene.ground} background"
        text += f", {ground}" if on == "," else f" on {a(ground)}"
    return text


def filler(rng: random.Random, words: int) -> str:
    """Draw `words` words without a meaning here, with a comma now and then, as people write them."""
    text = ""
    for n in range(words):
        text += (", " if n and rng.random() < 0.25 else " " if n else "") + rng.choice(FILLER)
    return text


def vocabulary() -> frozenset[str]:
    """Return every word that a caption or a filler may hold."""
    shapes = [form for shape in (*SHAPES, "shape") for form in (shape, shape + "s")]
    rest = ("a", "an", "one", "two", "at", "the", "on", ",", "background", "moving")
    return frozenset((*COLOURS, *shapes, *PLACES, *MOTIONS, *rest, *FILLER))


# Pictures


def arrange(scene: Scene, size: tuple[int, int], rng: random.Random) -> list[Spot]:
    """Place a still scene's shapes in a picture of `size` (width, height). A place is the outer fifth of the available room; two shapes lie
    along the longer side, so they never touch."""
    width, height = size
    across = width > height or (width == height and rng.random() < 0.5)
    share = rng.uniform(0.15, 0.19) if scene.count == 2 else rng.uniform(0.19, 0.26)
    radius = share * min(size)

    def spot(x: float, y: float) -> Spot:  # in shares of the available room, three pixels from the edge
        return Spot(radius + 3 + x * (width - 2 * radius - 6), radius + 3 + y * (height - 2 * radius - 6), radius)

    if scene.count == 2:
        pairs = [(rng.uniform(0.02, 0.22), rng.random()), (rng.uniform(0.78, 0.98), rng.random())]
        return [spot(*pair) if across else spot(*pair[::-1]) for pair in pairs]
    if scene.place:
        edge, middle = rng.uniform(0, 0.2), rng.uniform(0.3, 0.7)
        edge = edge if scene.place in ("left", "top") else 1 - edge
        return [spot(edge, middle) if scene.place in ("left", "right") else spot(middle, edge)]
    return [spot(rng.random(), rng.random())]


def path(scene: Scene, size: tuple[int, int], frames: int, rng: random.Random, share: float = 0.2) -> list[list[Spot]]:
    """Spots of a moving scene, a list for each of `frames`: from one side to the other at a constant speed. `share` is the shape's radius
    relative to the shorter side. Without a motion all frames are alike."""
    width, height = size
    radius, (dx, dy) = share * min(size), MOTIONS.get(scene.motion, (0, 0))
    begin, end, aside = rng.uniform(0.0, 0.15), rng.uniform(0.85, 1.0), rng.uniform(0.3, 0.7)
    out = []
    for n in range(frames):
        way = begin + (end - begin) * n / max(1, frames - 1)
        x = (way if dx > 0 else 1 - way) if dx else aside
        y = (way if dy > 0 else 1 - way) if dy else (aside if dx else 0.5)
        out.append([Spot(radius + 2 + x * (width - 2 * radius - 4), radius + 2 + y * (height - 2 * radius - 4), radius)])
    return out


def distance(shape: str, dx: Pixels, dy: Pixels, radius: float) -> Pixels:
    """Signed distance in pixels from a shape's outline, negative inside; `dx`, `dy` from its centre. The three shapes have similar
    areas."""
    if shape == "circle":
        return np.hypot(dx, dy) - radius
    if shape == "square":
        return np.maximum(np.abs(dx), np.abs(dy)) - 0.87 * radius
    if shape == "triangle":  # upright; its sides rise by 2 for 1
        return np.maximum(dy - 0.75 * radius, np.abs(dx) * 0.8944 - dy * 0.4472 - 0.56 * radius)
    raise ValueError(f"{shape!r} is not a shape of this world: there are {', '.join(SHAPES)}")


def cover(shape: str, spots: Iterable[Spot], size: tuple[int, int]) -> Pixels:
    """Coverage of each pixel by the shapes, (H, W) in 0…1: edges are one pixel soft."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    covered = np.zeros((height, width), np.float32)
    for spot in spots:
        covered = np.maximum(covered, np.clip(0.5 - distance(shape, x - spot.x, y - spot.y, spot.radius), 0, 1))
    return covered


def paint(scene: Scene, spots: Iterable[Spot], size: tuple[int, int]) -> Pixels:
    """The picture (H, W, 3) in 0…255."""
    covered = cover(scene.shape, spots, size)[..., None]
    fore, back = (np.array(COLOURS[name], np.float32) for name in (scene.colour, scene.ground))
    return (back + covered * (fore - back)).astype(np.float32)


def film(scene: Scene, spots: Sequence[Iterable[Spot]], size: tuple[int, int]) -> Pixels:
    """The frames (F, H, W, 3) in 0…255, one for each entry of `spots` (`path`)."""
    return np.stack([paint(scene, where, size) for where in spots])
