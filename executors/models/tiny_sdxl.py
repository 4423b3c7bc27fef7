"""Make a tiny SDXL in the real formats: a single file, its config folder, IP-Adapters in the layout of h94.

Everything that loads or runs the real model loads and runs this one. With the shipped weights it draws coloured shapes (tools/teach/sdxl.py
tells what it was taught); with random weights, noise that changes with the prompt, the seed, the init image and the reference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from executors import clip_bpe
from executors.models import ldm_keys
from executors.models import taught as shipped
from executors.models.base import ModelPaths
from executors.models.loading import quiet

if TYPE_CHECKING:
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPVisionModelWithProjection

SCALE = 8  # the tiny model makes 1/8 of the requested width and height: every SDXL size is a multiple of 64, so shapes stay exact
SEED = 20250707
HIDDEN = (16, 32)  # sizes of the two text encoders; must differ, or the single file's loader confuses them
CHANNELS, VAE_CHANNELS = (16, 32, 32), (8, 8, 16, 16)
TAUGHT_CHANNELS, TAUGHT_VAE_CHANNELS = (32, 64, 64), (16, 16, 32, 32)  # wider, for the capacity to learn
COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2")  # modules in the shipped weights, beside adapters and ENCODERS
TAUGHT_ADAPTERS = ("ip-adapter_sdxl", "ip-adapter-plus-face_sdxl_vit-h")  # the adapters that jobs use (sdxl_ip.USES)
ENCODERS = {"ip_encoder": "sdxl_models/image_encoder", "ip_encoder_vit_h": "models/image_encoder"}
IP_TOKENS = 4


def make(root: Path, *, taught: bool = False) -> None:
    """Write `sdxl-lustify/` and `ip-adapter/` under `root` (about 15 MB, 2 s). Same bytes for the same versions of torch and diffusers.

    `taught`: with the weights of `executors.models.taught`.
    """
    quiet()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        pipe = pipeline(TAUGHT_CHANNELS, TAUGHT_VAE_CHANNELS) if taught else pipeline(CHANNELS, VAE_CHANNELS)
        note = "random weights: the pictures are noise"
        if taught:
            for name in COMPONENTS:
                shipped.fill(getattr(pipe, name), "sdxl", name)
            note = shipped.facts("sdxl")["note"]
        else:
            _make_visible(pipe)
        paths = ModelPaths(root)
        write_config(pipe, paths.sdxl_config)
        (paths.sdxl_config / "tiny.json").write_text(json.dumps({"tiny": True, "scale": SCALE, "note": note}), encoding="utf-8")
        _save(
            ldm_keys.unet(pipe.unet.state_dict())
            | ldm_keys.vae(pipe.vae.state_dict())
            | ldm_keys.text_encoder(pipe.text_encoder.state_dict())
            | ldm_keys.text_encoder_2(pipe.text_encoder_2.state_dict()),
            paths.sdxl_file,
        )
        _ip_adapters(pipe.unet, paths.ip_adapter, taught)


def _save(state: dict[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    halves = {k: (v.half() if v.is_floating_point() else v).contiguous().clone() for k, v in state.items()}  # fp16, like LUSTIFY's file
    save_file(halves, file, metadata={"format": "pt"})


def pipeline(channels: tuple[int, ...], vae_channels: tuple[int, ...]) -> StableDiffusionXLPipeline:
    """Return the pipeline without tokenizers, freshly initialised: a prior `torch.manual_seed` determines its weights."""
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    vocabulary = clip_bpe.vocabulary()
    small, big = HIDDEN

    def text(hidden: int, act: str, pad: str) -> Any:
        return CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            projection_dim=hidden,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=clip_bpe.WINDOW,
            hidden_act=act,
            bos_token_id=vocabulary[clip_bpe.BOS],
            eos_token_id=vocabulary[clip_bpe.EOS],
            pad_token_id=vocabulary[pad],
        )

    unet = UNet2DConditionModel(
        sample_size=128 // SCALE,
        block_out_channels=channels,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(1, 2, 2),
        transformer_layers_per_block=1,
        use_linear_projection=True,
        norm_num_groups=8,
        cross_attention_dim=small + big,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + big,
    )
    vae = AutoencoderKL(
        block_out_channels=vae_channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=1024 // SCALE,
        scaling_factor=0.13025,
        force_upcast=True,
    )
    scheduler = EulerDiscreteScheduler(  # the figures of stabilityai/stable-diffusion-xl-base-1.0
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )
    return StableDiffusionXLPipeline(
        vae=vae.eval(),
        text_encoder=CLIPTextModel(text(small, "quick_gelu", clip_bpe.EOS)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(text(big, "gelu", "!")).eval(),
        tokenizer=None,
        tokenizer_2=None,
        unet=unet.eval(),
        scheduler=scheduler,
    )


def _round(x: Tensor) -> Tensor:
    """Round to two decimals, so that a measured gain does not carry the machine's rounding into the file."""
    return (x * 100).round() / 100


def _make_visible(pipe: StableDiffusionXLPipeline, contrast: float = 0.5, text_gain: float = 80.0) -> None:
    """Scale random weights so that pictures have contrast and depend on the inputs; as initialised they are grey and ignore the prompt."""
    for encoder in (pipe.text_encoder, pipe.text_encoder_2):
        # transformers initialises token embeddings with σ = 0.02, smaller than positions and biases, which are the same for every prompt.
        encoder.get_input_embeddings().weight.mul_(50)
    for name, parameter in pipe.unet.named_parameters():
        if "attn2.to_out.0.weight" in name:
            parameter.mul_(text_gain)
    noise = torch.randn(1, 4, 16, 16)
    words = torch.randn(1, clip_bpe.WINDOW, sum(HIDDEN))
    extra = {"text_embeds": torch.randn(1, HIDDEN[1]), "time_ids": torch.tensor([[128.0, 128, 0, 0, 128, 128]])}
    predicted = pipe.unet(noise, 500, encoder_hidden_states=words, added_cond_kwargs=extra).sample
    pipe.unet.conv_out.weight.mul_(_round(0.9 / predicted.std()))

    # Latents of an init image spread like the real ones (σ near 1), or the added noise would drown them.
    colours = torch.rand(8, 3, 1, 1).expand(-1, -1, 32, 32) * 2 - 1 + torch.randn(8, 3, 32, 32) / 4
    latents = pipe.vae.encode(colours).latent_dist.mode() * pipe.vae.config.scaling_factor
    pipe.vae.encoder.conv_out.weight.mul_(_round(1 / latents.std(0).mean()))

    # Log-variance near −20, like the real encoder's: a random one would drown the picture in noise.
    pipe.vae.quant_conv.weight[4:] = 0.0
    pipe.vae.quant_conv.bias[4:] = -20.0

    decoder = pipe.vae.decoder
    for name, parameter in decoder.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    picture = pipe.vae.decode(8 * torch.randn(1, 4, 16, 16)).sample
    gain = _round(contrast / picture.std((0, 2, 3)))
    decoder.conv_out.weight.mul_(gain.view(-1, 1, 1, 1))
    decoder.conv_out.bias.copy_(_round(-picture.mean((0, 2, 3)) * gain))


def write_config(pipe: StableDiffusionXLPipeline, folder: Path) -> None:
    """Write the folder that `from_single_file(config=…)` reads: the JSON and vocabulary of the base model's repository, no weights."""
    for name in ("text_encoder", "text_encoder_2"):
        getattr(pipe, name).config.save_pretrained(folder / name)
    for name in ("unet", "vae", "scheduler"):
        getattr(pipe, name).save_config(folder / name)
    for name, pad in (("tokenizer", clip_bpe.EOS), ("tokenizer_2", "!")):
        _write_tokenizer(folder / name, pad)
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": True,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _write_tokenizer(folder: Path, pad: str) -> None:
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(clip_bpe.vocabulary(), ensure_ascii=False), encoding="utf-8")
    merges = ["#version: 0.2", *(f"{a} {b}" for a, b in clip_bpe.merges())]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": clip_bpe.WINDOW,
        "bos_token": clip_bpe.BOS,
        "eos_token": clip_bpe.EOS,
        "unk_token": clip_bpe.EOS,
        "pad_token": pad,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _ip_adapters(unet: UNet2DConditionModel, folder: Path, taught: bool = False) -> None:
    """h94/IP-Adapter: the plain adapter with its own image encoder, the plus adapters with the smaller one (ViT-H) of `models/`."""
    for (name, place), (hidden, projected) in zip(ENCODERS.items(), ((32, 24), (24, 16)), strict=True):
        encoder = _image_encoder(hidden, projected)
        if taught:
            shipped.fill(encoder, "sdxl", name)
        encoder.save_pretrained(folder / place)
    width, hidden = 24, 24
    cross = unet.config.cross_attention_dim
    adapters = {  # with a gain: style and composition act on one block each, and need a visible effect
        "ip-adapter_sdxl": (_plain_projection(cross, width), 20.0),
        "ip-adapter-plus_sdxl_vit-h": (_resampler(cross, hidden), 1.0),
        "ip-adapter-plus-face_sdxl_vit-h": (_resampler(cross, hidden), 1.0),
    }
    for name, (projection, gain) in adapters.items():
        weights = projection | _adapter_attention(unet, gain)
        if taught and name in TAUGHT_ADAPTERS:
            weights = shipped.tensors("sdxl", name)
        _save(weights, folder / "sdxl_models" / f"{name}.safetensors")


def _image_encoder(hidden: int, projection: int) -> CLIPVisionModelWithProjection:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=projection,
    )
    encoder = CLIPVisionModelWithProjection(config)
    encoder.vision_model.embeddings.patch_embedding.weight.mul_(20)  # else the class token outweighs the picture
    return encoder


def _linear(out_features: int, in_features: int) -> Tensor:
    return torch.randn(out_features, in_features) / in_features**0.5


def _plain_projection(cross: int, width: int) -> dict[str, Tensor]:
    state = {
        "proj.weight": 3 * _linear(cross * IP_TOKENS, width),
        "proj.bias": torch.zeros(cross * IP_TOKENS),
        "norm.weight": torch.ones(cross),
        "norm.bias": torch.zeros(cross),
    }
    return {"image_proj." + k: v for k, v in state.items()}


def _resampler(cross: int, hidden: int, width: int = 64, layers: int = 4) -> dict[str, Tensor]:
    """The plus adapters' perceiver: `IP_TOKENS` latents that attend to the picture's patches."""
    state = {
        "latents": torch.randn(1, IP_TOKENS, width) / width**0.5,
        "proj_in.weight": _linear(width, hidden),
        "proj_in.bias": torch.zeros(width),
        "proj_out.weight": _linear(cross, width),
        "proj_out.bias": torch.zeros(cross),
        "norm_out.weight": torch.ones(cross),
        "norm_out.bias": torch.zeros(cross),
    }
    for i in range(layers):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            state |= {f"layers.{i}.{norm}.weight": torch.ones(width), f"layers.{i}.{norm}.bias": torch.zeros(width)}
        state |= {
            f"layers.{i}.0.to_q.weight": _linear(width, width),
            f"layers.{i}.0.to_kv.weight": _linear(2 * width, width),
            f"layers.{i}.0.to_out.weight": _linear(width, width),
            f"layers.{i}.1.1.weight": _linear(4 * width, width),
            f"layers.{i}.1.3.weight": _linear(width, 4 * width),
        }
    return {"image_proj." + k: v for k, v in state.items()}


def _adapter_attention(unet: UNet2DConditionModel, gain: float) -> dict[str, Tensor]:
    """Keys count over all attention processors, self-attention included, but only cross-attention (odd numbers) has weights."""
    channels, state = list(unet.config.block_out_channels), {}
    for number, name in enumerate(unet.attn_processors):
        if name.endswith("attn1.processor"):
            continue
        side, *rest = name.split(".")
        hidden = channels[-1] if side == "mid_block" else (channels if side == "down_blocks" else channels[::-1])[int(rest[0])]
        for leaf in ("k", "v"):
            state[f"ip_adapter.{number}.to_{leaf}_ip.weight"] = gain * _linear(hidden, unet.config.cross_attention_dim)
    return state
