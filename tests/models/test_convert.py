"""A converted model equals its source to the bit; it exists completely or not at all; it is never used for another source."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, UMT5EncoderModel
from waiting import LIMIT

from executors.errors import DiskFull, ModelFileError
from executors.models import convert, files
from executors.models.base import ModelPaths, Work
from executors.models.loading import quiet
from executors.models.safetensors_header import read_header
from executors.models.sdxl import Sdxl
from executors.models.wan import Wan

TYPES: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}


@pytest.fixture(scope="module")
def converted(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    quiet()
    root = tmp_path_factory.mktemp("converted") / "models"
    shutil.copytree(tiny_root, root)
    assert {m.state for m in convert.convert(root, lambda _: None)} == {"made"}
    return root


@pytest.fixture
def root(converted: Path, tmp_path: Path) -> Path:
    shutil.copytree(converted, tmp_path / "models")
    return tmp_path / "models"


def same(one: Any, other: Any) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("component", TYPES)
def test_sdxl_components_equal_the_source_to_the_bit(converted: Path, component: str, dtype: torch.dtype) -> None:
    paths = ModelPaths(converted)
    source = convert.source_of(paths, "sdxl", component, dtype)
    assert not source.single_file
    pipe = StableDiffusionXLPipeline.from_single_file(
        str(paths.sdxl_file), config=str(paths.sdxl_config), local_files_only=True, torch_dtype=dtype
    )
    assert same(getattr(pipe, component), TYPES[component].from_pretrained(source.path, dtype=dtype, local_files_only=True))


@pytest.mark.parametrize("role", ["wan", "vace"])
def test_umt5_in_bfloat16_equals_the_source_to_the_bit(converted: Path, role: str) -> None:
    paths = ModelPaths(converted)
    source = convert.source_of(paths, role, "text_encoder", torch.bfloat16)
    assert source.path.is_relative_to(converted / "converted")
    original = (paths.wan if role == "wan" else paths.vace) / "text_encoder"
    loaded = [UMT5EncoderModel.from_pretrained(p, dtype=torch.bfloat16, local_files_only=True) for p in (original, source.path)]
    assert same(*loaded)
    assert (source.path / "model.safetensors").stat().st_size < 0.7 * (original / "model.safetensors").stat().st_size


def test_umt5_in_float32_is_loaded_from_its_source(converted: Path) -> None:
    source = convert.source_of(ModelPaths(converted), "wan", "text_encoder", torch.float32)
    assert source == convert.Source(converted / "wan2.1-t2v-1.3b" / "text_encoder")


def test_equal_encoders_of_two_models_are_converted_once(converted: Path) -> None:
    assert sorted(m.name for m in convert.state(converted)) == ["sdxl-folder", "umt5-bf16"]
    assert len([p for p in (converted / "converted").iterdir() if p.is_dir()]) == 2


def test_the_narrowest_lossless_type_is_kept(converted: Path) -> None:
    source = convert.source_of(ModelPaths(converted), "sdxl", "unet", torch.float32)
    kept = {t["dtype"] for file in source.path.glob("*.safetensors") for t in read_header(file).values()}
    assert kept == {"F16"}  # like the single file


@pytest.mark.parametrize("kind", ["F32", "BF16"])
def test_weights_are_not_narrowed_if_they_would_round(tiny_root: Path, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "models"
    shutil.copytree(tiny_root / "sdxl-lustify", root / "sdxl-lustify")
    paths = ModelPaths(root)
    wide = {name: t.float() * 1.0001 if t.is_floating_point() else t for name, t in load_file(paths.sdxl_file).items()}
    if kind == "BF16":  # in a range that float16 lacks
        wide = {name: (t * 1e-6).bfloat16() if t.is_floating_point() else t for name, t in wide.items()}
    save_file(wide, paths.sdxl_file)
    files.pin(root)
    convert.convert(root, lambda _: None)
    source = convert.source_of(paths, "sdxl", "unet", torch.float32)
    assert {t["dtype"] for file in source.path.glob("*.safetensors") for t in read_header(file).values()} == {kind}
    loaded = UNet2DConditionModel.from_pretrained(source.path, dtype=torch.float32, local_files_only=True)
    pipe = StableDiffusionXLPipeline.from_single_file(
        str(paths.sdxl_file), config=str(paths.sdxl_config), local_files_only=True, torch_dtype=torch.float32
    )
    assert same(pipe.unet, loaded)


def test_converting_again_changes_nothing(root: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (root / "converted").rglob("*") if p.is_file()}
    assert {m.state for m in convert.convert(root, lambda _: None)} == {"there"}
    assert {p: p.stat().st_mtime_ns for p in (root / "converted").rglob("*") if p.is_file() and p.name != ".lock"} == {
        p: at for p, at in before.items() if p.name != ".lock"
    }


def test_a_changed_source_has_no_conversion_and_the_old_one_is_pruned(root: Path) -> None:
    paths = ModelPaths(root)
    index = paths.sdxl_config / "unet" / "config.json"
    index.write_text(index.read_text() + "\n")
    old = convert.source_of(paths, "sdxl", "unet", torch.float32).path.parent
    files.pin(root, tiny=True)
    assert convert.source_of(paths, "sdxl", "unet", torch.float32) == convert.Source(paths.sdxl_file, single_file=True)
    convert.convert(root, lambda _: None)
    new = convert.source_of(paths, "sdxl", "unet", torch.float32).path.parent
    assert (new != old, new.is_dir(), old.is_dir()) == (True, True, True)
    assert [m.path for m in convert.prune(root)] == [old]
    assert (new.is_dir(), old.exists()) == (True, False)


def test_unpinned_files_are_not_converted(root: Path) -> None:
    (root / files.MANIFEST).unlink()
    assert convert.state(root) == []
    assert convert.source_of(ModelPaths(root), "sdxl", "unet", torch.float32).single_file


def test_a_damaged_conversion_is_not_loaded_and_made_again(root: Path) -> None:
    paths = ModelPaths(root)
    unet = convert.source_of(paths, "sdxl", "unet", torch.float32).path
    os.truncate(next(unet.glob("*.safetensors")), 1000)
    assert convert.source_of(paths, "sdxl", "vae", torch.float32).single_file
    assert {m.name: m.state for m in convert.convert(root, lambda _: None)} == {"sdxl-folder": "made", "umt5-bf16": "there"}
    assert convert.source_of(paths, "sdxl", "unet", torch.float32).path == unet


def test_a_damaged_source_is_not_converted(tiny_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(tiny_root, root)
    file = root / "wan2.1-t2v-1.3b/text_encoder/model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelFileError, match=r"wan2\.1-t2v-1\.3b/text_encoder/model\.safetensors: does not match its pin"):
        convert.convert(root, lambda _: None)
    assert [p for p in (root / "converted").iterdir() if p.is_dir()] == []


def test_too_small_a_disk_is_reported(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_root, tmp_path / "models")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=convert.SPARE))
    with pytest.raises(DiskFull, match="Nothing was converted"):
        convert.convert(tmp_path / "models", lambda _: None)


def killed_before_it_is_renamed(root: Path) -> None:
    """In a process that imports torch itself: one forked from here, where torch has had threads, may find its pool of threads invalid."""
    convert._compare = lambda model, folder: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    convert.convert(root, print)


def test_a_killed_conversion_leaves_nothing(tiny_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(tiny_root, root)
    making = forked.start(killed_before_it_is_renamed, root)
    making.join(LIMIT)
    assert making.exitcode == -signal.SIGKILL
    assert [p.name for p in (root / "converted").iterdir() if p.name.startswith(".making-")]
    assert {m.state for m in convert.state(root)} == {"missing"}
    assert convert.source_of(ModelPaths(root), "sdxl", "unet", torch.float32).single_file
    convert.convert(root, lambda _: None)
    assert {m.state for m in convert.state(root)} == {"there"}
    assert [p.name for p in (root / "converted").iterdir() if p.name.startswith(".making-")] == []


def test_a_second_conversion_is_refused(root: Path) -> None:
    with convert._alone(root), pytest.raises(ModelFileError, match="another conversion runs"):
        convert.convert(root, lambda _: None)


def test_a_wrongly_written_conversion_is_detected(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "models"
    shutil.copytree(tiny_root, root)
    save = UMT5EncoderModel.save_pretrained

    def spoiled(model: Any, *args: Any, **kwargs: Any) -> None:
        save(model, *args, **kwargs)
        with torch.no_grad():
            next(model.parameters())[0, 0] += 1

    monkeypatch.setattr(UMT5EncoderModel, "save_pretrained", spoiled)
    with pytest.raises(ModelFileError, match="was not written as it is"):
        convert.convert(root, lambda _: None)
    assert [p for p in (root / "converted").iterdir() if p.is_dir()] == []


def test_the_record_says_what_it_was_made_from(converted: Path) -> None:
    place = convert.source_of(ModelPaths(converted), "sdxl", "unet", torch.float32).path.parent
    record = json.loads((place / convert.RECORD).read_text())
    pins = files.read_manifest(converted)["files"]
    assert record["made_from"]["model.safetensors"] == pins["sdxl-lustify/model.safetensors"]["sha256"]
    assert record["key"].startswith(place.name)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    quiet()
    yield


def test_outputs_from_a_conversion_equal_those_from_the_source(tiny_root: Path, converted: Path) -> None:
    def made(root: Path) -> list[bytes]:
        cpu = torch.device("cpu")
        asked = Work("job", "sdxl_image_fast", "a red cat", "", 512, 512, steps=2, guidance=6.0, seeds=(7,))
        wan = replace(asked, job_type="image_fast", width=480, height=832)
        families: list[tuple[Any, Work]] = [
            (Sdxl(ModelPaths(root), cpu), asked),
            (Sdxl(ModelPaths(root), cpu, torch.bfloat16), asked),
            (Wan(ModelPaths(root), {"t2v"}, cpu, torch.bfloat16), wan),
        ]
        return [output.image.tobytes() for family, work in families for output in family.generate(work, lambda *_: None)]

    pictures = made(converted)
    assert len(set(pictures)) == 3
    assert pictures == made(tiny_root)


def test_a_family_loads_an_existing_conversion(root: Path) -> None:
    """Shown by what it reads: the source's weights are replaced by others under their old pins."""
    paths = ModelPaths(root)
    before = Sdxl(paths, torch.device("cpu"))
    before.load()
    wanted = {k: v.clone() for k, v in before._pipe.unet.state_dict().items()}
    other = {name: t * 2 if t.is_floating_point() else t for name, t in load_file(paths.sdxl_file).items()}
    save_file(other, paths.sdxl_file, metadata={"format": "pt"})  # the same length: the check at startup does not notice
    after = Sdxl(paths, torch.device("cpu"))
    after.load()
    assert all(torch.equal(wanted[k], v) for k, v in after._pipe.unet.state_dict().items())
