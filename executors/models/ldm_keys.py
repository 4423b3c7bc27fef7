"""Rename SDXL's tensors from diffusers' names to the original single-file layout (Stability's `sgm`).

Real files come in that layout, so only the tiny model and the structure check use this direction. diffusers' own converter
(`loaders/single_file_utils.py`) does the opposite, and every tiny file passes through it when it is loaded.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

State = dict[str, Tensor]

_UNET_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)")
_UNET_MID = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)")
_VAE_BLOCKS = (
    (r"encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.down.\1.block."),
    (r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.down.\1.downsample."),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
)
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPENCLIP = {
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.final_layer_norm.": "ln_final.",
    "text_model.encoder.layers.": "transformer.resblocks.",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    ".fc1.": ".c_fc.",
    ".fc2.": ".c_proj.",
    ".self_attn": ".attn",
}


def _replace(name: str, table: dict[str, str]) -> str:
    for ours, theirs in table.items():
        name = name.replace(ours, theirs)
    return name


def _unet_key(key: str, layers_per_block: int, up_with_attention: set[int]) -> str:
    stem, leaf = key.rsplit(".", 1)
    if stem in _UNET_TOP:
        return f"{_UNET_TOP[stem]}.{leaf}"
    if m := _UNET_MID.match(key):
        kind, j, rest = m[1], int(m[2]), m[3]
        return f"middle_block.{2 * j}.{_replace(rest, _UNET_RESNET)}" if kind == "resnets" else f"middle_block.1.{rest}"
    m = _UNET_BLOCK.match(key)
    if m is None:
        raise KeyError(key)
    side, block, kind, j, rest = m[1], int(m[2]), m[3], int(m[4]), m[5]
    within = layers_per_block if kind in ("downsamplers", "upsamplers") else j
    first = 1 if side == "down" else 0  # input block 0 is conv_in
    base = f"{'input' if side == 'down' else 'output'}_blocks.{first + block * (layers_per_block + 1) + within}"
    match kind:
        case "resnets":
            return f"{base}.0.{_replace(rest, _UNET_RESNET)}"
        case "attentions":
            return f"{base}.1.{rest}"
        case "downsamplers":
            return f"{base}.0.op.{leaf}"
        case _:  # an upsampler comes after the resnet and the attention, if any
            return f"{base}.{2 if block in up_with_attention else 1}.conv.{leaf}"


def unet(state: State, layers_per_block: int = 2) -> State:
    with_attention = {int(m[1]) for k in state if (m := re.match(r"up_blocks\.(\d+)\.attentions", k))}
    return {"model.diffusion_model." + _unet_key(k, layers_per_block, with_attention): v for k, v in state.items()}


def vae(state: State, blocks: int = 4) -> State:
    out = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in _VAE_BLOCKS:
            name = re.sub(pattern, replacement, name)
        # The original numbers the decoder's blocks from the output side.
        name = re.sub(r"decoder\.up_blocks\.(\d+)\.resnets\.", lambda m: f"decoder.up.{blocks - 1 - int(m[1])}.block.", name)
        name = re.sub(r"decoder\.up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"decoder.up.{blocks - 1 - int(m[1])}.upsample.", name)
        if "mid_block.attentions.0" in name:
            name = _replace(name.replace("mid_block.attentions.0", "mid.attn_1"), _VAE_ATTENTION)
            if name.endswith("weight") and value.ndim == 2:  # the original's attention uses 1×1 convolutions
                value = value[:, :, None, None]
        out["first_stage_model." + name] = value
    return out


def _with_prefix(key: str) -> str:
    # transformers ≥ 5.6 dropped the prefix in CLIPTextModel, but kept it in CLIPTextModelWithProjection.
    return key if key.startswith(("text_model.", "text_projection")) else "text_model." + key


def text_encoder(state: State) -> State:
    named = {_with_prefix(k): v for k, v in state.items()}
    named.setdefault("text_model.embeddings.position_ids", torch.arange(77)[None])
    return {"conditioner.embedders.0.transformer." + k: v for k, v in named.items()}


def text_encoder_2(state: State) -> State:
    """Convert to OpenCLIP's layout: one matrix for query, key and value, and a transposed projection."""
    out: State = {"logit_scale": torch.tensor(4.6)}
    qkv: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.endswith("position_ids"):
            continue
        name = _replace(_with_prefix(key), _OPENCLIP)
        if name == "text_projection.weight":
            out["text_projection"] = value.T
        elif m := re.match(r"(.*\.attn)\.(q|k|v)_proj\.(weight|bias)$", name):
            qkv.setdefault((m[1], m[3]), {})[m[2]] = value
        else:
            out[name] = value
    for (base, leaf), parts in qkv.items():
        out[f"{base}.in_proj_{leaf}"] = torch.cat([parts["q"], parts["k"], parts["v"]])
    return {"conditioner.embedders.1.model." + k: v for k, v in out.items()}
