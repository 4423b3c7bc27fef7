"""The models' architectures as data: `TRUE`, as published, and `SMALL`, the same with fewer and narrower layers, for a run on a CPU.

Sources are the `config.json` files of the repositories named beside each; parameters counted from `TRUE` in brackets
(`tests/test_bench_gpu.py` counts them again).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Config = Mapping[str, Any]
Sizes = Mapping[str, Config]

CLIP_WORDS: Final = 49_408

_UNET: Final = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (5, 10, 20),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_VAE: Final = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}
_CLIP: Final = {"vocab_size": CLIP_WORDS, "max_position_embeddings": 77, "bos_token_id": 49_406, "eos_token_id": 49_407}
_CLIP_L: Final = {
    **_CLIP,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
_CLIP_G: Final = {
    **_CLIP,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
_WAN: Final = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 8960,
    "num_layers": 30,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
}
_WAN_VAE: Final = {
    "base_dim": 96,
    "z_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
}
_UMT5: Final = {
    "vocab_size": 256_384,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10_240,
    "num_layers": 24,
    "num_heads": 64,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "feed_forward_proj": "gated-gelu",
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
    "use_cache": False,
}
_QWEN: Final = {
    "vocab_size": 152_064,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": False,
}

TRUE: Final[Sizes] = {
    "unet": _UNET,  # stabilityai/stable-diffusion-xl-base-1.0, of which LUSTIFY is a finetune [2,567 M]
    "vae": _VAE,  # the same [84 M]
    "text_encoder": _CLIP_L,  # the same: OpenAI's CLIP ViT-L/14 [123 M]
    "text_encoder_2": _CLIP_G,  # the same: OpenCLIP ViT-bigG/14 [695 M]
    "t2v": _WAN,  # Wan-AI/Wan2.1-T2V-1.3B-Diffusers [1,419 M]
    "vace": {**_WAN, "vace_layers": list(range(0, 30, 2)), "vace_in_channels": 96},  # Wan-AI/Wan2.1-VACE-1.3B-diffusers [2,154 M]
    "wan_vae": _WAN_VAE,  # both [127 M]
    "umt5": _UMT5,  # both: google/umt5-xxl's encoder [5,681 M]
    "qwen": _QWEN,  # Qwen/Qwen2.5-7B-Instruct [7,616 M]
}

_NARROW: Final = {"num_attention_heads": 2, "attention_head_dim": 12, "text_dim": 32, "freq_dim": 64, "ffn_dim": 48, "num_layers": 2}
_FEW: Final = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}

SMALL: Final[Sizes] = {
    "unet": {
        **_UNET,
        "block_out_channels": (16, 32, 32),
        "attention_head_dim": (1, 2, 2),
        "transformer_layers_per_block": (1, 1, 2),
        "cross_attention_dim": 48,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 32,
        "norm_num_groups": 8,
    },
    "vae": {**_VAE, "block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4},
    "text_encoder": {**_CLIP_L, **_FEW, "hidden_size": 16, "projection_dim": 16},
    "text_encoder_2": {**_CLIP_G, **_FEW, "hidden_size": 32, "projection_dim": 32},
    "t2v": {**_WAN, **_NARROW},
    "vace": {**_WAN, **_NARROW, "vace_layers": [0, 1], "vace_in_channels": 96},
    "wan_vae": {**_WAN_VAE, "base_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
    "umt5": {**_UMT5, "vocab_size": 512, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    "qwen": {**_QWEN, **_FEW, "vocab_size": 2048, "hidden_size": 32, "num_key_value_heads": 2},
}
