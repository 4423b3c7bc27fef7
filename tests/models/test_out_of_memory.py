"""Simulated out-of-memory: torch's exception is raised where a job loads, denoises and decodes. One smaller retry, then the job fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from measured import Measured
from test_residency import JOBS, run

from executors.errors import OutOfMemory
from executors.shelf import Shelf

SIMULATED = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB (simulated)")


class Short:
    """Wraps a function and raises out-of-memory for `times` calls, beginning with call number `first`."""

    def __init__(self, real: Callable[..., Any], times: int, first: int = 1) -> None:
        self.real, self.calls, self.bad = real, 0, range(first, first + times)

    def __call__(self, *args: Any, **more: Any) -> Any:
        self.calls += 1
        if self.calls in self.bad:
            raise SIMULATED
        return self.real(*args, **more)


def reader(family: Any) -> tuple[Any, str]:
    return family.residency, "_read"


def denoiser(family: Any) -> tuple[Any, str]:
    pipe = family._pipe if family.name == "sdxl" else next(iter(family._pipes.values()))
    return (pipe.unet if family.name == "sdxl" else pipe.transformer), "forward"


def decoder(family: Any) -> tuple[Any, str]:
    return (family._pipe if family.name == "sdxl" else next(iter(family._pipes.values()))).vae, "decode"


def mover(family: Any) -> tuple[Any, str]:
    return family.residency, "copy"


PLACES = {"load": reader, "move": mover, "denoise": denoiser, "decode": decoder}


@pytest.fixture(scope="module")
def one_shelf(tiny_root: Path) -> Shelf:
    shelf = Shelf(tiny_root)
    shelf._residency = Measured(10**9)
    return shelf


@pytest.fixture
def shelf(one_shelf: Shelf) -> Shelf:
    """Families created, nothing on the device: an earlier out-of-memory must leave no trace."""
    one_shelf.residency.clear()
    return one_shelf


@pytest.fixture(scope="module")
def clean(tiny_root: Path) -> dict[str, Any]:
    shelf = Shelf(tiny_root)
    return {kind: run(shelf, kind) for kind in ("plain", "video")}


def break_at(place: str, shelf: Shelf, kind: str, times: int, monkeypatch: pytest.MonkeyPatch, first: int = 1) -> Short:
    """Break after loading, unless loading itself is to run out of memory."""
    family: Any = shelf.family(JOBS[kind][0])
    if place == "load":
        family.unload()
    target, name = PLACES[place](family)
    short = Short(getattr(target, name), times, first)
    monkeypatch.setattr(target, name, short)
    return short


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["plain", "video"])
def test_one_out_of_memory_is_retried_and_succeeds(
    shelf: Shelf, clean: dict[str, Any], kind: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        short = break_at(place, shelf, kind, 1, patch)
        made = run(shelf, kind)
        assert short.calls > 1
    assert [(seed, [len(frame) for frame in frames]) for seed, frames in made] == [
        (seed, [len(frame) for frame in frames]) for seed, frames in clean[kind]
    ]
    assert (made == clean[kind]) == (place == "load")  # the rest of the job runs in the smaller way, and tiles have seams
    assert run(shelf, kind) == clean[kind]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["plain", "video"])
def test_two_out_of_memory_errors_fail_the_job_and_not_the_next(
    shelf: Shelf, clean: dict[str, Any], kind: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        short = break_at(place, shelf, kind, 10**6, patch)
        with pytest.raises(OutOfMemory, match=r"out of memory while (loading|generating) .*Tried to allocate 9 GiB \(simulated\)"):
            run(shelf, kind)
        assert short.calls == 2
    assert shelf.residency.placed.working == 0
    assert run(shelf, kind) == clean[kind]


def test_out_of_memory_midway_keeps_finished_images(shelf: Shelf, tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, int]] = []
    whole = run(Shelf(tiny_root), "three")
    short = break_at("decode", shelf, "three", 1, monkeypatch, first=2)
    lane, work = JOBS["three"]
    made = [
        (output.seed, [np.asarray(output.image).tobytes()])
        for output in shelf.family(lane).generate(work, lambda done, total: steps.append((done, total)))  # type: ignore[arg-type]
    ]
    assert [seed for seed, _ in made] == [1, 2, 3]
    assert made[0] == whole[0]
    assert steps == [(done, 6) for done in range(1, 7)]  # each image was denoised once
    assert short.calls == 4


def test_out_of_memory_in_a_pass_of_three_continues_one_by_one(tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, sizes = {}, []
    for at_once in (1, 3):
        shelf = Shelf(tiny_root, at_once=at_once)
        with monkeypatch.context() as patch:
            short, sizes = break_at("denoise", shelf, "three", 1, patch), []
            short.real = lambda sample, *a, real=short.real, sizes=sizes, **k: sizes.append(len(sample)) or real(sample, *a, **k)
            made[at_once] = run(shelf, "three")
        assert sizes == [2] * 6  # with guidance a pair for each of two steps of three images
    assert made[1] == made[3]  # both in tiles


def test_the_retry_has_the_device_to_itself(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    run(shelf, "video")
    break_at("denoise", shelf, "plain", 1, monkeypatch)
    run(shelf, "plain")
    assert set(shelf.residency.placed.items) == {"sdxl.unet", "sdxl.vae"}


def test_a_working_set_over_budget_is_retried_smaller_then_refused(shelf: Shelf) -> None:
    """Not simulated: the budget is too small for a decode in one piece, then for any decode."""
    residency: Any = shelf.residency
    run(shelf, "video")
    residency.clear()
    residency.placed.budget = residency.needed - 1
    ((seed, frames),) = run(shelf, "video")
    assert (seed, len(frames)) == (7, 5)
    residency.placed.budget = 100_000
    with pytest.raises(OutOfMemory, match="OURVIDZ_VRAM_BUDGET"):
        run(shelf, "video")
    residency.placed.budget = 10**9
    assert len(run(shelf, "video")) == 1
