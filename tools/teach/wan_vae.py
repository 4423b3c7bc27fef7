"""Teach the tiny Wan VAE: films of this world to latents of (frames + 3) / 4 × H/8 × W/8 and back.

The encoder is set, not trained: its latents are nearly linear in the pixels: the mean colours of 4 × 4 pixels over the four frames (twelve
channels) and of 8 × 8 (three, and their mean). So the denoiser does not depend on how well the decoder is trained. The decoder starts as
nearly the same means and has to learn edges and motion: the position of an edge is in the mixed colour of the pixels that it crosses.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders import autoencoder_kl_wan
from torch import Tensor, nn

from tools.teach import scenes
from tools.teach.training import Training

SIZES = ((32, 48), (48, 32))  # width and height, as executors.models.tiny_wan makes them
RATE = 1e-3
LOUD = 6.0  # constant channels that keep RMS norms nearly constant


def radius_share(rng: random.Random) -> float:
    """A shape's radius relative to the shorter side: large, since the sides are short."""
    return rng.uniform(0.24, 0.30)


def moving_film(scene: scenes.Scene, size: tuple[int, int], frames: int, rng: random.Random) -> scenes.Pixels:
    """Draw frames (F, H, W, 3) in 0…255. A short film is a part of the path, so that no shape moves faster than 1.5 pixels a frame."""
    whole = max(frames, 17)
    begin = rng.randrange(whole - frames + 1)
    way = scenes.path(scene, size, whole, rng, radius_share(rng))[begin : begin + frames]
    if not scene.motion:  # at any position
        (w, h), r = size, way[0][0].radius + 2
        way = [[scenes.Spot(rng.uniform(r, w - r), rng.uniform(r, h - r), r - 2)]] * frames
    return scenes.film(scene, way, size)


def as_tensor(films: list[scenes.Pixels]) -> Tensor:
    """(N, 3, F, H, W) in −1…1."""
    return torch.from_numpy(np.stack(films)).permute(0, 4, 1, 2, 3) / 127.5 - 1


def _quick(norm: Any, x: Tensor) -> Tensor:
    # The class's own forward computes a norm over a strided axis: half of a step's time on a CPU.
    mean = x.square().mean(1 if norm.channel_first else -1, keepdim=True)
    return x * mean.clamp_min(1e-24).rsqrt() * norm.gamma + norm.bias


@contextmanager
def quick_norms() -> Iterator[None]:
    """Use an equal, quicker form of the VAE's norms during training."""
    kind = autoencoder_kl_wan.WanRMS_norm
    plain = kind.forward
    kind.forward = _quick
    try:
        yield
    finally:
        kind.forward = plain


def _hand_on(conv: nn.Module, pairs: list[tuple[int, int]], tap: Tensor, rest: float = 0.3) -> None:
    """Set output channel o to `tap` of input channel i for each pair (o, i); the others stay random, scaled by `rest`."""
    conv.weight.mul_(rest)
    conv.bias.zero_()
    for o, i in pairs:
        conv.weight[o] = 0.0
        conv.weight[o, i] = tap


@torch.no_grad()
def straighten(vae: Any) -> None:
    """Set the initial weights described above; every residual block starts as its shortcut."""
    for name, module in vae.named_modules():
        if name.endswith((".conv2", ".proj")):
            module.weight.zero_()
            module.bias.zero_()
        if name.endswith("conv_shortcut") and isinstance(module, nn.Conv3d):
            _hand_on(module, [(c, c) for c in range(min(3, module.in_channels))], torch.ones(1, 1, 1))
    colours, now, mean = [(c, c) for c in range(3)], torch.zeros(3, 3, 3), torch.zeros(3, 3)
    now[2, 1, 1] = 1.0
    mean[:2, :2] = 0.25
    pair = torch.tensor([0.0, 0.5, 0.5]).view(3, 1, 1)
    encoder = vae.encoder
    _hand_on(encoder.conv_in, colours, now)
    downs = [block for block in encoder.down_blocks if hasattr(block, "resample")]
    for down in downs[:-1]:
        _hand_on(down.resample[1], colours, mean)
    # The last downsampling keeps its four parts separate, each with both signs: silu(x) − silu(−x) = x.
    last = downs[-1].resample[1]
    _hand_on(last, [], mean)
    for quarter in range(4):
        tap = torch.zeros(3, 3)
        tap[quarter // 2, quarter % 2] = 1.0
        for colour in range(3):
            for sign in (0, 1):
                o = 2 * (3 * quarter + colour) + sign
                last.weight[o] = 0.0
                last.weight[o, colour] = (1 - 2 * sign) * tap
    last.weight[24:26] = 0.0
    last.bias[24], last.bias[25] = LOUD, -LOUD
    for down in downs:
        if hasattr(down, "time_conv"):
            _hand_on(down.time_conv, [(c, c) for c in range(26 if down is downs[-1] else 3)], pair)
    gain = LOUD * (2 / encoder.norm_out.gamma.shape[0]) ** 0.5
    _hand_on(encoder.conv_out, [], now)
    for c in range(12):
        encoder.conv_out.weight[c] = 0.0
        encoder.conv_out.weight[c, 2 * c], encoder.conv_out.weight[c, 2 * c + 1] = gain * now, -gain * now
    parts = encoder.conv_out.weight[:12].view(4, 3, *encoder.conv_out.weight.shape[1:])
    encoder.conv_out.weight[12:15] = parts.mean(0)
    encoder.conv_out.weight[15] = parts.mean((0, 1))

    # Decoder: the four parts pass unchanged to the first upsampling, which adds to their mean what their differences tell of the position
    # of an edge in it. All taps keep a plain colour as it is at the picture's border, where a convolution reads zeros.
    decoder = vae.decoder
    _hand_on(decoder.conv_in, [(c, c) for c in range(12)], now)
    still, middle = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1), torch.tensor([0.0, 1.0, 0.0])
    part = (torch.tensor([-0.25, 0.5, 0.25]), torch.tensor([0.25, 0.5, -0.25]))
    ups = [block.upsamplers[0] for block in decoder.up_blocks if block.upsamplers]
    for up in ups:
        _hand_on(up.resample[1], colours, torch.outer(middle, middle))
        if hasattr(up, "time_conv"):
            half = up.time_conv.out_channels // 2
            _hand_on(up.time_conv, [(o + later, o) for later in (0, half) for o in range(half)], still)
    for c in range(3):
        for quarter in range(4):
            ups[0].resample[1].weight[c, 3 * quarter + c] = torch.outer(part[quarter // 2], part[quarter % 2])
    _hand_on(ups[-1].resample[1], [*colours, *((3 + c, c) for c in range(3))], torch.outer(middle, middle))
    ups[-1].resample[1].weight[3:6] *= -1.0
    ups[-1].resample[1].weight[6], ups[-1].resample[1].bias[6] = 0.0, LOUD
    gain = LOUD / decoder.norm_out.gamma.shape[0] ** 0.5
    _hand_on(decoder.conv_out, [], now)
    for c in range(3):
        decoder.conv_out.weight[c] = 0.0
        decoder.conv_out.weight[c, c], decoder.conv_out.weight[c, 3 + c] = gain * now, -gain * now
    for conv in (vae.quant_conv, vae.post_quant_conv):
        conv.weight.copy_(torch.eye(conv.out_channels)[..., None, None, None])
        conv.bias.zero_()


def _lesson(rng: random.Random, frames: int = 9) -> Tensor:
    """Draw sixteen pictures, or four films, of one size. Some films are partly grey, like VACE's control film."""
    size, films = rng.choice(SIZES), []
    for _ in range(16 if frames == 1 else 4):
        film = moving_film(scenes.draw_scene(rng, two=0.0, placed=0.0, moving=0.85), size, frames, rng)
        if frames > 1 and rng.random() < 0.1:
            kept = rng.choice((0, -1))
            grey = np.full_like(film, 127.5)
            grey[kept] = film[kept]
            film = grey
        if rng.random() < 0.1:  # colours between those that have names
            film = film @ np.array(rng.choice(_TURNS), np.float32)
        films.append(film)
    return as_tensor(films)


_TURNS = (
    ((0.6, 0.2, 0.2), (0.2, 0.6, 0.2), (0.2, 0.2, 0.6)),
    ((0.2, 0.6, 0.2), (0.2, 0.2, 0.6), (0.6, 0.2, 0.2)),
)


@torch.no_grad()
def set_encoder(vae: Any, seed: int) -> None:
    """Set the encoder to its final weights, with the mean and deviation of latents per channel that the config names (the real Wan's)."""
    straighten(vae)
    rng = random.Random(seed)
    latents = torch.cat([vae.encode(_lesson(rng)).latent_dist.mode().transpose(0, 1).flatten(1) for _ in range(40)], 1)
    fold(vae, latents.mean(1), latents.std(1))


def teach_decoder(vae: Any, folder: Path, seed: int, steps: int) -> dict[str, Any]:
    """Train on latents with a little noise, as a denoiser leaves it. Pictures first, then alternating with films: pictures with as many
    pixels as a film hold more edges, and a step on a few films learns mostly how they differ from the few before."""
    half = nn.ModuleList([vae.decoder, vae.post_quant_conv])
    std = torch.tensor(vae.config.latents_std).view(16, 1, 1, 1)

    def loss_of(step: int) -> Tensor:
        gen = torch.Generator().manual_seed(seed * 10**7 + step)
        frames = 1 if step < 300 or step % 2 else (5, 5, 9)[step // 2 % 3]
        real = _lesson(random.Random(f"{seed}-decoder-{step}"), frames)
        with torch.no_grad():
            z = vae.encode(real).latent_dist.mode()
        z = z + std * 0.15 * torch.rand(len(z), 1, 1, 1, 1, generator=gen) * torch.randn(z.shape, generator=gen)
        miss = decode(vae, z) - real
        return miss.abs().mean() + miss.square().mean()

    with quick_norms():
        training = Training("decoder", {"decoder": half}, [([*half.parameters()], RATE)], folder)
        training.run(steps, loss_of)
    return {"steps": training.step, "loss": round(float(np.mean(training.losses[-50:])), 4), **measure(vae, seed)}


@torch.no_grad()
def measure(vae: Any, seed: int) -> dict[str, Any]:
    """Mean absolute error of two films after encoding and decoding, in levels of 255, per number of frames."""
    rng, out = random.Random(seed + 1), {}
    for frames in (1, 17):
        misses = []
        for _ in range(2):
            film = moving_film(scenes.draw_scene(rng, two=0.0, placed=0.0, moving=0.9), rng.choice(SIZES), frames, rng)
            real = as_tensor([film])
            back = vae.decode(vae.encode(real).latent_dist.mode()).sample
            misses.append(float((back - real).abs().mean() * 127.5))
        out[f"miss_{frames}"] = round(sum(misses) / len(misses), 2)
    return out


def decode(vae: Any, z: Tensor) -> Tensor:
    """`AutoencoderKLWan.decode` without its clamp at −1 and 1, which would block the gradient beyond them."""
    vae.clear_cache()
    x, frames = vae.post_quant_conv(z), []
    for i in range(z.shape[2]):
        vae._conv_idx = [0]
        frames.append(vae.decoder(x[:, :, i : i + 1], feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=i == 0))
    vae.clear_cache()
    return torch.cat(frames, 2)


@torch.no_grad()
def fold(vae: Any, mean: Tensor, std: Tensor) -> None:
    """Rescale latents of this mean and deviation to those that the config names, and the decoder's input back; set the encoder's variance
    to almost zero."""
    config_mean, config_std = torch.tensor(vae.config.latents_mean), torch.tensor(vae.config.latents_std)
    scale = config_std / std
    conv, back = vae.quant_conv, vae.post_quant_conv
    conv.weight[:16] *= scale.view(16, 1, 1, 1, 1)
    conv.bias[:16] = (conv.bias[:16] - mean) * scale + config_mean
    conv.weight[16:], conv.bias[16:] = 0.0, -20.0
    back.weight /= scale.view(1, 16, 1, 1, 1)
    back.bias += mean - config_mean / scale
