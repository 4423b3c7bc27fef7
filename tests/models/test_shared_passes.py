"""Images of several jobs in one pass: each equals the one made alone, whoever shares or leaves the pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from executors.errors import BadOutput, BadWork, Cancelled, OutOfMemory
from executors.models.base import ModelPaths, OnStep, Output, Picture, References, Work
from executors.models.profiles import EXACT, named
from executors.models.sdxl import Sdxl
from executors.models.wan import Wan

A = Work("a", "sdxl_image_fast", "a red cat on a mat", "ugly, bad anatomy", 512, 512, steps=5, guidance=6.0, seeds=(7,))
B = dataclasses.replace(A, job_id="b", prompt="two dogs by the sea", negative_prompt="frogs", seeds=(7,))
C = dataclasses.replace(A, job_id="c", prompt="a (green)1.4 (hill)0.7 with a house", negative_prompt="", seeds=(11, 12))
WORKS = [A, B, C]
Pixels = np.ndarray[Any, Any]


def nothing(done: int, total: int) -> None:
    pass


def pixels(output: Output | Exception) -> Pixels:
    assert isinstance(output, Picture), output
    return np.asarray(output.image).astype(np.int16)


def together(sdxl: Sdxl, works: list[Work], on_steps: list[OnStep] | None = None) -> dict[int, list[Any]]:
    """Results by job, in order: pixels, or the exception that removed it from the pass."""
    got: dict[int, list[Any]] = {n: [] for n in range(len(works))}
    for n, output in sdxl.generate_together(works, on_steps or [nothing] * len(works)):
        got[n].append(output if isinstance(output, Exception) else pixels(output))
    return got


def near(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(int(np.abs(a - b).max()) <= 1 for a, b in zip(one, other, strict=True))


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module", params=["default", "turbo-cache"])
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sdxl(tiny_root: Path, profile: str) -> Iterator[Sdxl]:
    model = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), at_once=4, profile=named(profile))
    model.load()
    yield model
    model.unload()


@pytest.fixture(scope="module")
def alone(tiny_root: Path, profile: str) -> list[list[Pixels]]:
    """Each job's images, one per pass."""
    model = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), at_once=1, profile=named(profile))
    return [[pixels(output) for output in model.generate(work, nothing)] for work in WORKS]


@pytest.fixture(scope="module")
def shared(sdxl: Sdxl) -> dict[int, list[Any]]:
    return together(sdxl, WORKS)


def test_each_image_equals_the_one_made_alone(shared: dict[int, list[Any]], alone: list[list[Pixels]]) -> None:
    for n in range(3):
        assert near(shared[n], alone[n])
    assert np.abs(alone[0][0] - alone[1][0]).mean() > 3  # same seed, other words: no row took its neighbour's


def test_the_order_of_the_jobs_does_not_matter(sdxl: Sdxl, alone: list[list[Pixels]]) -> None:
    got = together(sdxl, [C, A, B])
    for n, expected in enumerate((alone[2], alone[0], alone[1])):
        assert near(got[n], expected)


def test_more_images_than_fit_take_several_passes(tiny_root: Path, profile: str, alone: list[list[Pixels]]) -> None:
    small = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), at_once=3, profile=named(profile))
    told: list[list[tuple[int, int]]] = [[], [], []]
    got = together(small, WORKS, [lambda d, t, own=own: own.append((d, t)) for own in told])  # type: ignore[misc]
    for n in range(3):
        assert near(got[n], alone[n])
    assert told[0] == told[1] == [(step, 5) for step in range(1, 6)]
    # One of its images is in the first pass, the other in the second.
    assert told[2] == [(step, 10) for step in range(1, 11)]


def stop_at(step: int, error: Exception | None = None) -> OnStep:
    def on_step(done: int, total: int) -> None:
        if done == step:
            raise error or Cancelled("b")

    return on_step


@pytest.mark.parametrize("step", range(1, 6))
def test_a_cancelled_job_drops_out_without_affecting_others(
    sdxl: Sdxl, shared: dict[int, list[Any]], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = Sdxl._decode
    monkeypatch.setattr(Sdxl, "_decode", lambda self, latent, small: decoded.append(1) or decode(self, latent, small))
    heard: list[int] = []

    def cancelled(done: int, total: int) -> None:
        heard.append(done)
        stop_at(step)(done, total)

    got = together(sdxl, WORKS, [nothing, cancelled, nothing])
    assert heard == list(range(1, step + 1))  # it is not asked again
    assert [str(error) for error in got[1]] == ["b"]
    assert isinstance(got[1][0], Cancelled)
    assert len(decoded) == 3
    assert same(got[0], shared[0])
    assert same(got[2], shared[2])
    monkeypatch.undo()
    assert same(together(sdxl, WORKS)[1], shared[1])  # and leaves no trace in the next pass


def test_a_pass_that_all_jobs_have_left_stops_at_once(sdxl: Sdxl, shared: dict[int, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    forward = sdxl._pipe.unet.forward
    monkeypatch.setattr(sdxl._pipe.unet, "forward", lambda *a, **k: steps.append(1) or forward(*a, **k))
    got = together(sdxl, WORKS, [stop_at(1), stop_at(2), stop_at(6)])  # the last job has two images in it
    assert all(len(errors) == 1 and isinstance(errors[0], Cancelled) for errors in got.values())
    assert len(steps) == 3
    monkeypatch.undo()
    assert same(together(sdxl, WORKS)[0], shared[0])


def test_a_job_of_a_later_pass_is_cancelled_during_this_one(tiny_root: Path, profile: str, alone: list[list[Pixels]]) -> None:
    small = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), at_once=2, profile=named(profile))
    heard: list[tuple[int, int]] = []

    def leaves(done: int, total: int) -> None:
        heard.append((done, total))
        if len(heard) == 2:
            raise Cancelled

    got = together(small, WORKS, [nothing, nothing, leaves])
    assert heard == [(0, 10), (0, 10)]
    assert isinstance(got[2][0], Cancelled) and len(got[2]) == 1
    assert near(got[0], alone[0]) and near(got[1], alone[1])


def test_a_job_with_a_bad_image_drops_out_alone(sdxl: Sdxl, shared: dict[int, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    denoise = Sdxl._denoise

    def spoil(self: Sdxl, *arguments: Any) -> torch.Tensor:
        latents = denoise(self, *arguments)
        latents[1] = float("nan")
        return latents

    monkeypatch.setattr(Sdxl, "_denoise", spoil)
    got = together(sdxl, WORKS)
    assert isinstance(got[1][0], BadOutput) and len(got[1]) == 1
    assert same(got[0], shared[0])
    assert same(got[2], shared[2])


def test_errors_of_the_whole_pass_are_raised(sdxl: Sdxl, shared: dict[int, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory (simulated)")

    with monkeypatch.context() as patched:
        patched.setattr(sdxl._pipe.unet, "forward", fail)
        with pytest.raises(OutOfMemory, match="3 jobs of sdxl_image_fast 512×512 together"):
            together(sdxl, WORKS)
    assert same(together(sdxl, WORKS)[0], shared[0])


# Shared passes


@pytest.mark.parametrize(
    "change",
    [
        {"job_type": "sdxl_image_high"},
        {"width": 832},
        {"height": 832},
        {"steps": 6},
        {"guidance": 7.0},
        {"scheduler": "UniPCMultistepScheduler"},
    ],
    ids=str,
)
def test_jobs_of_another_shape_have_another_key(sdxl: Sdxl, change: dict[str, Any]) -> None:
    assert sdxl.together(A) == sdxl.together(B) == sdxl.together(C) is not None
    other = sdxl.together(dataclasses.replace(A, **change))
    assert other is not None and other != sdxl.together(A)
    with pytest.raises(BadWork, match="do not go together"):
        together(sdxl, [A, dataclasses.replace(A, **change)])


PHOTO = Image.linear_gradient("L").convert("RGB")


@pytest.mark.parametrize(
    "change",
    [
        {"strength": 0.5, "references": References(init=PHOTO)},
        {"reference_type": "style", "references": References(style=PHOTO)},
        {"precise": True},
        {"prompt": "a cat, " * 60},
        {"negative_prompt": "a cat, " * 60},
    ],
    ids=lambda change: "-".join(change),
)
def test_jobs_with_references_or_long_prompts_run_alone(sdxl: Sdxl, change: dict[str, Any]) -> None:
    assert sdxl.together(dataclasses.replace(A, **change)) is None


@pytest.mark.parametrize(
    "family",
    [
        lambda root: Sdxl(ModelPaths(root), torch.device("cpu"), profile=EXACT, at_once=4),
        lambda root: Sdxl(ModelPaths(root), torch.device("cpu")),
        lambda root: Wan(ModelPaths(root), device=torch.device("cpu")),
    ],
    ids=["exact", "one picture a pass", "wan"],
)
def test_exact_cpu_and_wan_never_share_a_pass(tiny_root: Path, family: Callable[[Path], Any]) -> None:
    assert family(tiny_root).together(A) is None


def test_an_image_of_a_batch_does_not_depend_on_its_place(tiny_root: Path, profile: str) -> None:
    """Step caches are cleared between the images of one job too."""
    model = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), profile=named(profile))
    both = [pixels(output) for output in model.generate(dataclasses.replace(A, seeds=(3, 4)), nothing)]
    (second,) = (pixels(output) for output in model.generate(dataclasses.replace(A, seeds=(4,)), nothing))
    assert np.array_equal(both[1], second)
