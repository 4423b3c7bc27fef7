"""Check that the tensors of an IP-Adapter or LoRA fit the model that it is applied to, by names and shapes.

The libraries apply only in part, or silently drop, what does not fit: an adapter for another base model, half a pair, weights for a text
encoder. So every tensor must have its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders import StableDiffusionXLLoraLoaderMixin, WanLoraLoaderMixin
from diffusers.utils import convert_unet_state_dict_to_peft

from executors.errors import ModelFileError
from executors.models.safetensors_header import Header, HeaderError, quoted, read_whole
from executors.models.structure import Fault, Shape, Wanted, architecture, first_fault, shown

Weights = dict[str, torch.Tensor]


# IP-Adapters


def of_ip_adapter(file: Path, encoder: Path, unet: Path) -> Fault | None:
    """Check an IP-Adapter against this image encoder's and this UNet's folder (their config.json); None if it fits both."""
    try:
        header = read_whole(file)
        sees, draws = (json.loads((folder / "config.json").read_text(encoding="utf-8")) for folder in (encoder, unet))
        cross = int(draws["cross_attention_dim"])
        wanted = _projection(header, cross, sees) | _attention(unet)
    except (HeaderError, OSError) as error:
        return Fault(file, str(error))
    except (ValueError, TypeError, KeyError, ModelFileError) as error:
        return Fault(file, f"cannot be held against the configs of UNet and image encoder: {type(error).__name__}: {error}")
    return first_fault(Wanted("this UNet and this image encoder together", wanted), header.tensors, lambda _: file)


def _projection(header: Header, cross: int, encoder: Mapping[str, Any]) -> dict[str, Shape]:
    """Shapes of the projection from image embeddings to tokens: one matrix, or the plus adapters' perceiver over the picture's patches.
    Internal sizes are taken from the file."""

    def of_file(name: str, place: int, otherwise: int) -> int:
        shape = header.tensors.get(f"image_proj.{name}", {}).get("shape", [])
        return int(shape[place]) if len(shape) > place else otherwise

    if not any(name.startswith(("image_proj.latents", "image_proj.layers")) for name in header.tensors):
        words = max(1, of_file("proj.weight", 0, cross) // cross) * cross
        shapes: dict[str, Shape] = {"proj.weight": (words, int(encoder["projection_dim"])), "proj.bias": (words,)}
        shapes |= {"norm.weight": (cross,), "norm.bias": (cross,)}
    else:
        width, inner = of_file("proj_in.bias", 0, cross), of_file("layers.0.0.to_q.weight", 0, cross)
        feed = of_file("layers.0.1.1.weight", 0, 4 * width)
        shapes = {
            "latents": (1, of_file("latents", 1, 16), width),
            "proj_in.weight": (width, int(encoder["hidden_size"])), "proj_in.bias": (width,),
            "proj_out.weight": (cross, width), "proj_out.bias": (cross,), "norm_out.weight": (cross,), "norm_out.bias": (cross,),
        }  # fmt: skip
        depth = 1 + max((int(n.split(".")[2]) for n in header.tensors if n.startswith("image_proj.layers.")), default=3)
        for layer in range(depth):
            for norm in ("0.norm1", "0.norm2", "1.0"):
                shapes |= {f"layers.{layer}.{norm}.weight": (width,), f"layers.{layer}.{norm}.bias": (width,)}
            shapes |= {
                f"layers.{layer}.0.to_q.weight": (inner, width), f"layers.{layer}.0.to_kv.weight": (2 * inner, width),
                f"layers.{layer}.0.to_out.weight": (width, inner),
                f"layers.{layer}.1.1.weight": (feed, width), f"layers.{layer}.1.3.weight": (width, feed),
            }  # fmt: skip
    return {f"image_proj.{name}": shape for name, shape in shapes.items()}


def _attention(unet: Path) -> dict[str, Shape]:
    """Shapes of keys and values for the image tokens in each cross-attention, numbered over all attention layers in the UNet's own order
    (down, up, middle: `attn_processors`); every second layer is a cross-attention."""
    shapes = architecture(diffusers.UNet2DConditionModel, unet).shapes
    layers = [name.removesuffix(".to_k.weight") for name in shapes if name.endswith(".to_k.weight")]
    return {
        f"ip_adapter.{number}.to_{leaf}_ip.weight": shapes[f"{layer}.to_{leaf}.weight"]
        for number, layer in enumerate(layers)
        if layer.endswith(".attn2")
        for leaf in "kv"
    }


# LoRAs


def pairs_of(
    model: str, config: Any, layers: Mapping[str, Shape], weights: Weights, told: Header | None = None
) -> dict[str, tuple[Any, Any]]:
    """Return layer → (A: r × in, B: out × r) of a LoRA for `model` (sdxl, t2v, vace), from any layout that diffusers supports (kohya's,
    its own, ComfyUI's). `weights`: without alphas; may be on meta. `layers`: the shape of each layer's weight.

    Raises `ModelFileError` (message: the predicate only) naming the first tensor that has no place.
    """
    base = next((told.metadata[n] for n in ("modelspec.architecture", "ss_base_model_version") if told and n in told.metadata), None)
    of = f". Its metadata says it is for {quoted(base)}" if base is not None else ""
    if odd := next((n for n in weights if any(part in n for part in ("hada_", "lokr_", "oft_", "dora_scale", ".diff"))), None):
        raise ModelFileError(f"has the tensor {odd}: only plain LoRAs are added, no DoRA, LoHa, LoKr, OFT or full differences{of}")
    try:
        found, prefix = _converted(model, config)(dict(weights))
    except Exception as error:  # each layout of another base model fails differently
        raise ModelFileError(f"is no LoRA for {model}: {type(error).__name__}: {error}{of}") from error
    if other := next((name for name in found if not name.startswith(prefix)), None):
        raise ModelFileError(f"has the tensor {other}, which is not the denoiser's, and only that one is changed here{of}")
    ours = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    if not any(".lora_A." in name for name in ours):
        ours = convert_unet_state_dict_to_peft(ours)
    pairs: dict[str, tuple[Any, Any]] = {}
    for name in sorted(ours):
        layer, half, rest = name.partition(".lora_")
        if half == "" or rest not in ("A.weight", "B.weight"):
            raise ModelFileError(f"has the tensor {name}, which is no half of a LoRA{of}")
        if layer not in layers:
            raise ModelFileError(f"has the tensor {name}: there is no layer {layer} in this model{of}")
        a, b = (ours.get(f"{layer}.lora_{letter}.weight") for letter in "AB")
        if a is None or b is None:
            raise ModelFileError(f"lacks the tensor {layer}.lora_{'A' if a is None else 'B'}.weight, the other half of a pair{of}")
        weight = layers[layer]
        rank = a.shape[0]
        if a[0].numel() != _rest(weight) or tuple(b.shape[:2]) != (weight[0], rank) or b.numel() != weight[0] * rank:
            has = f"{shown(a.shape)} and {shown(b.shape)}"
            raise ModelFileError(f"has the tensors {layer}.lora_A and lora_B of {has}, and the layer's weight is {shown(weight)}{of}")
        pairs[layer] = (a, b)
    if not pairs:
        raise ModelFileError(f"holds no LoRA for {model}{of}")
    return pairs


def _rest(weight: Shape) -> int:
    total = 1
    for side in weight[1:]:
        total *= side
    return total


def _converted(model: str, config: Any) -> Callable[[Weights], tuple[Weights, str]]:
    if model == "sdxl":
        return lambda weights: (StableDiffusionXLLoraLoaderMixin.lora_state_dict(weights, unet_config=config)[0], "unet.")
    return lambda weights: (WanLoraLoaderMixin.lora_state_dict(weights), "transformer.")


def of_lora(file: Path, model: str, kind: Any, folder: Path) -> Fault | None:
    """Check a LoRA file against the denoiser with the config in `folder`; loads nothing."""
    try:
        header = read_whole(file)
        shapes = architecture(kind, folder).shapes
        layers = {name.removesuffix(".weight"): shape for name, shape in shapes.items() if name.endswith(".weight")}
        config = diffusers.configuration_utils.FrozenDict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        weights = {n: torch.empty(t["shape"], device="meta") for n, t in header.tensors.items() if not n.endswith(".alpha")}
        pairs_of(model, config, layers, weights, header)
    except (HeaderError, OSError, ValueError, ModelFileError) as error:
        return Fault(file, str(error))
    return None
