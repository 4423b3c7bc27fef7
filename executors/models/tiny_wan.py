"""Make the tiny Wan 2.1 models in the real formats, so that `executors.models.wan` runs unchanged without the real ones.

With the shipped weights they draw moving coloured shapes (tools/teach/wan.py tells how they were taught); with random weights, noise. Both
folders are as diffusers writes them for Wan-AI/Wan2.1-T2V-1.3B-Diffusers and Wan2.1-VACE-1.3B-diffusers: the same classes and config keys,
smaller numbers. As in the real pair, VACE has every weight of T2V plus its own, and VAE and text encoder are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

from executors.models import taught as shipped
from executors.models.base import ModelPaths
from executors.models.tinydir import install

FACTS: dict[str, Any] = {
    "tiny": True,
    "recipe": 1,
    "note": "random weights: the pictures are noise",
    # Multiples of 16 close to 480:832 that are cheap on a CPU.
    "short_side": 48,
    "long_side": 80,
}

DENOISER: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,  # RoPE splits it into three parts, each even
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 32,
    "freq_dim": 64,
    "ffn_dim": 48,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
}

TAUGHT = DENOISER | {"num_attention_heads": 3, "attention_head_dim": 32, "text_dim": 48, "freq_dim": 128, "ffn_dim": 288}
TAUGHT_LAYERS = 4
# Smaller than the random models' videos: training time grows with the pixels.
TAUGHT_SIDES = {"short_side": 32, "long_side": 48}
PARTS = ("vae", "text_encoder", "transformer")  # of the shipped weights; the transformer is VACE's, and T2V uses a part of it


def make(root: Path, *, taught: bool = False) -> None:
    """Write `wan2.1-t2v-1.3b/` and `wan2.1-vace-1.3b/` under `root` (OURVIDZ_MODELS). Atomic; does nothing if they exist already.

    `taught`: with the weights of `executors.models.taught`.
    """
    paths = ModelPaths(root)
    if taught:
        known = shipped.facts("wan")
        facts = FACTS | TAUGHT_SIDES | {"note": known["note"], "weights": known["weights"]}
        pipes = _taught_pipes(known["pieces"])
        install(paths.wan, facts, pipes[0].save_pretrained)
        install(paths.vace, facts, pipes[1].save_pretrained)
        return
    install(paths.wan, FACTS, lambda folder: _t2v().save_pretrained(folder))
    install(paths.vace, FACTS, lambda folder: _vace().save_pretrained(folder))


def _taught_pipes(words: Iterable[str]) -> tuple[WanPipeline, WanVACEPipeline]:
    tokenizer = tokenizer_of(words=words)
    made = {"vae": taught_vae(), "text_encoder": taught_text_encoder(tokenizer), "transformer": taught_denoiser()}
    for part in PARTS:
        shipped.fill(made[part], "wan", part)
    vace = made.pop("transformer")
    plain = WanTransformer3DModel(num_layers=TAUGHT_LAYERS, **TAUGHT).eval()
    weights = vace.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    shared = made | {"tokenizer": tokenizer, "scheduler": _scheduler()}
    return WanPipeline(**shared, transformer=plain), WanVACEPipeline(**shared, transformer=vace)


def _t2v() -> WanPipeline:
    pipe = WanPipeline(**_shared(), transformer=_denoiser())
    _calibrate_vae(pipe.vae)
    return pipe


def _vace() -> WanVACEPipeline:
    torch.manual_seed(3)
    denoiser = WanVACETransformer3DModel(num_layers=2, vace_layers=[0, 1], vace_in_channels=96, **DENOISER).eval()
    denoiser.load_state_dict(_denoiser().state_dict(), strict=False)
    with torch.no_grad():  # else a reference has no visible effect
        for block in denoiser.vace_blocks:
            block.proj_out.weight.mul_(8.0)
        denoiser.vace_patch_embedding.weight.mul_(4.0)
    pipe = WanVACEPipeline(**_shared(), transformer=denoiser)
    _calibrate_vae(pipe.vae)
    return pipe


def _shared() -> dict[str, Any]:
    tokenizer = tokenizer_of()
    torch.manual_seed(1)
    vae = AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]).eval()
    return {
        "tokenizer": tokenizer,
        "text_encoder": _text_encoder(tokenizer),
        "vae": vae,
        "scheduler": _scheduler(),
    }


def _scheduler() -> UniPCMultistepScheduler:
    """The scheduler of the real folder, with its shift of 3.0; every job sets its own shift."""
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0)


def taught_vae() -> AutoencoderKLWan:
    """The VAE to teach (as the two below); its weights are random until `executors.models.taught` fills them."""
    return AutoencoderKLWan(base_dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=1, temperal_downsample=[False, True, True]).eval()


def taught_text_encoder(tokenizer: T5TokenizerFast) -> UMT5EncoderModel:
    return _text_encoder(tokenizer, d_model=TAUGHT["text_dim"], d_kv=12, d_ff=96, relative_attention_num_buckets=16)


def taught_denoiser() -> WanVACETransformer3DModel:
    return WanVACETransformer3DModel(num_layers=TAUGHT_LAYERS, vace_layers=[0, 2], vace_in_channels=96, **TAUGHT).eval()


def tokenizer_of(pieces: int = 0, words: Iterable[str] = ()) -> T5TokenizerFast:
    """Unigram tokenizer of single characters: any prompt has many distinct tokens, as with UMT5's own 256,300 pieces.

    `pieces`: minimum vocabulary size, filled up with pieces that occur in no prompt. `words` are one token each.
    """
    characters = [chr(code) for code in range(33, 127)]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    vocab += [(c, -3.0) for c in characters]
    vocab += [("\u2581" + c, -2.5) for c in characters]
    vocab += [("\u2581" + word, -4.0) for word in words]
    vocab += [(f"\ue000{n}", -30.0) for n in range(pieces - len(vocab) - 2)]
    vocab += [("<extra_id_1>", 0.0), ("<extra_id_0>", 0.0)]
    return T5TokenizerFast(vocab=vocab, extra_ids=2, model_max_length=512)


def _text_encoder(tokenizer: T5TokenizerFast, **other: int) -> UMT5EncoderModel:
    torch.manual_seed(0)
    sizes = {"d_model": DENOISER["text_dim"], "d_kv": 8, "d_ff": 64, "relative_attention_num_buckets": 8} | other
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer),
            **sizes,
            num_layers=2,
            num_decoder_layers=1,
            num_heads=4,
            relative_attention_max_distance=32,
            feed_forward_proj="gated-gelu",
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=0,
            use_cache=False,
            is_encoder_decoder=True,
        )
    ).eval()


@torch.no_grad()
def _denoiser() -> WanTransformer3DModel:
    """Random weights nearly ignore the prompt, so cross-attention and output are scaled up until it has a visible effect."""
    torch.manual_seed(2)
    model = WanTransformer3DModel(num_layers=2, **DENOISER).eval()
    for block in model.blocks:
        block.attn2.to_out[0].weight.mul_(6.0)
    model.proj_out.weight.mul_(2.0)
    return model


@torch.no_grad()
def _calibrate_vae(vae: AutoencoderKLWan, gain: float = 0.45) -> None:
    """Scale the VAE so that a normal latent decodes to mid grey ± `gain` of [-1, 1] per channel, and a colourful clip encodes to normal
    latents.

    Without this every picture is one colour, clamped at white or black, and every reference picture encodes to the same latent.
    """
    generator = torch.Generator().manual_seed(11)
    for half in (vae.encoder, vae.decoder):
        for name, parameter in half.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    std = torch.tensor(vae.config.latents_std)
    mean = torch.tensor(vae.config.latents_mean)

    latent = torch.randn(1, 16, 3, 8, 8, generator=generator) * std.view(1, 16, 1, 1, 1) + mean.view(1, 16, 1, 1, 1)
    last = vae.decoder.conv_out
    last.weight.mul_(1e-2)  # stay clear of the decoder's own clamp while measuring
    picture = vae.decode(latent, return_dict=False)[0][..., 8:-8, 8:-8]
    _rescale(last, picture, torch.zeros(3), torch.full((3,), gain), slice(None))

    blocks = torch.rand(8, 3, 1, 6, 6, generator=generator) * 2 - 1  # still pictures of 6 × 6 patches of plain colour
    pictures = torch.nn.functional.interpolate(blocks, size=(1, 96, 96))
    # The first half of the channels is the mean, the second the log-variance, which the pipelines do not use.
    _rescale(vae.quant_conv, vae.encode(pictures).latent_dist.mode(), mean, std, slice(0, 16))


def _rescale(layer: torch.nn.Module, measured: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, channels: slice) -> None:
    """Scale `layer`, the last before `measured` (N × C × …), so that each channel gets the given mean and standard deviation."""
    over = [axis for axis in range(measured.dim()) if axis != 1]
    scale = std / measured.std(over).clamp_min(1e-9)
    bias = layer.bias[channels]
    bias.copy_(bias * scale + mean - measured.mean(over) * scale)
    layer.weight[channels] = layer.weight[channels] * scale.view(-1, 1, 1, 1, 1)
