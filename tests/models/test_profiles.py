"""Speed profiles: a table that says what each does, and models that do it."""

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

STEPS = 7  # odd, so that a cache that is not emptied is out of step with the next job's
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
    """What the cached profile gives on a model that has made nothing before."""
    return pixels(family(model, tiny_root, CACHE), WORKS[model])


# The table


def test_rows_are_named_by_themselves_and_turbo_says_that_pictures_differ() -> None:
    assert list(PROFILES)[:2] == ["exact", "default"]
    for name, row in PROFILES.items():
        assert row.name == name
        assert (row.pictures == profiles.OTHER) == name.startswith("turbo")
        assert bool(row.step_cache or row.quantised or row.few_steps) == name.startswith("turbo")
    exact = PROFILES["exact"]
    assert exact == profiles.Profile("exact", exact.changes, BITS)  # nothing but its defaults, which are nothing


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(UnknownProfile, match=r"no speed profile 'warp'.*exact, default, turbo-cache"):
        named("warp")


def test_a_package_that_is_not_installed_is_named(tiny_root: Path) -> None:
    wants = dataclasses.replace(named("turbo-int8"), needs=("no_such_package",))
    with pytest.raises(UnknownProfile, match=r"turbo-int8 needs no_such_package.*ourvidz\[turbo\]"):
        check_needs(wants, tiny_root, frozenset({"sdxl"}))
    assert named("turbo-int8").needs == named("turbo-fp8").needs == ("torchao",)


def test_a_distilled_lora_that_is_not_there_is_named_for_the_models_that_are(tiny_root: Path, tmp_path: Path) -> None:
    steps = named("turbo-steps")
    with pytest.raises(UnknownProfile, match=r"sdxl-lustify/few-steps\.safetensors") as refused:
        check_needs(steps, tiny_root, frozenset({"sdxl"}))
    assert "wan" not in str(refused.value)
    (tmp_path / "sdxl-lustify").mkdir()
    (tmp_path / "sdxl-lustify/few-steps.safetensors").write_bytes(b"")
    check_needs(steps, tmp_path, frozenset({"sdxl"}))
    check_needs(PROFILES["exact"], tmp_path, frozenset({"sdxl", "t2v", "vace"}))


@pytest.mark.parametrize(("name", "asked", "made"), [("default", None, 1), ("default", 4, 4), ("exact", 4, 1), ("exact", None, 1)])
def test_exact_makes_each_picture_by_itself_whatever_is_asked(tiny_root: Path, name: str, asked: int | None, made: int) -> None:
    assert Sdxl(ModelPaths(tiny_root), torch.device("cpu"), at_once=asked, profile=named(name)).at_once == made


def test_on_a_gpu_the_profile_says_how_many_pictures_share_a_pass(tiny_root: Path) -> None:
    assert [Sdxl(ModelPaths(tiny_root), torch.device("cuda"), profile=p).at_once for p in (PROFILES["default"], PROFILES["exact"])] == [
        3,
        1,
    ]


# Step caches


def test_a_step_cache_saves_work_and_shows(model: str, cached: Family, clean: np.ndarray[Any, Any], tiny_root: Path) -> None:
    plain = family(model, tiny_root, PROFILES["default"])
    assert 0 < np.abs(pixels(plain, WORKS[model]) - clean).mean() < 60
    assert calls(cached, model) < calls(plain, model)


def calls(made: Family, model: str) -> int:
    """How often one attention layer really runs in a job."""
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
    """A model that has made nothing but the one job, and that job's pixels."""
    made = family(model, tiny_root, named(request.param))
    return made, pixels(family(model, tiny_root, named(request.param)), WORKS[model])


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_cancel_at_any_step_leaves_the_next_job_as_if_it_had_never_been(
    model: str, runs: tuple[Family, np.ndarray[Any, Any]], step: int
) -> None:
    made, clean = runs

    def cancel(done: int, total: int) -> None:
        if done == step:
            raise Cancelled

    other = dataclasses.replace(WORKS[model], prompt="two dogs by the sea", seeds=(99,), guidance=3.0)
    with pytest.raises(Cancelled):
        pixels(made, other, cancel)
    assert np.array_equal(pixels(made, WORKS[model]), clean)
