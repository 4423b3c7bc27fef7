"""Speed profiles: the table with each profile's effects, and the models that apply them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from executors.errors import Cancelled
from executors.models import profiles
from executors.models.base import Clip, Family, ModelPaths, References, Work
from executors.models.profiles import BITS, PROFILES, UnknownProfile, check_needs, named
from executors.models.sdxl import Sdxl
from executors.models.wan import Wan

STEPS = 7  # odd, so that a cache that is not cleared is out of step with the next job's
PICTURE = Work("job", "sdxl_image_fast", "a red cat on a mat", "ugly", 512, 512, steps=STEPS, guidance=6.0, seeds=(7,))
VIDEO = Work("job", "video_fast", "a woman walking", "blurry", 480, 832, steps=STEPS, guidance=6.5, seeds=(7,), frames=5)
FIRST = References(first_frame=Image.linear_gradient("L").convert("RGB"))
WORKS = {"sdxl": PICTURE, "t2v": VIDEO, "vace": dataclasses.replace(VIDEO, references=FIRST)}
CACHE = named("turbo-cache")


def nothing(done: int, total: int) -> None:
    pass


def pixels(family: Family, work: Work, on_step: Callable[[int, int], None] = nothing) -> np.ndarray[Any, Any]:
    (output,) = family.generate(work, on_step)
    return np.stack([np.asarray(frame).astype(np.int16) for frame in (output.frames if isinstance(output, Clip) else [output.image])])


def family(model: str, root: Path, profile: profiles.Profile) -> Family:
    paths, cpu = ModelPaths(root), torch.device("cpu")
    made = Sdxl(paths, cpu, profile=profile) if model == "sdxl" else Wan(paths, {model}, cpu, profile=profile)
    made.load()
    return made


@pytest.fixture(scope="module", params=WORKS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def cached(model: str, tiny_root: Path) -> Family:
    return family(model, tiny_root, CACHE)


@pytest.fixture(scope="module")
def clean(model: str, tiny_root: Path) -> np.ndarray[Any, Any]:
    """Outputs of the cached profile on a model that has run nothing before."""
    return pixels(family(model, tiny_root, CACHE), WORKS[model])


# The table


def test_profile_rows_are_consistent_and_turbo_declares_different_images() -> None:
    assert list(PROFILES)[:2] == ["exact", "default"]
    for name, row in PROFILES.items():
        assert row.name == name
        assert (row.pictures == profiles.OTHER) == name.startswith("turbo")
        assert bool(row.step_cache or row.quantised or row.few_steps) == name.startswith("turbo")
    exact = PROFILES["exact"]
    assert exact == profiles.Profile("exact", exact.changes, BITS)  # only its defaults, which change nothing


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(UnknownProfile, match=r"no speed profile 'warp'.*exact, default, turbo-cache"):
        named("warp")


def test_a_package_that_is_not_installed_is_named(tiny_root: Path) -> None:
    wants = dataclasses.replace(named("turbo-int8"), needs=("no_such_package",))
    with pytest.raises(UnknownProfile, match=r"turbo-int8 needs no_such_package.*ourvidz\[turbo\]"):
        check_needs(wants, tiny_root, frozenset({"sdxl"}))
    assert named("turbo-int8").needs == named("turbo-fp8").needs == ("torchao",)


def test_a_missing_lora_is_named_for_the_installed_models(tiny_root: Path, tmp_path: Path) -> None:
    steps = named("turbo-steps")
    with pytest.raises(UnknownProfile, match=r"sdxl-lustify/few-steps\.safetensors") as refused:
        check_needs(steps, tiny_root, frozenset({"sdxl"}))
    assert "wan" not in str(refused.value)
    (tmp_path / "sdxl-lustify").mkdir()
    (tmp_path / "sdxl-lustify/few-steps.safetensors").write_bytes(b"")
    check_needs(steps, tmp_path, frozenset({"sdxl"}))
    check_needs(PROFILES["exact"], tmp_path, frozenset({"sdxl", "t2v", "vace"}))


@pytest.mark.parametrize(("name", "asked", "made"), [("default", None, 1), ("default", 4, 4), ("exact", 4, 1), ("exact", None, 1)])
def test_exact_generates_one_image_per_pass(tiny_root: Path, name: str, asked: int | None, made: int) -> None:
    assert Sdxl(ModelPaths(tiny_root), torch.device("cpu"), at_once=asked, profile=named(name)).at_once == made


def test_on_a_gpu_the_profile_sets_images_per_pass(tiny_root: Path) -> None:
    assert [Sdxl(ModelPaths(tiny_root), torch.device("cuda"), profile=p).at_once for p in (PROFILES["default"], PROFILES["exact"])] == [
        3,
        1,
    ]


# Step caches


def test_a_step_cache_saves_work_and_changes_images(model: str, cached: Family, clean: np.ndarray[Any, Any], tiny_root: Path) -> None:
    plain = family(model, tiny_root, PROFILES["default"])
    assert 0 < np.abs(pixels(plain, WORKS[model]) - clean).mean() < 60
    assert calls(cached, model) < calls(plain, model)


def calls(made: Family, model: str) -> int:
    """Number of times that one attention layer is computed in a job."""
    denoiser = made._pipe.unet if isinstance(made, Sdxl) else made._pipes[model].transformer  # type: ignore[attr-defined]
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q" if model == "sdxl" else "blocks.1.attn1.to_q"
    counted: list[int] = []
    watch = denoiser.get_submodule(name).register_forward_hook(lambda *_: counted.append(1))
    pixels(made, WORKS[model])
    watch.remove()
    return len(counted)


def test_the_same_job_again_gives_the_same_pixels(model: str, cached: Family, clean: np.ndarray[Any, Any]) -> None:
    for _ in range(2):
        assert np.array_equal(pixels(cached, WORKS[model]), clean)


@pytest.fixture(scope="module", params=["turbo-cache", "default"])
def runs(request: pytest.FixtureRequest, model: str, tiny_root: Path) -> tuple[Family, np.ndarray[Any, Any]]:
    """A model that has run only this job, and the job's pixels."""
    made = family(model, tiny_root, named(request.param))
    return made, pixels(family(model, tiny_root, named(request.param)), WORKS[model])


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_cancel_at_any_step_does_not_affect_the_next_job(model: str, runs: tuple[Family, np.ndarray[Any, Any]], step: int) -> None:
    made, clean = runs

    def cancel(done: int, total: int) -> None:
        if done == step:
            raise Cancelled

    other = dataclasses.replace(WORKS[model], prompt="two dogs by the sea", seeds=(99,), guidance=3.0)
    with pytest.raises(Cancelled):
        pixels(made, other, cancel)
    assert np.array_equal(pixels(made, WORKS[model]), clean)
