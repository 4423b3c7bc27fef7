"""Recognise the kind of model in a wrong .safetensors file, by tensors that only that kind has. For error messages."""

from __future__ import annotations

from collections.abc import Callable

from executors.models.safetensors_header import Header, quoted

UNET = "model.diffusion_model."


def _side(name: str, place: int, size: int) -> Callable[[Header], bool]:
    """Return a test if a tensor has this size in dimension `place`."""

    def says(header: Header) -> bool:
        shape = header.tensors.get(name, {}).get("shape", [])
        return len(shape) > place and shape[place] == size

    return says


def _has(*parts: str) -> Callable[[Header], bool]:
    return lambda header: any(part in name for name in header.tensors for part in parts)


def _only(*prefixes: str) -> Callable[[Header], bool]:
    return lambda header: bool(header.tensors) and all(name.startswith(prefixes) for name in header.tensors)


KINDS: tuple[tuple[str, Callable[[Header], bool]], ...] = (
    # The first match wins. LoRAs first: a LoRA of any model is a LoRA.
    ("a LoRA, which is put over a checkpoint and is none", _has("lora_", ".lora.")),
    ("a ControlNet", _has("input_hint_block", "control_model.", "controlnet_")),
    ("a checkpoint of scaled fp8, whose scales no loader here reads", _has("scaled_fp8", ".scale_weight")),
    ("a quantised checkpoint (bitsandbytes)", _has(".quant_state", ".absmax")),
    ("an inpainting checkpoint (9 channels in)", _side(f"{UNET}input_blocks.0.0.weight", 1, 9)),
    ("an instruct-pix2pix checkpoint (8 channels in)", _side(f"{UNET}input_blocks.0.0.weight", 1, 8)),
    ("an SDXL refiner", _side(f"{UNET}label_emb.0.0.weight", 1, 2560)),
    ("a Stable Diffusion 1 checkpoint", _has("cond_stage_model.transformer.")),
    ("a Stable Diffusion 2 checkpoint", _has("cond_stage_model.model.")),
    ("a Stable Diffusion 3 checkpoint", _has("joint_blocks.")),
    ("a Flux checkpoint", _has("double_blocks.")),
    ("a UNet alone, without text encoders and VAE", _only(UNET)),
    ("a VAE alone", _only("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "first_stage_model.", "loss.")),
)


def what(header: Header) -> str:
    """Return the kind of file, with the architecture named in its metadata; empty if unknown."""
    kind = next((kind for kind, fits in KINDS if fits(header)), "")
    said = header.metadata.get("modelspec.architecture")
    if said is None:
        return kind
    return f"{kind} (its metadata says {quoted(said)})" if kind else f"of the architecture {quoted(said)}, says its metadata"
