"""Wan with the tiny models: every setting of a job has a visible effect."""

from __future__ import annotations

import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from executors.errors import BadOutput, BadWork, Cancelled, ModelFileError, OutOfMemory
from executors.models import tiny_wan
from executors.models.base import Clip, ModelPaths, Picture, References, Work
from executors.models.wan import Wan

VIDEO = Work("job", "video_fast", "a woman walking", "blurry", 480, 832, steps=3, guidance=6.5, seeds=(7,), frames=9)
PICTURE = replace(VIDEO, job_type="image_fast", frames=1)
DIFFERENT = 1.0  # mean difference, of 255, that counts as a change; the same job twice gives exactly 0


def patchwork(seed: int, size: tuple[int, int] = (300, 400)) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)


def pixels(wan: Wan, work: Work) -> np.ndarray:
    """Array of frames × H × W × 3."""
    (output,) = wan.generate(work, lambda done, total: None)
    frames = output.frames if isinstance(output, Clip) else [output.image]
    return np.stack([np.asarray(frame) for frame in frames]).astype(float)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


@pytest.fixture(scope="module")
def wan(tiny_root: Path) -> Wan:
    family = Wan(ModelPaths(tiny_root))
    family.load()
    return family


@pytest.fixture
def copy(tiny_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_root, tmp_path / "models"))


def test_a_video_job_gives_81_frames_in_the_orientation_asked_for(wan: Wan) -> None:
    work = replace(VIDEO, job_type="video_high", steps=50, frames=81, seeds=(1234,), width=832, height=480)
    seen: list[tuple[int, int]] = []
    (clip,) = wan.generate(work, lambda done, total: seen.append((done, total)))
    assert isinstance(clip, Clip)
    assert (len(clip.frames), clip.fps, clip.seed) == (81, 16, 1234)
    assert {frame.size for frame in clip.frames} == {(80, 48)} == {wan.size_of(work)}
    assert {frame.mode for frame in clip.frames} == {"RGB"}
    assert seen == [(step, 50) for step in range(1, 51)]
    assert difference(np.asarray(clip.frames[0], float), np.asarray(clip.frames[80], float)) > DIFFERENT


def test_an_image_job_gives_one_upright_image(wan: Wan) -> None:
    (picture,) = wan.generate(PICTURE, lambda done, total: None)
    assert isinstance(picture, Picture)
    assert (picture.image.size, picture.seed) == ((48, 80), 7)
    assert np.asarray(picture.image).std() > 10


@pytest.mark.parametrize("work", [VIDEO, PICTURE], ids=["video", "picture"])
def test_the_same_job_again_gives_the_same_pixels(wan: Wan, work: Work) -> None:
    assert difference(pixels(wan, work), pixels(wan, work)) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a red car"},
        {"negative_prompt": "sharp, bright"},
        {"seeds": (8,)},
        {"guidance": 3.0},
        {"steps": 5},
        {"shift": 3.0},
        {"sampler": "dpm++"},
        {"sampler": "euler"},
    ],
    ids=lambda change: "-".join(map(str, change.values())) or "none",
)
def test_every_setting_changes_the_output(wan: Wan, change: dict) -> None:
    assert difference(pixels(wan, VIDEO), pixels(wan, replace(VIDEO, **change))) > DIFFERENT


@pytest.mark.parametrize("mode", ["single", "first_frame", "last_frame"])
def test_each_reference_changes_the_output(wan: Wan, mode: str) -> None:
    none = pixels(wan, VIDEO)
    one, other = (pixels(wan, replace(VIDEO, references=References(**{mode: patchwork(seed)}))) for seed in (1, 2))
    assert difference(none, one) > DIFFERENT
    assert difference(one, other) > DIFFERENT


def test_start_and_end_together_differ_from_either_alone(wan: Wan) -> None:
    first, last = patchwork(1), patchwork(2)
    both = pixels(wan, replace(VIDEO, references=References(first_frame=first, last_frame=last)))
    start = pixels(wan, replace(VIDEO, references=References(first_frame=first)))
    end = pixels(wan, replace(VIDEO, references=References(last_frame=last)))
    swapped = pixels(wan, replace(VIDEO, references=References(first_frame=last, last_frame=first)))
    assert min(difference(both[0], end[0]), difference(both[-1], start[-1]), difference(both, swapped)) > DIFFERENT


def test_reference_strength_changes_the_output(wan: Wan) -> None:
    work = replace(VIDEO, references=References(first_frame=patchwork(1)))
    weak, strong = (pixels(wan, replace(work, reference_strength=strength)) for strength in (0.1, 1.0))
    assert difference(weak, strong) > DIFFERENT


def test_a_picture_job_takes_a_single_reference(wan: Wan) -> None:
    one, other = (pixels(wan, replace(PICTURE, references=References(single=patchwork(seed)))) for seed in (1, 2))
    assert one.shape == (1, 80, 48, 3)
    assert difference(one, other) > 0.3  # one reference frame against one frame of noise: a small effect in a tiny model


def test_references_of_any_size_and_mode_are_accepted(wan: Wan) -> None:
    """Transparent parts count as white, and an odd size does not shift the conditioning."""
    shown = Image.new("RGB", (333, 555), "white")
    shown.paste((200, 30, 30), (100, 100, 300, 400))
    see_through = Image.new("RGBA", (333, 555), (0, 0, 0, 0))
    see_through.paste((200, 30, 30, 255), (100, 100, 300, 400))
    for mode in ("single", "first_frame"):
        flat, layered = (pixels(wan, replace(VIDEO, references=References(**{mode: image}))) for image in (shown, see_through))
        assert difference(flat, layered) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frames": 83}, "83"),
        ({"frames": 0}, "4k"),
        ({"width": 500}, "500×832"),
        ({"sampler": "magic"}, "magic"),
        ({"seeds": (1, 2)}, "one seed"),
        ({"frames": 1, "references": References(first_frame=patchwork(1))}, "start"),
        ({"frames": 1, "references": References(first_frame=patchwork(1), last_frame=patchwork(2))}, "both"),
    ],
)
def test_impossible_jobs_are_refused_before_the_first_step(wan: Wan, change: dict, says: str) -> None:
    steps: list[int] = []
    with pytest.raises(BadWork, match=says) as refused:
        list(wan.generate(replace(VIDEO, **change), lambda done, total: steps.append(done)))
    assert not steps
    assert not refused.value.retryable


@pytest.mark.parametrize("references", [References(), References(first_frame=patchwork(1))], ids=["t2v", "vace"])
def test_a_cancel_stops_within_a_step_and_leaves_the_next_job_clean(tiny_root: Path, references: References) -> None:
    work = replace(VIDEO, steps=6, references=references)
    clean = pixels(Wan(ModelPaths(tiny_root)), work)
    family, reached = Wan(ModelPaths(tiny_root)), []

    def cancel(done: int, total: int) -> None:
        reached.append(done)
        if done == 3:
            raise Cancelled

    outputs = []
    with pytest.raises(Cancelled):
        outputs += family.generate(replace(work, seeds=(99,), sampler="dpm++"), cancel)
    assert (reached, outputs) == ([1, 2, 3], [])
    assert difference(clean, pixels(family, work)) == 0


def test_running_out_of_memory_frees_what_the_job_held_and_the_next_job_runs(wan: Wan, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = pixels(wan, VIDEO)
    held: list[weakref.ref] = []

    def run_out(latents: torch.Tensor, **_: object) -> None:
        activations = latents * 2
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(wan._pipes["t2v"].vae, "decode", run_out)
        with pytest.raises(OutOfMemory, match="Tried to allocate"):
            pixels(wan, VIDEO)
        assert held[0]() is None
    assert difference(clean, pixels(wan, VIDEO)) == 0


@pytest.mark.parametrize("value", [float("nan"), 0.0], ids=["nan", "one colour"])
def test_bad_output_is_refused(tiny_root: Path, value: float) -> None:
    family = Wan(ModelPaths(tiny_root), modes={"t2v"})
    family.load()
    with torch.no_grad():
        family._pipes["t2v"].vae.decoder.conv_out.weight.fill_(value)
    with pytest.raises(BadOutput):
        pixels(family, VIDEO)


def test_half_precision_keeps_norms_and_vae_in_float32(tiny_root: Path, wan: Wan) -> None:
    half = Wan(ModelPaths(tiny_root), modes={"t2v"}, dtype=torch.bfloat16)
    half.load()
    pipe = half._pipes["t2v"]
    assert pipe.text_encoder.dtype == torch.bfloat16
    assert pipe.vae.dtype == torch.float32
    assert pipe.transformer.blocks[0].norm2.weight.dtype == torch.float32
    assert pipe.transformer.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    usual, precise, exact = pixels(half, PICTURE), pixels(half, replace(PICTURE, precise=True)), pixels(wan, PICTURE)
    assert 0 < difference(precise, exact) < difference(usual, exact)  # not 0: the text encoder stays in bfloat16
    assert difference(usual, pixels(half, PICTURE)) == 0  # the next job is in half precision again


def test_both_pipelines_share_common_components(wan: Wan) -> None:
    t2v, vace = wan._pipes["t2v"], wan._pipes["vace"]
    assert t2v.vae is vace.vae and t2v.text_encoder is vace.text_encoder and t2v.tokenizer is vace.tokenizer
    addresses = {parameter.data_ptr() for parameter in vace.transformer.parameters()}
    assert {parameter.data_ptr() for parameter in t2v.transformer.parameters()} <= addresses


def test_only_the_requested_pipeline_is_loaded(tiny_root: Path) -> None:
    family = Wan(ModelPaths(tiny_root))
    pixels(family, PICTURE)
    assert family.loaded() == {"t2v"}
    family.unload()
    assert family.loaded() == frozenset()
    assert pixels(family, PICTURE).shape == (1, 80, 48, 3)
    only = Wan(ModelPaths(tiny_root), modes={"t2v"})
    with pytest.raises(ModelFileError, match="vace"):
        pixels(only, replace(VIDEO, references=References(single=patchwork(1))))


@pytest.mark.parametrize("name", ["transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"])
def test_a_truncated_file_is_named_and_affects_only_its_pipeline(copy: Path, name: str) -> None:
    broken = ModelPaths(copy).vace / name
    broken.write_bytes(broken.read_bytes()[:-100])
    family = Wan(ModelPaths(copy))
    with pytest.raises(ModelFileError, match=f"wan2.1-vace-1.3b/{name}.*truncated"):
        family.load()
    assert pixels(family, PICTURE).shape == (1, 80, 48, 3)


@pytest.mark.parametrize("name", ["model_index.json", "text_encoder/model.safetensors", "tokenizer/tokenizer.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (ModelPaths(copy).wan / name).unlink()
    with pytest.raises(ModelFileError, match=f"wan2.1-t2v-1.3b/{Path(name).parts[0]}"):
        Wan(ModelPaths(copy), modes={"t2v"}).load()


def test_another_models_folder_is_refused(copy: Path) -> None:
    paths = ModelPaths(copy)
    shutil.rmtree(paths.wan)
    shutil.copytree(paths.vace, paths.wan)
    with pytest.raises(ModelFileError, match=r"wan2\.1-t2v-1\.3b"):
        Wan(paths, modes={"t2v"}).load()


def test_making_tiny_models_again_changes_nothing_and_keeps_real_ones(tmp_path: Path) -> None:
    paths = ModelPaths(tmp_path)
    paths.vace.mkdir()
    (paths.vace / "model_index.json").write_text("{}")  # stands for a real model: it has no tiny.json
    tiny_wan.make(tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    tiny_wan.make(tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before
    assert [file.name for file in paths.vace.iterdir()] == ["model_index.json"]
    assert sorted(file.name for file in tmp_path.iterdir()) == [paths.wan.name, paths.vace.name]  # no partial files are left
