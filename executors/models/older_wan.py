"""Convert Wan 2.1 from its authors' layout (as on the legacy workers' volume) to the folder that diffusers reads.

The source is `diffusion_pytorch_model.safetensors` (names of Wan's own code), `models_t5_umt5-xxl-enc-bf16.pth`, `Wan2.1_VAE.pth`,
`config.json` and `google/umt5-xxl/`. `ourvidz models convert` renames tensors and writes safetensors beside them; no weight changes. The
two pickles are read with `weights_only`, which creates tensors and runs no code; a file with anything else is refused. Config values come
from the tensors' shapes, else from Wan-AI/Wan2.1-T2V-1.3B-Diffusers and Wan2.1-VACE-1.3B-diffusers.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.errors import DiskFull, ModelFileError
from executors.models import files
from executors.models.roles import ROLES
from executors.models.safetensors_header import HeaderError, read_header
from executors.models.seen import current

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]

DENOISER, TOKENIZER = "diffusion_pytorch_model.safetensors", "google/umt5-xxl"
SOURCES: Mapping[str, tuple[str, ...]] = {
    # a part of diffusers' folder → its source files; the first that exists is used
    "transformer": (DENOISER,),
    "text_encoder": ("models_t5_umt5-xxl-enc-bf16.safetensors", "models_t5_umt5-xxl-enc-bf16.pth"),
    "vae": ("Wan2.1_VAE.safetensors", "Wan2.1_VAE.pth"),
}
PIPELINES = {"wan": ("WanPipeline", "WanTransformer3DModel"), "vace": ("WanVACEPipeline", "WanVACETransformer3DModel")}
_T5 = {
    # UMT5's blocks, from the names of Wan's own encoder; the gate is the half with the activation
    "norm1": "layer.0.layer_norm",
    **{f"attn.{letter}": f"layer.0.SelfAttention.{letter}" for letter in "qkvo"},
    "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
    "norm2": "layer.1.layer_norm",
    "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
    "ffn.fc1": "layer.1.DenseReluDense.wi_1",
    "ffn.fc2": "layer.1.DenseReluDense.wo",
}


@dataclass(frozen=True)
class Older:
    """One role's folder in the authors' layout: `parts` still to be made → their source files."""

    role: str
    folder: Path
    parts: Mapping[str, Path]

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.parts.values())


def found(root: Path) -> Iterator[Older]:
    """Yield the roles' folders with the authors' files that are not fully converted yet. No torch."""
    for role in ROLES:
        if role.name in PIPELINES and (older := of_folder(role.name, root / role.folder)):
            yield older


def of_folder(role: str, folder: Path) -> Older | None:
    if (folder / "model_index.json").exists() or not (folder / DENOISER).is_file():
        return None
    parts = {}
    for part, names in SOURCES.items():
        source = next((folder / name for name in names if (folder / name).is_file()), None)
        if source is not None and not any((folder / part).glob("*.safetensors")):
            parts[part] = source
    return Older(role, folder, parts)


def convert(root: Path, older: Older, say: Callable[[str], None]) -> int:
    """Make the parts, then `model_index.json`, and pin them; return the bytes written. Existing parts are kept, so an interrupted
    conversion resumes. Raises `ModelFileError` naming the file that is missing or wrong, and `DiskFull`."""
    home = older.folder.relative_to(root).as_posix()
    lacking = [" or ".join(names) for part, names in SOURCES.items() if part not in older.parts and not (older.folder / part).is_dir()]
    if not (older.folder / TOKENIZER / "tokenizer.json").is_file() and not (older.folder / "tokenizer" / "tokenizer.json").is_file():
        lacking.append(f"{TOKENIZER}/tokenizer.json")
    if lacking:
        raise ModelFileError(
            f"{home}: holds Wan as its authors publish it, without {lacking[0]}. Put it there, or pull the role {older.role}"
        )
    if shutil.disk_usage(root).free < older.bytes + (1 << 30):
        raise DiskFull(f"{home}: {older.bytes / 1e9:,.1f} GB are to be written, and less is free. Nothing was converted.")
    making = older.folder / f".making-{os.getpid()}"
    pins: dict[str, dict[str, Any]] = {}
    try:
        for part, source in older.parts.items():
            say(f"{home}: converting {source.name}")
            before = current().sha256(source, always=True)
            _write(older.role, part, source, making / part)
            if current().sha256(source, always=True) != before:
                raise ModelFileError(f"{home}/{source.name}: changed while it was converted")
            for left in sorted((older.folder / part).glob("*")):  # has no weights; e.g. somebody's config
                files.put_aside(root, left.relative_to(root).as_posix())
            _place(making / part, older.folder / part)
            pins |= _pins(root, older, part, {"made_from": {source.name: before}})
        if not (older.folder / "tokenizer").is_dir():
            shutil.copytree(older.folder / TOKENIZER, making / "tokenizer", ignore=shutil.ignore_patterns("*.bin", "*.py", ".*"))
            _place(making / "tokenizer", older.folder / "tokenizer")
        _rest(older, making)
        for part in ("tokenizer", "scheduler", "model_index.json", *SOURCES):
            pins |= {name: pin for name, pin in _pins(root, older, part, {}).items() if name not in pins}
        files.pin_some(root, pins)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return older.bytes


def _place(made: Path, place: Path) -> None:
    for path in (made, *made.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # an executor may run as another user
    shutil.rmtree(place, ignore_errors=True)  # has no weights, else it would not be made
    made.rename(place)


def _pins(root: Path, older: Older, part: str, more: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    where = older.folder / part
    return {
        path.relative_to(root).as_posix(): {
            "bytes": path.stat().st_size, "sha256": current().sha256(path, always=True), "role": older.role, **more,
        }
        for path in (where, *sorted(where.rglob("*"))) if path.is_file()
    }  # fmt: skip


def _rest(older: Older, making: Path) -> None:
    """Write the scheduler's config, and last `model_index.json`, which marks the folder as a pipeline."""
    import diffusers

    pipeline, denoiser = PIPELINES[older.role]
    if not (older.folder / "scheduler").is_dir():
        scheduler = diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
        )
        scheduler.save_pretrained(making / "scheduler")
        _place(making / "scheduler", older.folder / "scheduler")
    parts = {
        "scheduler": ["diffusers", "UniPCMultistepScheduler"], "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"], "transformer": ["diffusers", denoiser], "vae": ["diffusers", "AutoencoderKLWan"],
    }  # fmt: skip
    files.write_json(older.folder / "model_index.json", {"_class_name": pipeline, "_diffusers_version": diffusers.__version__, **parts})


# One part


def _write(role: str, part: str, source: Path, folder: Path) -> None:
    from safetensors.torch import save_file

    from executors.models.fitting import FOLDERS
    from executors.models.structure import of_folder as fault_of

    state = _renamed(part, _read(source))
    folder.mkdir(parents=True)
    try:
        (folder / "config.json").write_text(json.dumps(_config(role, part, state, source.parent), indent=1), encoding="utf-8")
    except (KeyError, IndexError, ZeroDivisionError, ValueError, TypeError) as error:
        raise ModelFileError(f"{source.name}: is not the {part} of Wan 2.1 as its authors publish it (no {error})") from error
    name = "model" if part == "text_encoder" else "diffusion_pytorch_model"
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / f"{name}.safetensors", metadata={"format": "pt"})
    if fault := fault_of(dict(FOLDERS[role])[part], folder):
        raise ModelFileError(f"{source.name}: {fault.what}. Nothing was converted")


def _read(file: Path) -> State:
    """Return a file's tensors, memory-mapped if the format allows. Raises `ModelFileError` for a file with anything else."""
    import torch
    from safetensors.torch import load_file

    if file.suffix == ".safetensors":
        try:
            read_header(file)
        except HeaderError as error:
            raise ModelFileError(f"{file.name}: {error}") from error
        return load_file(file)
    try:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # the format before 2020, which cannot be mapped
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises any type for an invalid file, or one with more than tensors
        raise ModelFileError(
            f"{file.name}: is no file of tensors alone, and is not loaded ({(str(error) or type(error).__name__).splitlines()[0]})"
        ) from error
    state = next((state[key] for key in ("state_dict", "model") if isinstance(state, dict) and isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not state or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise ModelFileError(f"{file.name}: holds no tensors by name")
    return state


def _renamed(part: str, state: State) -> State:
    from diffusers.loaders import single_file_utils

    if part == "transformer":
        return dict(single_file_utils.convert_wan_transformer_to_diffusers(dict(state)))
    if part == "vae":
        return dict(single_file_utils.convert_wan_vae_to_diffusers(dict(state)))
    names = {"token_embedding.weight": "shared.weight", "norm.weight": "encoder.final_layer_norm.weight"}
    for name in state:
        if block := re.fullmatch(r"blocks\.(\d+)\.(.+)\.weight", name):
            names[name] = f"encoder.block.{block[1]}.{_T5.get(block[2], block[2])}.weight"
    return {names.get(name, name): tensor for name, tensor in state.items()}


def _config(role: str, part: str, state: State, folder: Path) -> dict[str, Any]:
    """Build a config for the tensors, with diffusers' names."""

    def side(name: str, place: int = 0) -> int:
        return int(state[name].shape[place])

    if part == "vae":
        # The class's defaults are Wan 2.1's values.
        return {"_class_name": "AutoencoderKLWan", "base_dim": side("encoder.conv_in.weight"), "z_dim": side("post_quant_conv.weight")}
    layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks.")) if part == "transformer" else 0
    if part == "transformer":
        width = side("patch_embedding.weight")
        heads = _heads(folder) or width // 128
        config: dict[str, Any] = {
            "_class_name": PIPELINES[role][1], "patch_size": [int(n) for n in state["patch_embedding.weight"].shape[2:]],
            "num_attention_heads": heads, "attention_head_dim": width // heads, "in_channels": side("patch_embedding.weight", 1),
            "out_channels": side("proj_out.weight") // math.prod(state["patch_embedding.weight"].shape[2:]),
            "text_dim": side("condition_embedder.text_embedder.linear_1.weight", 1),
            "freq_dim": side("condition_embedder.time_embedder.linear_1.weight", 1), "ffn_dim": side("blocks.0.ffn.net.0.proj.weight"),
            "num_layers": layers, "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads", "eps": 1e-6, "rope_max_seq_len": 1024,
        }  # fmt: skip
        if role == "vace":
            hints = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("vace_blocks."))
            config |= {"vace_layers": list(range(0, layers, layers // hints)), "vace_in_channels": side("vace_patch_embedding.weight", 1)}
        return config
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    heads, inner = side(bias, 1), side("encoder.block.0.layer.0.SelfAttention.q.weight")
    layers = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("encoder.block."))
    return {
        "architectures": ["UMT5EncoderModel"], "model_type": "umt5", "vocab_size": side("shared.weight"),
        "d_model": side("shared.weight", 1), "d_kv": inner // heads, "num_heads": heads, "num_layers": layers, "num_decoder_layers": 1,
        "d_ff": side("encoder.block.0.layer.1.DenseReluDense.wi_0.weight"), "feed_forward_proj": "gated-gelu",
        "relative_attention_num_buckets": side(bias), "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6,
        "dropout_rate": 0.1, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "is_encoder_decoder": True,
        "use_cache": True, "tie_word_embeddings": False,
    }  # fmt: skip


def _heads(folder: Path) -> int:
    """Return the number of heads in the authors' config.json; 0 without one."""
    try:
        return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["num_heads"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
