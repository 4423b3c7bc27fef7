"""SDXL from a job's view: every input matters, nothing leaks into the next job, and failures are reported."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from executors.errors import BadOutput, BadWork, Cancelled, ModelFileError, OutOfMemory
from executors.models import files
from executors.models.base import ModelPaths, References, Work
from executors.models.sdxl import Sdxl

WORK = Work("job", "sdxl_image_fast", "a red cat on a mat", "ugly, bad anatomy", 512, 512, steps=4, guidance=6.0, seeds=(7,))


def picture(colour: tuple[int, int, int]) -> Image.Image:
    made = Image.new("RGB", (300, 400), colour)
    made.paste((255, 255, 255), (50, 50, 120, 300))
    return made


RED, BLUE = picture((200, 30, 30)), picture((30, 30, 200))
STYLED = {"reference_type": "style", "references": References(style=RED)}


@pytest.fixture(scope="module")
def sdxl(tiny_root: Path) -> Iterator[Sdxl]:
    model = Sdxl(ModelPaths(tiny_root), torch.device("cpu"))
    model.load()
    yield model
    model.unload()


def nothing(done: int, total: int) -> None:
    pass


def make(sdxl: Sdxl, **changes: Any) -> list[np.ndarray[Any, Any]]:
    """Images as int16 arrays (H, W, 3), so that differences do not wrap."""
    return [np.asarray(p.image).astype(np.int16) for p in sdxl.generate(dataclasses.replace(WORK, **changes), nothing)]


def apart(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    return float(np.abs(a - b).mean())


@pytest.fixture(scope="module")
def clean(sdxl: Sdxl) -> np.ndarray[Any, Any]:
    """Output of `WORK` on a model that has run nothing before."""
    return make(sdxl)[0]


def test_the_same_job_gives_the_same_bytes(sdxl: Sdxl, clean: np.ndarray[Any, Any]) -> None:
    assert np.array_equal(make(sdxl)[0], clean)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "two dogs by the sea"},
        {"prompt": "a red cat on a hat"},
        {"negative_prompt": "frogs"},
        {"seeds": (8,)},
        {"steps": 5},
        {"guidance": 9.0},
        {"guidance": 1.0},
        {"prompt": "a (red)1.5 cat on a mat"},
        {"prompt": "a (red)0.5 cat on a mat"},
        {"negative_prompt": "ugly, (bad anatomy:1.5)"},
        {"scheduler": "DPMSolverMultistepScheduler"},
        {"scheduler": "EulerAncestralDiscreteScheduler"},
    ],
    ids=str,
)
def test_every_setting_changes_the_image(sdxl: Sdxl, clean: np.ndarray[Any, Any], changes: dict[str, Any]) -> None:
    assert apart(make(sdxl, **changes)[0], clean) > 0.3


def test_the_models_own_scheduler_may_be_named(sdxl: Sdxl, clean: np.ndarray[Any, Any]) -> None:
    assert np.array_equal(make(sdxl, scheduler="EulerDiscreteScheduler")[0], clean)


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (832, 1216), (1216, 832), (896, 1152), (1152, 896), (1280, 1280)])
def test_a_tiny_picture_has_the_shape_that_was_asked_for(sdxl: Sdxl, width: int, height: int) -> None:
    work = dataclasses.replace(WORK, width=width, height=height, steps=1)
    (made,) = sdxl.generate(work, nothing)
    assert made.image.size == (width // 8, height // 8) == sdxl.size_of(work)
    assert made.image.mode == "RGB"


def test_each_image_of_a_batch_is_the_one_made_alone(sdxl: Sdxl, clean: np.ndarray[Any, Any], tiny_root: Path) -> None:
    batch = make(sdxl, seeds=(6, 7, 8))
    assert np.array_equal(batch[1], clean)
    assert apart(batch[0], batch[1]) > 3
    together = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), at_once=2)
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(make(together, seeds=(6, 7, 8)), batch, strict=True))


@pytest.mark.parametrize("at_once", [1, 2])
def test_images_arrive_one_by_one_and_every_step_is_reported(tiny_root: Path, at_once: int) -> None:
    told: list[tuple[int, int]] = []
    model = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), at_once=at_once)
    seen = [(p.seed, told[-1]) for p in model.generate(dataclasses.replace(WORK, seeds=(1, 2, 3)), lambda d, t: told.append((d, t)))]
    # The first image is delivered before the steps of the next begin.
    assert seen == {1: [(1, (4, 12)), (2, (8, 12)), (3, (12, 12))], 2: [(1, (8, 12)), (2, (8, 12)), (3, (12, 12))]}[at_once]
    assert told == sorted(set(told))
    assert told[-1] == (12, 12)


def test_an_initial_image_shows_by_its_strength(sdxl: Sdxl) -> None:
    def of(init: Image.Image, strength: float) -> np.ndarray[Any, Any]:
        return make(sdxl, job_type="sdxl_img2img", steps=10, strength=strength, references=References(init=init))[0]

    assert apart(of(RED, 0.5), of(BLUE, 0.5)) > 3
    assert apart(of(RED, 0.2), of(BLUE, 0.2)) > apart(of(RED, 0.9), of(BLUE, 0.9))
    assert np.array_equal(of(RED, 0.5), of(RED.convert("RGBA"), 0.5))


def test_an_initial_image_reduces_the_steps_and_zero_is_refused(sdxl: Sdxl) -> None:
    told: list[tuple[int, int]] = []
    work = dataclasses.replace(WORK, steps=10, strength=0.35, seeds=(1, 2), references=References(init=RED))
    assert len(list(sdxl.generate(work, lambda d, t: told.append((d, t))))) == 2
    assert told == [(n, 6) for n in range(1, 7)]
    with pytest.raises(BadWork, match="leaves none"):
        make(sdxl, steps=5, strength=0.1, references=References(init=RED))


@pytest.mark.parametrize("reference_type", ["style", "composition", "character"])
def test_a_references_content_and_strength_change_the_image(sdxl: Sdxl, clean: np.ndarray[Any, Any], reference_type: str) -> None:
    red = make(sdxl, reference_type=reference_type, references=References(style=RED))[0]
    blue = make(sdxl, reference_type=reference_type, references=References(style=BLUE))[0]
    faint = make(sdxl, reference_type=reference_type, references=References(style=RED), reference_strength=0.1)[0]
    assert apart(red, clean) > 1
    assert apart(red, blue) > 0.3
    assert apart(faint, clean) < apart(red, clean)


def test_style_composition_and_character_differ(sdxl: Sdxl) -> None:
    made = [make(sdxl, reference_type=t, references=References(style=RED))[0] for t in ("style", "composition", "character")]
    assert min(apart(made[0], made[1]), apart(made[0], made[2]), apart(made[1], made[2])) > 1


def test_a_reference_combines_with_an_initial_image_and_no_guidance(sdxl: Sdxl) -> None:
    both = make(sdxl, strength=0.5, reference_type="style", references=References(init=BLUE, style=RED))[0]
    assert apart(both, make(sdxl, strength=0.5, references=References(init=BLUE))[0]) > 0.5
    assert make(sdxl, guidance=1.0, **STYLED)[0].shape == both.shape


LONG = ", ".join(
    f"a {colour} {thing}" for colour in ("red", "green", "blue", "black") for thing in ("cat", "dog", "horse", "house", "tree", "sea")
)


def test_text_beyond_the_77th_token_counts(sdxl: Sdxl) -> None:
    long = make(sdxl, prompt=LONG)[0]
    assert apart(long, make(sdxl, prompt=LONG.removesuffix("sea") + "storm")[0]) > 0.1
    assert apart(long, make(sdxl, prompt=LONG + ", snow", negative_prompt=LONG)[0]) > 0.1


@pytest.mark.parametrize(
    "prompt",
    [
        "(" * 90 + "cat",
        "日本語" * 80,
        "!" * 300,
        "(a (b:0.2) c)1.4 " * 40,
        "(" + LONG + ")0.5",
        '("a", "b").and() ' * 20,
        "\\",
        "((()))1.3",
        "cat.swap(dog)++",
    ],
    ids=range(9),
)
def test_any_prompt_works_when_long_or_weighted(sdxl: Sdxl, prompt: str) -> None:
    assert make(sdxl, prompt=prompt, steps=1)[0].std() > 5


def test_weights_of_one_change_nothing(sdxl: Sdxl, clean: np.ndarray[Any, Any]) -> None:
    # compel's path, with weights so near 1 that its image must equal the plain path's.
    assert apart(make(sdxl, prompt="a (red cat)1.0001 on a mat")[0], clean) < 0.5


def test_weights_beside_a_prompt_change_what_is_encoded(sdxl: Sdxl) -> None:
    """Weights as appended by ourvidz.weighted_prompt from compel_weights."""

    def encoded(prompt: str) -> torch.Tensor:
        return sdxl._arguments(dataclasses.replace(WORK, prompt=prompt))["prompt_embeds"]

    plain, heavy, light = (encoded(f"a red cat, {weights}") for weights in ("on a mat", "(on a mat:1.4)", "(on a mat:0.6)"))
    assert plain.shape == heavy.shape == light.shape
    assert not torch.allclose(plain, heavy, atol=1e-3) and not torch.allclose(heavy, light, atol=1e-3)


# Isolation


def stop_at(step: int, error: BaseException) -> Callable[[int, int], None]:
    def on_step(done: int, total: int) -> None:
        if done == step:
            raise error

    return on_step


@pytest.mark.parametrize(
    "changes",
    [{}, {"seeds": (1, 2)}, STYLED, {"strength": 0.9, "references": References(init=RED)}, {"scheduler": "DPMSolverMultistep"}],
    ids=["plain", "batch", "reference", "img2img", "scheduler"],
)
def test_a_cancel_stops_between_two_steps_and_leaves_no_trace(
    sdxl: Sdxl, clean: np.ndarray[Any, Any], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = Sdxl._decode
    monkeypatch.setattr(Sdxl, "_decode", lambda self, latent: decoded.append(1) or decode(self, latent))
    with pytest.raises(Cancelled):
        list(sdxl.generate(dataclasses.replace(WORK, **changes), stop_at(2, Cancelled())))
    assert decoded == []
    monkeypatch.undo()
    assert np.array_equal(make(sdxl)[0], clean)


@pytest.mark.parametrize(
    "changes",
    [
        STYLED,
        {"reference_type": "character", "references": References(style=RED)},
        {"strength": 0.5, "references": References(init=RED)},
        {"prompt": LONG},
        {"prompt": "a (red)1.5 cat"},
        {"scheduler": "HeunDiscreteScheduler"},
        {"precise": True},
        {"width": 832, "height": 1216},
    ],
    ids=["style", "character", "img2img", "long", "weighted", "heun", "precise", "portrait"],
)
def test_a_job_is_the_same_to_the_bit_whatever_ran_before_it(sdxl: Sdxl, clean: np.ndarray[Any, Any], changes: dict[str, Any]) -> None:
    first = make(sdxl, **changes)[0]
    assert np.array_equal(make(sdxl)[0], clean)
    assert np.array_equal(make(sdxl, **changes)[0], first)


def test_stopping_after_the_first_image_leaves_no_trace(sdxl: Sdxl, clean: np.ndarray[Any, Any]) -> None:
    made = sdxl.generate(dataclasses.replace(WORK, seeds=(1, 2, 3), **STYLED), nothing)
    next(made)
    made.close()
    assert np.array_equal(make(sdxl)[0], clean)


# Failures


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory"), RuntimeError("can't allocate memory")],
    ids=str,
)
def test_out_of_memory_is_reported_and_survived(
    sdxl: Sdxl, clean: np.ndarray[Any, Any], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(sdxl._pipe.unet, "forward", fail)
        with pytest.raises(OutOfMemory, match="sdxl_image_fast 512×512"):
            make(sdxl, **STYLED)
    assert np.array_equal(make(sdxl)[0], clean)


def test_other_errors_are_passed_on(sdxl: Sdxl) -> None:
    with pytest.raises(RuntimeError, match="a bug of ours"):
        list(sdxl.generate(WORK, stop_at(1, RuntimeError("a bug of ours"))))


def test_a_single_colour_is_bad_output(sdxl: Sdxl, clean: np.ndarray[Any, Any]) -> None:
    weight = sdxl._pipe.vae.decoder.conv_out.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.zero_()
        with pytest.raises(BadOutput, match="single colour"):
            make(sdxl)
        weight.copy_(kept)
    assert np.array_equal(make(sdxl)[0], clean)


def test_an_overflow_is_bad_output_and_higher_precision_fixes_it(tiny_root: Path) -> None:
    low = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), dtype=torch.float16)
    low.load()
    before = make(low)[0]
    kept = low._pipe.unet.conv_in.weight.detach().clone()
    with torch.no_grad():
        low._pipe.unet.conv_in.weight.mul_(20_000)  # finite in fp16, but its products are not
        with pytest.raises(BadOutput, match="NaN or infinity"):
            make(low)
        assert make(low, precise=True)[0].std() > 5
        low._pipe.unet.conv_in.weight.copy_(kept)
    assert np.array_equal(make(low)[0], before)


def test_lower_precision_keeps_the_decoder_in_float32_and_is_restored(tiny_root: Path, clean: np.ndarray[Any, Any]) -> None:
    """As on a GPU, where the UNet runs in bf16."""
    low = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), dtype=torch.bfloat16)
    first = make(low)[0]
    assert 0 < apart(first, clean) < 10
    assert apart(make(low, precise=True)[0], clean) < apart(first, clean)
    make(low, precise=True, **STYLED)
    assert make(low, **STYLED)[0].std() > 5
    assert make(low, strength=0.5, references=References(init=RED))[0].std() > 5
    assert low._pipe.vae.dtype == torch.float32
    assert np.array_equal(make(low)[0], first)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 1020}, "multiples of 8"),
        ({"steps": 0}, "at least one step"),
        ({"seeds": ()}, "one seed"),
        ({"strength": 0.5}, "needs that picture"),
        ({"references": References(init=RED)}, "a strength"),
        ({"reference_type": "style"}, "needs a reference"),
        ({"reference_type": "mood", "references": References(style=RED)}, "unknown reference type 'mood'"),
        ({"scheduler": "Nope"}, "unknown scheduler 'Nope'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),  # the same in every process, unlike an image's repr
)
def test_impossible_jobs_are_refused_before_the_first_step(sdxl: Sdxl, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadWork, match=words):
        list(sdxl.generate(dataclasses.replace(WORK, **changes), lambda *_: pytest.fail("a step ran")))


@pytest.fixture
def copied(tiny_root: Path, tmp_path: Path) -> Path:
    for folder in ("sdxl-lustify", "ip-adapter"):
        shutil.copytree(tiny_root / folder, tmp_path / folder)
    files.pin(tmp_path, tiny=True)
    return tmp_path


def test_a_truncated_file_is_named_before_anything_loads(copied: Path) -> None:
    file = copied / "sdxl-lustify" / "model.safetensors"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(ModelFileError, match=r"sdxl-lustify/model\.safetensors: is truncated"):
        Sdxl(ModelPaths(copied), torch.device("cpu")).load()


def test_a_broken_adapter_stops_only_the_jobs_that_need_it(copied: Path) -> None:
    (copied / "ip-adapter/sdxl_models/ip-adapter_sdxl.safetensors").unlink()
    model = Sdxl(ModelPaths(copied), torch.device("cpu"))
    plain = make(model)[0]
    with pytest.raises(ModelFileError, match=r"ip-adapter_sdxl\.safetensors: is missing"):
        make(model, **STYLED)
    assert np.array_equal(make(model)[0], plain)


def test_a_tokenizer_with_a_wrong_vocabulary_is_detected(copied: Path) -> None:
    folder = copied / "sdxl-lustify" / "config" / "tokenizer_2"
    (folder / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "!": 2}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    files.pin(copied)
    with pytest.raises(ModelFileError, match="tokenizer has 3 tokens where CLIP has 49408"):
        Sdxl(ModelPaths(copied), torch.device("cpu")).load()


def test_describe_states_model_hash_and_device(sdxl: Sdxl, tiny_root: Path) -> None:
    facts = sdxl.describe()
    assert facts["tiny"] is True
    assert facts["sha256"] == files.sha256(tiny_root / "sdxl-lustify/model.safetensors")
    assert (facts["family"], facts["model"], facts["dtype"], facts["device"]) == ("sdxl", "sdxl-lustify", "float32", "cpu")


def test_an_unloaded_model_loads_itself_for_the_next_job(tiny_root: Path, clean: np.ndarray[Any, Any]) -> None:
    model = Sdxl(ModelPaths(tiny_root), torch.device("cpu"))
    model.load()
    model.unload()
    model.unload()
    assert np.array_equal(make(model)[0], clean)
