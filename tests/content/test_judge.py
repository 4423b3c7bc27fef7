"""Check the judge of the content tests against painted images of known scenes."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("scipy")

from judge import right, see, shares
from PIL import Image

from tools.teach.scenes import COLOURS, SHAPES, Scene, arrange, draw_scene, paint

SIZES = [(128, 128), (104, 152), (152, 104), (112, 144), (144, 112), (160, 160)]


def painted(scene: Scene, size: tuple[int, int], rng: random.Random, noise: float = 0.0, blur: int = 1) -> np.ndarray:
    """A scene as a model might draw it: with noise (standard deviation, in 0…255), drawn at 1/`blur` of the size."""
    picture = paint(scene, arrange(scene, size, rng), size)
    picture = picture + np.random.default_rng(rng.randrange(2**32)).normal(0, noise, picture.shape)
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    small = image.resize((size[0] // blur, size[1] // blur), Image.Resampling.BOX)
    return np.asarray(small.resize(size, Image.Resampling.BILINEAR))


@pytest.mark.parametrize(("noise", "blur", "least"), [(0, 1, 0.995), (12, 1, 0.995), (12, 3, 0.97)])
def test_the_judge_is_right_about_painted_scenes(noise: float, blur: int, least: float) -> None:
    rng = random.Random(7)
    scenes = [draw_scene(rng, unseen=rng.random() < 0.3) for _ in range(200)]
    found = shares(right(painted(scene, rng.choice(SIZES), rng, noise, blur), scene) for scene in scenes)
    print({aspect: round(share, 3) for aspect, share in found.items()})
    assert min(found.values()) >= least, found


def test_the_judge_rejects_every_other_colour_shape_ground_and_count() -> None:
    rng = random.Random(8)
    for colour in COLOURS:
        ground = rng.choice([name for name in COLOURS if name != colour])
        for shape in SHAPES:
            scene = Scene(colour, shape, ground, count=rng.choice((1, 2)))
            picture = painted(scene, (128, 128), rng, noise=8)
            third = next(name for name in COLOURS if name not in (colour, ground))
            for aspect, value in (
                ("colour", third),
                ("ground", third),
                ("shape", next(name for name in SHAPES if name != shape)),
                ("count", 3 - scene.count),
            ):
                judged = right(picture, Scene(**vars(scene) | {aspect: value}))
                assert not judged[aspect] and not judged["all"], (scene, aspect)


def test_a_diamond_is_not_a_circle() -> None:
    y, x = np.mgrid[:128, :128]
    diamond = np.abs(y - 64) + np.abs(x - 64) < 34
    picture = np.where(diamond[..., None], np.array(COLOURS["red"]), np.array(COLOURS["white"]))
    assert see(picture).blobs[0].shape == "diamond"


def test_noise_and_blank_images_are_rejected() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (128, 128, 3))
    blank = np.full((128, 128, 3), 245.0)
    for picture in (noise, blank):
        assert not right(picture, Scene("red", "circle", "white"))["all"]
    assert see(blank).blobs == ()
