"""Working memory of each stage in bytes, besides the weights: the peak of live activations, with a margin. No torch.

Derived from the architectures, not measured: the largest activation (channels × positions × bytes) times the number of such tensors alive
at the same time, rounded up. `bench/gpu` compares with a card's peak. The defaults are for the real models; tiny models pass their own
widths.
"""

from __future__ import annotations

BF16, FP32 = 2, 4


def text(tokens: int, ffn: int, width: int = BF16) -> int:
    """A text or image encoder, or the LLM, over `tokens` tokens (all prompts together), with feed-forward layers `ffn` wide."""
    return 10 * tokens * ffn * width


def sdxl_denoise(pixels: int, pictures: int = 1, channels: int = 320, width: int = BF16) -> int:
    """The UNet over a guidance pair per picture: skips, the widest concatenation, cuDNN's workspace. 1.0 GB at 1024²."""
    return 2 * pictures * 50 * channels * (pixels // 64) * width


def sdxl_vae(pixels: int, channels: int = 256) -> int:
    """The decoder in fp32, one picture: `channels` at full resolution, where the last block begins. 6.4 GB at 1024²."""
    return 6 * channels * pixels * FP32


def wan_tokens(pixels: int, frames: int) -> int:
    """Transformer tokens: one for 4 frames × 16 × 16 pixels; the first frame alone."""
    return ((frames - 1) // 4 + 1) * (pixels // 256)


def wan_denoise(tokens: int, ffn: int = 8960, dim: int = 1536, hints: int = 0, width: int = BF16) -> int:
    """One pass (guidance runs two in sequence): the feed-forward layer, the norms in fp32; VACE keeps a hint for each of its layers."""
    return tokens * (6 * ffn + hints * dim) * width


def wan_vae(pixels: int, frames: int, base: int = 96) -> int:
    """The decoder in fp32, four frames at a time, twice its base width at full resolution; plus the clip twice, while frames are joined."""
    return 6 * 2 * base * min(frames, 4) * pixels * FP32 + 2 * 3 * frames * pixels * FP32
