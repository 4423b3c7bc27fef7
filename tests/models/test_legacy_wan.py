"""Wan as published by its authors and stored on the legacy workers' volume is converted to diffusers' format with the same weights."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file

from executors.errors import ModelFileError
from executors.models import convert, files, older_wan
from executors.models.base import ModelPaths, Picture, Work
from executors.models.wan import Wan

State = dict[str, torch.Tensor]
T2V, VACE = "wan2.1-t2v-1.3b", "wan2.1-vace-1.3b"
T5, VAE, DIT = "models_t5_umt5-xxl-enc-bf16.pth", "Wan2.1_VAE.pth", "diffusion_pytorch_model.safetensors"


def swapped(name: str, pairs: list[tuple[str, str]]) -> str:
    for pattern, replacement in pairs:
        name = re.sub(pattern, replacement, name)
    return name


DIT_NAMES = [
    (r"\bnorm2\b", "norm3"), (r"attn1\.", "self_attn."), (r"attn2\.", "cross_attn."), (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".o."),
    (r"ffn\.net\.0\.proj", "ffn.0"), (r"ffn\.net\.2", "ffn.2"), (r"^scale_shift_table", "head.modulation"),
    (r"scale_shift_table", "modulation"), (r"^proj_out", "head.head"), (r"proj_in", "before_proj"), (r"(vace.*)proj_out", r"\1after_proj"),
    (r"condition_embedder\.(time|text)_embedder\.linear_1", r"\1_embedding.0"),
    (r"condition_embedder\.(time|text)_embedder\.linear_2", r"\1_embedding.2"), (r"condition_embedder\.time_proj", "time_projection.1"),
]  # fmt: skip
T5_NAMES = [
    ("^shared", "token_embedding"), (r"^encoder\.final_layer_norm", "norm"), (r"^encoder\.block", "blocks"),
    (r"layer\.0\.SelfAttention\.relative_attention_bias", "pos_embedding.embedding"), (r"layer\.0\.SelfAttention", "attn"),
    (r"layer\.0\.layer_norm", "norm1"), (r"layer\.1\.layer_norm", "norm2"), (r"layer\.1\.DenseReluDense\.wi_0", "ffn.gate.0"),
    (r"layer\.1\.DenseReluDense\.wi_1", "ffn.fc1"), (r"layer\.1\.DenseReluDense\.wo", "ffn.fc2"),
]  # fmt: skip
RESIDUAL = [
    ("norm1", "residual.0"),
    ("conv1", "residual.2"),
    ("norm2", "residual.3"),
    ("conv2", "residual.6"),
    ("conv_shortcut", "shortcut"),
]


def vae_name(name: str) -> str:
    """From diffusers' name to the authors', whose decoder numbers all blocks consecutively: three residual blocks and an upsampler."""
    name = swapped(name, [("^post_quant_conv", "conv2"), ("^quant_conv", "conv1"), (r"coder\.conv_in", "coder.conv1")])
    name = swapped(name, [(r"coder\.norm_out", "coder.head.0"), (r"coder\.conv_out", "coder.head.2")])
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"middle.{2 * int(m[1])}", name).replace("mid_block.attentions.0", "middle.1")
    name = re.sub(r"decoder\.up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"decoder.upsamples.{4 * int(m[1]) + int(m[2])}", name)
    name = re.sub(r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.upsamples.{4 * int(m[1]) + 3}", name)
    name = name.replace("encoder.down_blocks", "encoder.downsamples")
    if re.search(r"downsamples|upsamples|middle\.[02]", name):
        name = swapped(name, [(rf"\.{ours}\.", f".{theirs}.") for ours, theirs in RESIDUAL])
    return name


@pytest.fixture
def published(tiny_root: Path, tmp_path: Path) -> tuple[Path, dict[str, State]]:
    """A volume as left by the legacy workers, and its tensors under diffusers' names."""
    root, expected = tmp_path / "models", {}
    torch.manual_seed(1)
    vae = AutoencoderKLWan(base_dim=4)  # small, with the real one's structure
    for name in (T2V, VACE):
        folder, tiny = root / name, tiny_root / name
        shutil.copytree(tiny / "tokenizer", folder / "google/umt5-xxl")
        denoiser = load_file(tiny / "transformer/diffusion_pytorch_model.safetensors")
        words = {key: tensor.bfloat16() for key, tensor in load_file(tiny / "text_encoder/model.safetensors").items()}
        save_file({swapped(key, DIT_NAMES): tensor for key, tensor in denoiser.items()}, folder / DIT)
        torch.save({swapped(key, T5_NAMES): tensor for key, tensor in words.items()}, folder / T5)
        torch.save({vae_name(key): tensor for key, tensor in vae.state_dict().items()}, folder / VAE)
        (folder / "config.json").write_text(json.dumps({"model_type": "t2v", "num_heads": 2, "dim": 24}))
        (folder / "README.md").write_text("Wan")
        expected[name] = {"transformer": denoiser, "text_encoder": words, "vae": dict(vae.state_dict())}
    return root, expected


def weights(folder: Path) -> dict[str, State]:
    return {part: load_file(next((folder / part).glob("*.safetensors"))) for part in older_wan.SOURCES}


def test_the_authors_files_are_converted_and_pinned(published: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    root, expected = published
    wan = next(s for s in files.check(root) if s.role == "wan")
    assert not wan.ok and all("models convert" in p.todo for p in wan.problems if p.what == "is missing")
    assert {note.partition(":")[0] for note in wan.notes} >= {f"{T2V}/{T5}", f"{T2V}/{VAE}", f"{T2V}/README.md"}
    assert [(m.name, m.state) for m in convert.state(root)] == [("wan-original", "missing"), ("vace-original", "missing")]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}

    told: list[str] = []
    assert {"wan-original": "made", "vace-original": "made"}.items() <= {
        m.name: m.state for m in convert.convert(root, told.append)
    }.items()
    assert any(VAE in line for line in told)
    for name, parts in expected.items():
        made = weights(root / name)
        for part, tensors in parts.items():
            assert made[part].keys() == tensors.keys(), part
            assert all(torch.equal(made[part][key], tensor) for key, tensor in tensors.items()), part
    problems = {s.role: s.problems for s in files.verify(root, structure=True)}
    assert problems["wan"] == problems["vace"] == ()
    pin = files.read_manifest(root)["files"][f"{T2V}/text_encoder/model.safetensors"]
    assert pin["made_from"] == {T5: files.sha256(root / T2V / T5)}
    assert all(path.stat().st_mtime_ns == at for path, at in before.items()), "what lay there stays as it was"
    assert not [path for path in root.rglob(".making-*")]
    assert all(m.state in ("there", "unneeded") for m in convert.convert(root, told.append))

    family = Wan(ModelPaths(root), ["t2v"], torch.device("cpu"))
    asked = Work("job", "image_fast", "a red cat", "", 48, 80, steps=2, guidance=5.0, seeds=(1,))
    (picture,) = family.generate(asked, lambda *_: None)
    assert isinstance(picture, Picture) and picture.image.size == (48, 80)


class Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/ourvidz-ran",)


def test_other_files_are_refused_by_name(published: tuple[Path, Any]) -> None:
    root, _ = published
    shutil.rmtree(root / VACE)
    folder = root / T2V
    good = {name: (folder / name).read_bytes() for name in (T5, VAE, DIT)}
    umt5 = torch.load(folder / T5, weights_only=True)
    denoiser = load_file(folder / DIT)

    def refused(words: str) -> None:
        with pytest.raises(ModelFileError, match=words):
            convert.convert(root, lambda _: None)
        assert not (folder / "model_index.json").exists() and not list(folder.glob(".making-*"))
        for name, data in good.items():
            (folder / name).write_bytes(data)
        for part in older_wan.SOURCES:  # parts already converted would be kept
            shutil.rmtree(folder / part, ignore_errors=True)

    (folder / VAE).write_bytes(pickle.dumps(Boom()))
    refused(rf"{VAE}: is no file of tensors alone, and is not loaded")
    assert not Path("/tmp/ourvidz-ran").exists()
    torch.save({"a": [1, 2]}, folder / VAE)
    refused(f"{VAE}: holds no tensors by name")
    torch.save({key: tensor for key, tensor in umt5.items() if key != "blocks.1.ffn.fc2.weight"}, folder / T5)
    refused(rf"{T5}: lacks the tensor encoder\.block\.1\.layer\.1\.DenseReluDense\.wo\.weight")
    save_file({f"x.{key}": tensor for key, tensor in denoiser.items()}, folder / DIT)
    refused(f"{DIT}: is not the transformer of Wan 2.1")
    (folder / VAE).unlink()
    refused(rf"without Wan2\.1_VAE\.safetensors or {VAE}")
    shutil.rmtree(folder / "google")
    refused(r"without google/umt5-xxl/tokenizer\.json")


def test_an_interrupted_conversion_resumes(published: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    root, expected = published
    shutil.rmtree(root / VACE)
    real = older_wan._write

    def stops(role: str, part: str, source: Path, folder: Path) -> None:
        if part == "vae":
            raise KeyboardInterrupt
        real(role, part, source, folder)

    monkeypatch.setattr(older_wan, "_write", stops)
    with pytest.raises(KeyboardInterrupt):
        convert.convert(root, lambda _: None)
    monkeypatch.setattr(older_wan, "_write", real)
    told: list[str] = []
    convert.convert(root, told.append)
    assert [line for line in told if T5 in line] == []
    assert all(torch.equal(tensor, expected[T2V]["vae"][key]) for key, tensor in weights(root / T2V)["vae"].items())
    assert next(s for s in files.verify(root, structure=True) if s.role == "wan").ok
