"""A file that lacks a tensor, or has one with another shape, is detected from its header, in every component, and never loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers.loaders import single_file_utils
from PIL import Image
from safetensors.torch import load_file, save_file

from executors.enhance import Enhancer
from executors.errors import ModelFileError
from executors.models import files, ldm_keys
from executors.models.base import ModelPaths, References, Work
from executors.models.convert import convert
from executors.models.prediction import Prediction
from executors.models.sdxl import Sdxl
from executors.models.structure import architecture, whole
from executors.models.tiny_sdxl import HIDDEN
from executors.models.wan import Wan
from executors.shelf import Shelf

CPU = torch.device("cpu")
SDXL = "sdxl-lustify/model.safetensors"
UNET = "model.diffusion_model."
T2V, VACE = "wan2.1-t2v-1.3b", "wan2.1-vace-1.3b"
WORK = Work("job", "sdxl_image_fast", "a red cat", "", 512, 512, steps=1, guidance=6.0, seeds=(7,))
State = dict[str, torch.Tensor]

TENSORS = {
    # One in each component of each role; the file's path in the model folder.
    "UNet": ("sdxl", SDXL, f"{UNET}input_blocks.4.1.norm.bias"),
    "VAE": ("sdxl", SDXL, "first_stage_model.decoder.mid.attn_1.q.weight"),
    "CLIP": ("sdxl", SDXL, "conditioner.embedders.0.transformer.text_model.encoder.layers.1.self_attn.v_proj.bias"),
    "OpenCLIP": ("sdxl", SDXL, "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_bias"),
    "adapter": ("ip_adapter", "ip-adapter/sdxl_models/ip-adapter_sdxl.safetensors", "ip_adapter.1.to_k_ip.weight"),
    "face adapter": ("ip_adapter", "ip-adapter/sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors", "image_proj.layers.3.1.3.weight"),
    "image encoder": ("ip_adapter", "ip-adapter/models/image_encoder/model.safetensors", "vision_model.post_layernorm.bias"),
    "Wan": ("wan", "wan2.1-t2v-1.3b/transformer/diffusion_pytorch_model.safetensors", "blocks.1.attn2.norm_k.weight"),
    "VACE": ("vace", "wan2.1-vace-1.3b/transformer/diffusion_pytorch_model.safetensors", "vace_blocks.0.proj_in.bias"),
    "Wan's VAE": ("wan", "wan2.1-t2v-1.3b/vae/diffusion_pytorch_model.safetensors", "decoder.conv_out.bias"),
    "UMT5": (
        "wan",
        "wan2.1-t2v-1.3b/text_encoder/model.safetensors",
        "encoder.block.1.layer.0.SelfAttention.v.weight",
    ),
    "Qwen": ("qwen", "qwen2.5-7b-instruct/model.safetensors", "lm_head.weight"),
}


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_root, tmp_path / "models"))


def change(root: Path, name: str, how: Callable[[State], object], metadata: dict[str, str] | None = None) -> None:
    """Replace the file and pin it, like a person who takes it for valid."""
    state = load_file(root / name)
    how(state)
    save_file({key: value.contiguous() for key, value in state.items()}, root / name, metadata=metadata)
    files.pin(root, tiny=True)


def problems(root: Path, role: str) -> list[str]:
    (of_role,) = (one for one in files.ROLES if one.name == role)
    return [f"{p.file}: {p.what}" for p in files._status(of_role, root, files.read_manifest(root), deep=False, structure=True).problems]


def reshaped(state: State, tensor: str) -> None:
    state[tensor] = torch.zeros(7, *state[tensor].shape[1:])


def test_every_component_of_the_tiny_models_is_complete(tiny_root: Path) -> None:
    found = {s.role: [str(p) for p in s.problems] for s in files.verify(tiny_root, deep=False, structure=True)}
    assert found == {role.name: [] for role in files.ROLES}


def test_an_executor_of_real_models_closes_their_lanes_before_it_claims_anything(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, file, tensor = TENSORS["OpenCLIP"]
    change(root, file, lambda state: state.pop(tensor))
    files.pin(root)  # pins them as real models
    shelf = Shelf(root)
    assert set(shelf.lanes) == {"sdxl", "sdxl_ip", "wan", "wan_vace"}
    shelf.ready()
    assert shelf.lanes == ["wan", "wan_vace"] and f"{file}: lacks the tensor {tensor}" in caplog.text
    for name in (T2V, VACE):
        change(root, f"{name}/transformer/diffusion_pytorch_model.safetensors", lambda state: state.pop("patch_embedding.bias"))
    files.pin(root)
    with pytest.raises(ModelFileError, match=r"No model under .* can be used\. `ourvidz models verify` says why"):
        Shelf(root).ready()


def test_a_language_model_with_tied_embeddings_needs_only_one_tensor(root: Path) -> None:
    """As in smaller Qwens: the config ties them, and the file has only one."""
    folder = root / "qwen2.5-7b-instruct"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    weights = "qwen2.5-7b-instruct/model.safetensors"
    change(root, weights, lambda state: state.pop("lm_head.weight"))
    assert problems(root, "qwen") == []
    change(root, weights, lambda state: state.pop("model.embed_tokens.weight"))
    assert "lacks the tensor" in problems(root, "qwen")[0]


def test_a_config_with_fewer_layers_is_refused(root: Path) -> None:
    config = root / T2V / "transformer/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_layers": 1}))
    files.pin(root, tiny=True)
    assert "has a tensor blocks.1." in problems(root, "wan")[0]


@pytest.mark.parametrize("component", TENSORS)
def test_missing_extra_and_misshapen_tensors_are_named(root: Path, component: str) -> None:
    role, file, tensor = TENSORS[component]
    shape = "×".join(map(str, load_file(root / file)[tensor].shape))
    change(root, file, lambda state: state.pop(tensor))
    (said,) = problems(root, role)
    assert said.startswith(f"{file}: lacks the tensor {tensor} (shape {shape}), which ")
    shutil.copy(root / file, root / "kept")
    change(root, file, lambda state: state.update({tensor: torch.zeros(7, 3)}))
    (said,) = problems(root, role)
    assert said.startswith(f"{file}: its tensor {tensor} has the shape 7×3 where ") and f"needs {shape}" in said
    extra = f"{tensor.rpartition('.')[0]}.more"
    shutil.copy(root / "kept", root / file)
    change(root, file, lambda state: state.update({tensor: torch.zeros([int(n) for n in shape.split("×")]), extra: torch.zeros(2)}))
    (said,) = problems(root, role)
    assert said.startswith(f"{file}: has a tensor {extra} (shape 2), which ")


def sdxl(root: Path) -> None:
    Sdxl(ModelPaths(root), CPU).load()


def styled(root: Path) -> None:
    from dataclasses import replace

    picture = Image.linear_gradient("L").convert("RGB")
    list(Sdxl(ModelPaths(root), CPU).generate(replace(WORK, reference_type="style", references=References(style=picture)), lambda *_: None))


LOADS: dict[str, Callable[[Path], object]] = {
    "CLIP": sdxl,
    "adapter": styled,
    "Wan": lambda root: Wan(ModelPaths(root), ["t2v"], CPU).load(),
    "UMT5": lambda root: Wan(ModelPaths(root), ["t2v"], CPU).load(),
    "VACE": lambda root: Wan(ModelPaths(root), ["vace"], CPU).load(),
    "Qwen": lambda root: Enhancer(ModelPaths(root), CPU).load(),
}


@pytest.mark.parametrize("component", LOADS)
def test_a_component_lacking_a_tensor_is_not_loaded(root: Path, component: str) -> None:
    _, file, tensor = TENSORS[component]
    change(root, file, lambda state: state.pop(tensor))
    with pytest.raises(ModelFileError, match=f"^{file}: lacks the tensor {tensor}"):
        LOADS[component](root)


def test_an_incomplete_file_is_not_converted_or_pinned(root: Path) -> None:
    _, file, tensor = TENSORS["UNet"]
    change(root, file, lambda state: state.pop(tensor))
    with pytest.raises(ModelFileError, match=f"{file}: lacks the tensor {tensor}"):
        convert(root, lambda _: None)
    assert not list((root / "converted").glob("*/unet"))
    (root / files.MANIFEST).unlink()
    with pytest.raises(ModelFileError, match=f"{file}: lacks the tensor .*Nothing was pinned"):
        files.pin_new(root)
    assert not (root / files.MANIFEST).exists()
    assert f"{file}: lacks the tensor {tensor}" in "; ".join(problems(root, "sdxl")), "verify says so before anything is pinned"


def test_an_inpainting_checkpoint_is_refused_by_name(root: Path) -> None:
    def widened(state: State) -> None:
        first = state[f"{UNET}input_blocks.0.0.weight"]
        state[f"{UNET}input_blocks.0.0.weight"] = torch.cat([first, first, first[:, :1]], dim=1)

    change(root, SDXL, widened, {"modelspec.architecture": "stable-diffusion-xl-v1-inpainting"})
    (said,) = problems(root, "sdxl")
    assert "has the shape 16×9×3×3 where the UNet2DConditionModel of its config needs 16×4×3×3" in said
    assert "It is an inpainting checkpoint (9 channels in) (its metadata says 'stable-diffusion-xl-v1-inpainting')" in said


def test_a_refiner_is_refused_by_name(root: Path) -> None:
    def refined(state: State) -> None:
        for name in [name for name in state if name.startswith("conditioner.embedders.1.")]:
            del state[name]
        state[f"{UNET}label_emb.0.0.weight"] = torch.zeros(64, 2560)

    change(root, SDXL, refined)
    (said,) = problems(root, "sdxl")
    assert "has no tensor named conditioner.embedders.1.*" in said and "It is an SDXL refiner" in said


def test_integer_weights_are_refused(root: Path) -> None:
    tensor = f"{UNET}input_blocks.1.0.in_layers.2.weight"
    change(root, SDXL, lambda state: state.update({tensor: state[tensor].to(torch.int8)}))
    assert "is of type 'I8' where" in problems(root, "sdxl")[0]


def test_unused_known_tensors_are_optional(root: Path) -> None:
    def changed(state: State) -> None:
        del state["conditioner.embedders.1.model.logit_scale"]
        del state["conditioner.embedders.0.transformer.text_model.embeddings.position_ids"]
        state |= {"model_ema.decay": torch.zeros(1), "first_stage_model.loss.logvar": torch.zeros(1)}

    change(root, SDXL, changed)
    assert problems(root, "sdxl") == []
    sdxl(root)


def test_a_shard_without_one_of_its_tensors_is_found(root: Path) -> None:
    folder = root / "wan2.1-t2v-1.3b/transformer"
    model = diffusers.WanTransformer3DModel.from_pretrained(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="60KB")
    shards = sorted(folder.glob("*-of-*.safetensors"))
    assert len(shards) > 1
    files.pin(root, tiny=True)
    assert problems(root, "wan") == []
    gone = next(iter(load_file(shards[-1])))
    change(root, shards[-1].relative_to(root).as_posix(), lambda state: state.pop(gone))
    assert f"lacks the tensor {gone}" in problems(root, "wan")[0]


def test_an_adapter_of_another_base_model_is_named(root: Path) -> None:
    _, file, tensor = TENSORS["adapter"]
    change(root, file, lambda state: state.update({tensor: torch.zeros(state[tensor].shape[0], 768)}))
    assert f"its tensor {tensor} has the shape 32×768 where this UNet and this image encoder together needs 32×{sum(HIDDEN)}" in str(
        problems(root, "ip_adapter")
    )


def test_a_lora_that_does_not_fit_is_detected_from_its_header(root: Path) -> None:
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    lora = "sdxl-lustify/few-steps.safetensors"

    def put(state: State, **metadata: str) -> list[str]:
        save_file(state, root / lora, metadata=metadata)
        files.pin(root, tiny=True)
        return problems(root, "sdxl")

    good = {f"{layer}.lora_A.weight": torch.zeros(4, 32), f"{layer}.lora_B.weight": torch.zeros(32, 4)}
    assert put(good) == []
    wrong: dict[str, State] = {
        "lora_A and lora_B of 4×64 and 32×4, and the layer's weight is 32×32": good | {f"{layer}.lora_A.weight": torch.zeros(4, 64)},
        "the other half of a pair": {f"{layer}.lora_A.weight": torch.zeros(4, 32)},
        "only plain LoRAs are added": good | {f"{layer}.dora_scale": torch.zeros(32)},
        "there is no layer mid_block.attentions.7": {name.replace("attentions.0", "attentions.7"): t for name, t in good.items()},
        "is not the denoiser's": good | {"text_encoder.x.lora_A.weight": torch.zeros(4, 4)},
    }
    for words, state in wrong.items():
        (said,) = put(state, ss_base_model_version="sd_v1")
        assert said.startswith(f"{lora}: ") and words in said and "says it is for 'sd_v1'" in said, said


def test_ldm_keys_match_diffusers_converter_at_full_size(tmp_path: Path) -> None:
    """`ldm_keys` lists a real checkpoint's tensor names. diffusers' own converter, given exactly those, must arrive at its own names."""
    unet = {
        "block_out_channels": [320, 640, 1280], "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "attention_head_dim": [5, 10, 20],
        "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": True, "cross_attention_dim": 2048, "layers_per_block": 2,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    }  # fmt: skip
    vae = {
        "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4, "layers_per_block": 2,
    }  # fmt: skip
    clip = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 20, "intermediate_size": 5120, "projection_dim": 1280}
    cases: list[tuple[Any, dict[str, Any], Callable[[State], State], Callable[[Any, State], State]]] = [
        (diffusers.UNet2DConditionModel, unet, ldm_keys.unet, lambda m, s: single_file_utils.convert_ldm_unet_checkpoint(s, m.config)),
        (diffusers.AutoencoderKL, vae, ldm_keys.vae, lambda m, s: single_file_utils.convert_ldm_vae_checkpoint(s, m.config)),
        (
            transformers.CLIPTextModelWithProjection,
            clip,
            ldm_keys.text_encoder_2,
            lambda m, s: single_file_utils.convert_open_clip_checkpoint(m, s, prefix="conditioner.embedders.1.model."),
        ),
    ]
    for kind, config, rename, back in cases:
        (tmp_path / "config.json").write_text(json.dumps(config))
        wanted = architecture(kind, tmp_path).shapes
        with torch.device("meta"):
            model = kind(kind.config_class(**config)) if kind.__module__.startswith("transformers") else kind.from_config(config)
        again = back(model, rename(dict(model.state_dict())))
        shapes = {name: tuple(tensor.shape) for name, tensor in again.items() if not name.endswith("position_ids")}
        assert {n: s for n, s in shapes.items() if n in wanted} == wanted, kind.__name__


def test_a_module_with_meta_tensors_is_refused() -> None:
    layer = torch.nn.Linear(2, 2)
    assert whole(layer, "x") is layer
    layer.register_buffer("table", torch.empty(3, device="meta"))
    with pytest.raises(ModelFileError, match=r"x: lacks the tensor table"):
        whole(layer, "x")
    with pytest.raises(ModelFileError, match=r"y: lacks the tensor a \(and 1 more\)"):
        whole(torch.nn.Linear(1, 1), "y", {"missing_keys": {"b", "a"}})


def test_a_velocity_checkpoint_is_sampled_as_one(root: Path) -> None:
    """From the marker alone, through the whole family; the result differs from the same weights without it."""

    def made() -> list[Any]:
        family = Sdxl(ModelPaths(root), CPU)
        pictures = [o.image.tobytes() for o in family.generate(WORK, lambda *_: None)]  # type: ignore[union-attr]
        assert family.describe().get("prediction", "epsilon") == family._predicts.kind
        return [family._predicts, *pictures]

    first = made()
    change(root, SDXL, lambda state: state.update({"v_pred": torch.zeros(0)}))
    second = made()
    change(root, SDXL, lambda state: state.update({"ztsnr": torch.zeros(0)}))
    third = made()
    assert [one[0] for one in (first, second, third)] == [Prediction(), Prediction("v_prediction"), Prediction("v_prediction", True)]
    assert len({one[1] for one in (first, second, third)}) == 3
    change(root, SDXL, lambda state: state.update({"edm_mean": torch.zeros(4)}))
    with pytest.raises(ModelFileError, match=rf"^{SDXL}: has the tensor edm_mean: it is of the EDM kind"):
        sdxl(root)
