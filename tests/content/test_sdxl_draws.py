"""SDXL's images show what was requested: every input changes its own aspect and nothing else.

Measured as shares of several images, never one: the models are small and sometimes wrong. `-s` prints the shares.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean

import numpy as np
import pytest
from judge import lies, right, see, shares
from PIL import Image
from sizes import size
from studio import Studio, apart, asked_for, count_of, painted
from tiny_fixtures import folder_of

from state import schedulers
from state.catalog import PREMIUM_SIZES
from tools.teach.scenes import PLACES, SHAPES, Scene, caption, filler

SEEDS = range(8)


@pytest.fixture(scope="module")
def studio(one_thread: None, testrun_uid: str) -> Iterator[Studio]:
    with folder_of(("sdxl",), testrun_uid, random=False) as root:
        yield Studio(root)


def judged(pictures: Sequence[Image.Image], scenes: Sequence[Scene]) -> dict[str, float]:
    found = shares(right(picture, scene) for picture, scene in zip(pictures, scenes, strict=True))
    print({aspect: f"{share:.0%}" for aspect, share in found.items()})
    return found


def lacking(found: Mapping[str, float], **least: float) -> dict[str, float]:
    """The shares below their minimum."""
    return {name: found[name] for name, share in least.items() if found[name] < share}


def has(picture: Image.Image, **wanted: str) -> bool:
    """Check that the largest shape has this colour, shape or place, on this ground."""
    seen = see(picture)
    if not seen.blobs or seen.ground != wanted.get("ground", seen.ground):
        return False
    blob = seen.blobs[0]
    same = blob.colour == wanted.get("colour", blob.colour) and blob.shape == wanted.get("shape", blob.shape)
    return same and ("place" not in wanted or lies(blob, wanted["place"]))


def of(pictures: Sequence[Image.Image], **wanted: str) -> int:
    return count_of(has(picture, **wanted) for picture in pictures)


# Texts


@pytest.mark.sized
def test_images_show_their_prompts(studio: Studio) -> None:
    """Half of the combinations were not in the training set."""
    scenes = asked_for(size(16, 50))
    found = judged(studio.scenes(scenes), scenes)
    # Shares of 16 vary more by chance than shares of 50.
    assert not lacking(found, colour=0.9, shape=size(0.8, 0.9), ground=0.9, count=0.8, all=size(0.75, 0.85))


def test_places_in_prompts_are_respected(studio: Studio) -> None:
    scenes = [Scene("red", shape, "white", place=place) for place in PLACES for shape in SHAPES]
    good = count_of(has(picture, place=scene.place) for picture, scene in zip(studio.scenes(scenes), scenes, strict=True))
    assert good >= 9, f"{good} of 12 in their place"


def test_guidance_increases_prompt_adherence(studio: Studio) -> None:
    scenes = asked_for(16, 3, placed=0.0)
    free, guided = (judged(studio.scenes(scenes, guidance=figure), scenes)["all"] for figure in (1.0, 6.0))
    assert guided >= free + 0.2


def test_a_negative_prompt_removes_the_named_colour(studio: Studio) -> None:
    text = "a red or blue circle on a white background"
    left = {name: of(studio.draw(text, SEEDS, negative=name), colour=other) for name, other in (("red", "blue"), ("blue", "red"))}
    assert min(left.values()) >= 6, f"of 8 pictures without …, the other colour: {left}"


def test_a_negative_prompt_removes_the_named_shape(studio: Studio) -> None:
    text = "a red shape on a white background"
    shown = {name: of(studio.draw(text, SEEDS, negative=name), shape=name) for name in SHAPES}
    assert sum(shown.values()) <= 3, f"of 24 pictures, those that show the shape that was taken away: {shown}"


def test_the_colour_with_the_higher_weight_is_drawn(studio: Studio) -> None:
    def red(heavy: float, light: float) -> int:
        return of(studio.draw(f"a (red:{heavy}) or (blue:{light}) circle on a white background", SEEDS), colour="red")

    pulled, pushed = red(1.6, 0.4), red(0.4, 1.6)
    assert pulled >= pushed + 4, f"red in {pulled} of 8 where red weighs more, in {pushed} where blue does"


def test_text_beyond_the_77th_token_counts(studio: Studio) -> None:
    rng, good = random.Random(4), 0
    for n, (colour, shape) in enumerate((("red", "triangle"), ("blue", "square"), ("green", "circle"))):
        text = f"white background, {filler(rng, 80)}, {caption(Scene(colour, shape, 'white'), {'colour', 'shape'})}"
        good += of(studio.draw(text, range(10 * n, 10 * n + 4)), colour=colour, shape=shape)
    assert good >= 8, f"{good} of 12 show what the second window says"


# Sampling


def test_backgrounds_are_free_of_grain(studio: Studio) -> None:
    """Leftover noise, or noise of another strength than the model assumes, shows as grain."""
    grain = mean(see(picture).grain for picture in studio.scenes(asked_for(8, 6)))
    print(f"grain {grain:.1f} of 255")
    assert grain < 9


@pytest.mark.sized
def test_premium_images_are_right_in_every_size(studio: Studio) -> None:
    scenes = asked_for(len(PREMIUM_SIZES) * size(1, 3), 9, placed=0.0)
    good = 0
    for n, scene in enumerate(scenes):
        width, height = PREMIUM_SIZES[n % len(PREMIUM_SIZES)]
        (picture,) = studio.draw(caption(scene), (n,), job_type="sdxl_image_premium", width=width, height=height)
        assert picture.size == (width // 8, height // 8)
        good += right(picture, scene)["all"]
    assert good >= 0.65 * len(scenes), f"{good} of {len(scenes)} right"


@pytest.mark.nightly
@pytest.mark.parametrize("scheduler", [row.name for row in schedulers.SDXL])
def test_every_scheduler_gives_right_images(studio: Studio, scheduler: str) -> None:
    scenes = asked_for(8, 11, placed=0.0)
    found = judged(studio.scenes(scenes, scheduler=scheduler, job_type="sdxl_image_high", steps=25, guidance=6.0), scenes)
    assert not lacking(found, colour=0.75, ground=0.75, shape=0.6)


def test_each_image_of_a_batch_comes_from_its_own_seed(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    text, seeds = "a red circle on a white background", (3, 4, 5)
    batch = studio.draw(text, seeds)
    monkeypatch.setattr(studio.sdxl, "at_once", 1)
    for seed, picture in zip(seeds, batch, strict=True):
        (alone,) = studio.draw(text, (seed,))
        assert np.abs(np.asarray(alone).astype(int) - np.asarray(picture).astype(int)).max() <= 2


def test_each_seed_gives_a_different_image(studio: Studio) -> None:
    found = [see(picture).blobs for picture in studio.draw("a red circle on a white background", SEEDS)]
    centres = {(round(blobs[0].x, 1), round(blobs[0].y, 1)) for blobs in found if blobs}
    assert len(centres) >= 4, f"8 pictures, their shapes at {sorted(centres)}"


def test_jobs_in_a_shared_pass_each_get_their_prompt(studio: Studio) -> None:
    scenes = [Scene(colour, shape, "white") for colour, shape in (("red", "square"), ("blue", "triangle"), ("green", "circle"))] * 2
    pictures = studio.scenes(scenes)
    good = count_of(has(picture, colour=scene.colour, shape=scene.shape) for picture, scene in zip(pictures, scenes, strict=True))
    assert good >= 5, f"{good} of 6"


# Initial images


def test_lower_strength_keeps_more_of_the_initial_image(studio: Studio) -> None:
    first, strengths = painted(Scene("red", "square", "yellow", place="left"), 1), (0.1, 0.3, 0.5, 0.75, 1.0)
    small = first.resize((128, 128), Image.Resampling.LANCZOS)
    made = {s: studio.from_picture("a blue circle on a green background", first, s, range(4)) for s in strengths}
    away = [mean(apart(picture, small) for picture in made[s]) for s in strengths]
    print("apart from the first picture:", dict(zip(strengths, map(round, away), strict=True)))
    assert away == sorted(away)
    assert of(made[0.1], colour="red", ground="yellow", place="left") >= 3
    assert of(made[1.0], colour="blue", ground="green") >= 3


def test_an_initial_image_matching_the_prompt_is_kept(studio: Studio) -> None:
    """If the noise differs from the strength that the model assumes, more is redrawn: 10.8 of 255 under linear betas, else 7.7."""
    first = painted(Scene("red", "square", "yellow", place="left"), 1)
    small = first.resize((128, 128))
    away = mean(apart(picture, small) for picture in studio.from_picture("a red square on a yellow background", first, 0.6, range(4)))
    assert away < 9, f"{away:.1f} of 255 apart"


# References


def reference(studio: Studio, kind: str, text: str, shown: Sequence[Scene], aspects: Sequence[str], rest: dict[str, str]) -> None:
    """`aspects` must come from the reference, more often with a higher strength; `rest` must stay as in the prompt."""
    moved = faint = stayed = 0
    for n, scene in enumerate(shown):
        wanted = {name: getattr(scene, name) for name in aspects}
        strong = studio.like(text, kind, painted(scene, n), (n, n + 50), 0.8)
        moved += of(strong, **wanted)
        stayed += of(strong, **rest)
        faint += of(studio.like(text, kind, painted(scene, n), (n, n + 50), 0.1), **wanted)
    total = 2 * len(shown)
    print(f"{kind}, of {total}: the reference's {moved} at 0.8 and {faint} at 0.1; the prompt's {stayed}")
    assert moved >= 0.7 * total and stayed >= 0.7 * total
    assert faint <= moved - 0.25 * total


def test_a_character_reference_gives_the_colour(studio: Studio) -> None:
    """It leaves the ground. It gives the shape too rarely to assert; style and composition references still have no visible effect
    (docs/decisions/0054)."""
    shown = [Scene(colour, "circle", "black") for colour in ("red", "blue", "green", "purple", "orange")]
    reference(studio, "character", "a shape on a white background", shown, ["colour"], {"ground": "white"})
