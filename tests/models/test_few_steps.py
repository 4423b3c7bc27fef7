"""Distilled LoRAs: files in their published layouts, merged into the weights, and outputs made with them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from executors.errors import ModelFileError
from executors.models import files
from executors.models.base import Clip, Family, ModelPaths, References, Work
from executors.models.few_steps import distil, shortened
from executors.models.profiles import DEFAULT, named
from executors.models.sdxl import Sdxl
from executors.models.wan import Wan

STEPS = named("turbo-steps")
assert STEPS.few_steps is not None
FILES, RANK, ALPHA = STEPS.few_steps.files, 4, 2.0
WORKS = {
    "sdxl": Work("job", "sdxl_image_high", "a red cat", "ugly", 512, 512, steps=25, guidance=7.5, seeds=(7, 8)),
    "t2v": Work("job", "image_fast", "a red cat", "ugly", 480, 832, steps=25, guidance=6.5, seeds=(7,)),
}
WORKS["vace"] = dataclasses.replace(WORKS["t2v"], references=References(single=Image.linear_gradient("L").convert("RGB")))
LAYERS = {
    "sdxl": (".attn1.to_q", ".attn2.to_out.0", ".ff.net.2", ".proj_in", ".conv1", ".time_emb_proj"),
    "t2v": (".attn1.to_q", ".attn2.to_v", ".ffn.net.2"),
    "vace": (".attn1.to_q", ".attn2.to_v", ".ffn.net.2"),
}


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_root, tmp_path / "models"))


def family(model: str, root: Path, profile: Any = STEPS) -> Family:
    paths, cpu = ModelPaths(root), torch.device("cpu")
    made = Sdxl(paths, cpu, profile=profile) if model == "sdxl" else Wan(paths, {model}, cpu, profile=profile)
    made.load()
    return made


def denoiser(made: Any, model: str) -> Any:
    return made._pipe.unet if model == "sdxl" else made._pipes[model].transformer


def pixels(made: Family, work: Work, told: list[tuple[int, int]] | None = None) -> np.ndarray[Any, Any]:
    outputs = list(made.generate(work, lambda done, total: told.append((done, total)) if told is not None else None))
    return np.stack([np.asarray(o.frames[0] if isinstance(o, Clip) else o.image).astype(np.int16) for o in outputs])


def pairs(model: str, network: Any, scale: float = 0.05) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A LoRA for some layers of each kind: name → (A, B)."""
    torch.manual_seed(3)
    found = {}
    for name, layer in network.named_modules():
        if name.endswith(LAYERS[model]):
            out, *rest = layer.weight.shape
            found[name] = (scale * torch.randn(RANK, *rest), scale * torch.randn(out, RANK, *[1] * (len(rest) - 1)))
    assert len(found) > 4
    return found


def kohya(model: str, found: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The layout of LCM-LoRA for SDXL: names joined by underscores, down and up, with an alpha each."""
    file = {}
    for name, (down, up) in found.items():
        key = f"lora_unet_{name.replace('.', '_')}"
        file |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(ALPHA)}
    return file


def plain(model: str, found: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """diffusers' own layout, which has α = r."""
    prefix = "unet" if model == "sdxl" else "transformer"
    return {f"{prefix}.{name}.lora_{half}.weight": w for name, pair in found.items() for half, w in zip("AB", pair, strict=True)}


def put(root: Path, model: str, file: dict[str, torch.Tensor]) -> None:
    save_file({key: value.contiguous() for key, value in file.items()}, root / FILES[model])
    files.pin(root, tiny=True)


@pytest.mark.parametrize(
    ("model", "layout", "scale"), [("sdxl", kohya, ALPHA / RANK), ("sdxl", plain, 1), ("t2v", plain, 1), ("vace", plain, 1)]
)
def test_a_lora_of_either_layout_is_merged_into_its_layers_only(root: Path, model: str, layout: Any, scale: float) -> None:
    network = denoiser(family(model, root, DEFAULT), model)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    found = pairs(model, network)
    put(root, model, layout(model, found))
    after = dict(denoiser(family(model, root), model).named_parameters())
    assert list(after) == list(before)
    for name, weight in after.items():
        expected = before[name]
        if (layer := name.removesuffix(".weight")) in found:
            down, up = found[layer]
            expected = expected + scale * torch.einsum("or,r...->o...", up.flatten(1), down)
            assert not torch.equal(weight, before[name])
        assert torch.allclose(weight, expected, atol=1e-6)


@pytest.mark.parametrize("model", WORKS)
def test_images_take_six_steps_without_guidance_and_differ(root: Path, model: str) -> None:
    default = family(model, root, DEFAULT)
    usual = pixels(default, WORKS[model])
    put(root, model, plain(model, pairs(model, denoiser(default, model))))
    made, told = family(model, root), []
    first = pixels(made, WORKS[model], told)
    assert told[-1] == (6 * len(WORKS[model].seeds),) * 2
    assert np.abs(first - usual).mean() > 1
    assert np.array_equal(pixels(made, dataclasses.replace(WORKS[model], guidance=3.0, steps=30)), first)
    assert np.array_equal(pixels(made, dataclasses.replace(WORKS[model], precise=True)), first)  # on a CPU precision is highest already
    assert made.describe()["few_steps"] == 6
    assert "few_steps" not in family(model, root, DEFAULT).describe()


def test_a_lora_for_another_model_is_refused(root: Path) -> None:
    network = denoiser(family("sdxl", root, DEFAULT), "sdxl")
    found = pairs("sdxl", network) | {"blocks.9.attn1.to_q": (torch.ones(4, 4), torch.ones(4, 4))}
    put(root, "sdxl", plain("sdxl", found))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    with pytest.raises(ModelFileError, match=r"few-steps\.safetensors.*no layer blocks\.9\.attn1\.to_q"):
        distil(STEPS, "sdxl", network, root)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_missing_and_non_lora_files_are_reported(root: Path) -> None:
    network = denoiser(family("t2v", root, DEFAULT), "t2v")
    with pytest.raises(ModelFileError, match=r"turbo-steps needs .*few-steps\.safetensors: put the distilled LoRA there"):
        distil(STEPS, "t2v", network, root)
    put(root, "t2v", {"text_encoder.layer.lora_A.weight": torch.ones(1)})
    with pytest.raises(ModelFileError, match=r"text_encoder\.layer\.lora_A\.weight, which is not the denoiser's"):
        distil(STEPS, "t2v", network, root)


def test_fewer_requested_steps_are_kept() -> None:
    assert shortened(STEPS, dataclasses.replace(WORKS["sdxl"], steps=4)).steps == 4
    assert shortened(DEFAULT, WORKS["sdxl"]) is WORKS["sdxl"]
