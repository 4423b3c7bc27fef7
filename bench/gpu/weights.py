"""Write a model folder of the real architectures with random weights, in the real formats: what `OURVIDZ_MODELS` would hold.

Files rather than modules injected into the families: so the code that loads, checks, caches and runs the real models is exercised, and a
plain script can be given the same. About 41 GB at true size.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
    WanVACETransformer3DModel,
)
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2Config,
    Qwen2ForCausalLM,
    UMT5Config,
    UMT5EncoderModel,
)

from bench.gpu.sizes import Sizes
from executors.models import files, ldm_keys, tiny_qwen, tiny_sdxl, tiny_wan
from executors.models.base import ModelPaths

SEED = 20251107
SHARD = 4_900_000_000  # bytes; Hugging Face cuts at 5 GB
MARK = "bench.json"  # beside the manifest: for which sizes the folder was made
FAMILIES = ("sdxl", "wan", "vace", "qwen")

KINDS: Mapping[str, tuple[Any, Any]] = {
    # Class of the part, and for transformers' the class of its config.
    "unet": (UNet2DConditionModel, None),
    "vae": (AutoencoderKL, None),
    "text_encoder": (CLIPTextModel, CLIPTextConfig),
    "text_encoder_2": (CLIPTextModelWithProjection, CLIPTextConfig),
    "t2v": (WanTransformer3DModel, None),
    "vace": (WanVACETransformer3DModel, None),
    "wan_vae": (AutoencoderKLWan, None),
    "umt5": (UMT5EncoderModel, UMT5Config),
    "qwen": (Qwen2ForCausalLM, Qwen2Config),
}


def on_meta(sizes: Sizes, part: str) -> Any:
    """Build the part on the meta device: shapes only, which costs neither time nor memory."""
    kind, config = KINDS[part]
    with torch.device("meta"):
        return (kind(config(**sizes[part])) if config else kind(**sizes[part])).eval()


def make(root: Path, sizes: Sizes, device: torch.device, only: Collection[str], say: Callable[[str], None]) -> None:
    """Write the missing model families among `only`. Raises `OSError` if the disk is full."""
    about = {"seed": SEED, "sizes": json.loads(json.dumps(sizes))}
    mark = root / MARK
    if mark.exists() and json.loads(mark.read_text()) != about:
        raise SystemExit(f"{root} holds models of other sizes. Give --models another folder, or remove that one.")
    if root.exists() and not mark.exists() and any(root.iterdir()):
        raise SystemExit(f"{root} is not a folder that this benchmark made. Give --models an empty one.")
    root.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(about))
    paths, made = ModelPaths(root), False
    writers: Mapping[str, tuple[Path, Callable[[Path], None]]] = {
        "sdxl": (paths.sdxl_file.parent, lambda folder: _sdxl(folder, sizes, device)),
        "wan": (paths.wan, lambda folder: _wan(folder, sizes, device, "t2v", paths.vace)),
        "vace": (paths.vace, lambda folder: _wan(folder, sizes, device, "vace", paths.wan)),
        "qwen": (paths.qwen, lambda folder: _qwen(folder, sizes, device)),
    }
    for name in (name for name in FAMILIES if name in only):
        folder, write = writers[name]
        if folder.exists():
            continue
        say(f"making {name} with random weights in {folder}")
        aside = folder.with_name(f".{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        write(aside)
        aside.rename(folder)
        made = True
    if made:
        say("pinning the files")
        files.pin(root, tiny=False)


# -- families ---------------------------------------------------------------------------------------------------------------------------


def _sdxl(folder: Path, sizes: Sizes, device: torch.device) -> None:
    parts = {name: on_meta(sizes, name) for name in ("unet", "vae", "text_encoder", "text_encoder_2")}
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )
    tiny_sdxl.write_config(SimpleNamespace(**parts, scheduler=scheduler), folder / "config")  # type: ignore[arg-type]
    keys = {name: getattr(ldm_keys, name) for name in parts}
    state: dict[str, Tensor] = {}
    for name, module in parts.items():
        # In fp16, as LUSTIFY is published.
        state |= keys[name](dict(_filled(module, device, torch.float16)))
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors", metadata={"format": "pt"})


def _wan(folder: Path, sizes: Sizes, device: torch.device, denoiser: str, other: Path) -> None:
    folder.mkdir()
    _part(folder / "transformer", sizes, denoiser, device, torch.bfloat16)
    for part, name, dtype in (("umt5", "text_encoder", torch.bfloat16), ("wan_vae", "vae", torch.float32)):
        if (other / name).exists():  # identical in the real pair: one file under two names
            shutil.copytree(other / name, folder / name, copy_function=lambda a, b: Path(b).hardlink_to(a))
        else:
            _part(folder / name, sizes, part, device, dtype)
    pieces = round(sizes["umt5"]["vocab_size"] * 256_300 / 256_384)  # the encoder has rows to spare
    tiny_wan.tokenizer_of(pieces).save_pretrained(folder / "tokenizer")
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0)
    scheduler.save_config(folder / "scheduler")
    kind = KINDS[denoiser][0].__name__
    index = {
        "_class_name": "WanPipeline" if denoiser == "t2v" else "WanVACEPipeline",
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", kind],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=1))


def _qwen(folder: Path, sizes: Sizes, device: torch.device) -> None:
    _part(folder, sizes, "qwen", device, torch.bfloat16)
    tiny_qwen.tokenizer_of([line.split("|") for line in tiny_qwen.SLOTS.split()]).save_pretrained(folder)


def _part(folder: Path, sizes: Sizes, part: str, device: torch.device, dtype: torch.dtype) -> None:
    """Write what `save_pretrained` would: a config, and weights cut into shards with an index."""
    module = on_meta(sizes, part)
    folder.mkdir(parents=True, exist_ok=True)
    if KINDS[part][1]:
        module.config.architectures = [type(module).__name__]
        module.config.save_pretrained(folder)
    else:
        module.save_config(folder)
    stem = "model" if KINDS[part][1] else "diffusion_pytorch_model"
    keep = tuple(getattr(module, "_keep_in_fp32_modules", None) or ())
    shards = list(_shards(module, keep, dtype))
    where: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"{stem}.safetensors" if len(shards) == 1 else f"{stem}-{number:05}-of-{len(shards):05}.safetensors"
        save_file(dict(_filled(module, device, dtype, names, keep)), folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(names, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum((folder / file).stat().st_size for file in set(where.values()))}, "weight_map": where}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=1))


def _shards(module: Any, keep: tuple[str, ...], dtype: torch.dtype) -> Iterator[list[str]]:
    names, size = list[str](), 0
    for name, tensor in module.state_dict().items():
        if name in _tied(module):
            continue
        bytes_ = tensor.numel() * _dtype(name, keep, dtype).itemsize
        if names and size + bytes_ > SHARD:
            yield names
            names, size = [], 0
        names.append(name)
        size += bytes_
    yield names


def _filled(
    module: Any, device: torch.device, dtype: torch.dtype, names: Collection[str] | None = None, keep: tuple[str, ...] = ()
) -> Iterator[tuple[str, Tensor]]:
    """Random weights for the module's tensors, drawn on `device`, as tensors on the CPU.

    Scaled by the number of inputs, norms at one and biases at zero: activations keep their size through the layers, so that there is
    neither NaN nor a picture of one colour, which the families would refuse. Otherwise the values do not affect the time.
    """
    generator = torch.Generator(device).manual_seed(SEED)
    for name, tensor in module.state_dict().items():
        if name in _tied(module) or (names is not None and name not in names):
            continue
        shape, wanted = tensor.shape, _dtype(name, keep, dtype)
        if name.endswith("gamma") or (len(shape) == 1 and name.endswith("weight")):
            value = torch.ones(shape)
        elif len(shape) == 1:
            value = torch.zeros(shape)
        else:
            spread = shape[1:].numel() ** -0.5
            value = (torch.randn(shape, generator=generator, device=device, dtype=torch.float32) * spread).to(wanted).cpu()
        yield name, value.to(wanted)


def _dtype(name: str, keep: tuple[str, ...], dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if any(part in name.split(".") for part in keep) else dtype


def _tied(module: Any) -> frozenset[str]:
    """Names that share another's tensor and are not saved."""
    return (
        frozenset()
        if getattr(module.config, "tie_word_embeddings", True) is False
        else frozenset(getattr(module, "_tied_weights_keys", None) or ())
    )
