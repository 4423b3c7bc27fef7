"""Train a tiny image classifier on two synthetic classes, stripes and discs, in both formats that the image screen loads."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32
RULES = """
allow_at = 0.9

[labels]
stripes = "allow"
discs = { refuse_at = 0.2, category = "marked" }
"""


def stripes(rng: np.random.Generator) -> np.ndarray:
    wave = np.sin(2 * np.pi * np.arange(SIDE) / rng.integers(3, 9) + rng.uniform(0, 6))
    return np.tile(wave > 0, (SIDE, 1)).astype(np.float32)


def discs(rng: np.random.Generator) -> np.ndarray:
    (x, y), radius = rng.uniform(8, 24, 2), rng.uniform(4, 12)
    down, across = np.mgrid[:SIDE, :SIDE]
    return ((across - x) ** 2 + (down - y) ** 2 < radius**2).astype(np.float32)


def picture(kind: str, seed: int = 7, side: int = 96) -> Image.Image:
    """An image of one class, larger than the model's input."""
    drawn = {"stripes": stripes, "discs": discs}[kind](np.random.default_rng(seed))
    return Image.fromarray((drawn * 255).astype(np.uint8)).convert("RGB").resize((side, side), Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def teach(folder: Path) -> None:
    """Write `folder/safetensors` and `folder/onnx` with their rules, unpinned. Takes about three seconds."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    labels = {0: "stripes", 1: "discs"}
    model = ViTForImageClassification(
        ViTConfig(
            image_size=SIDE, patch_size=8, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
            id2label=labels, label2id={name: n for n, name in labels.items()},
        )
    )  # fmt: skip
    steps = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(120):
        wanted = rng.integers(0, 2, 32)
        drawn = np.stack([(stripes, discs)[kind](rng) for kind in wanted])[:, None].repeat(3, axis=1) * 2 - 1
        loss = torch.nn.functional.cross_entropy(model(pixel_values=torch.tensor(drawn)).logits, torch.tensor(wanted))
        steps.zero_grad()
        loss.backward()
        steps.step()
    model.eval()
    for name in ("safetensors", "onnx"):
        model.config.save_pretrained(folder / name)
        ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder / name)
        (folder / name / "screen.toml").write_text(RULES)
    model.save_pretrained(folder / "safetensors")
    free = {0: "n"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter needs no further package
        torch.onnx.export(
            model, (torch.zeros(1, 3, SIDE, SIDE),), str(folder / "onnx" / "model.onnx"), dynamo=False,
            input_names=["pixel_values"], output_names=["logits"], dynamic_axes={"pixel_values": free, "logits": free},
        )  # fmt: skip
