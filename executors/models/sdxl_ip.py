"""IP-Adapter for SDXL: a reference picture's style, composition or character, by the attention blocks that it may speak to.

Blocks after InstantStyle (https://arxiv.org/abs/2404.02733; diffusers' guide "IP-Adapter", section "Style & layout control"): with the
plain adapter, up block 0's second attention carries style and down block 2's second carries layout. A character is the plus-face
adapter on all blocks; 0.6 to 0.8 is its useful range.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from executors.errors import BadWork
from executors.models import files
from executors.models.base import ModelPaths
from executors.models.loading import loading

if TYPE_CHECKING:
    from diffusers import StableDiffusionXLPipeline
    from PIL.Image import Image


@dataclass(frozen=True)
class Use:
    """How one `reference_type` is done. Weights and encoders lie as in the repository h94/IP-Adapter."""

    weights: str
    encoder: str
    scale: Callable[[float], Any]  # a job's reference_strength → diffusers' per-block scale


_PLAIN = ("ip-adapter_sdxl.safetensors", "sdxl_models/image_encoder")
_FACE = ("ip-adapter-plus-face_sdxl_vit-h.safetensors", "models/image_encoder")
USES: dict[str, Use] = {
    "style": Use(*_PLAIN, lambda strength: {"up": {"block_0": [0.0, strength, 0.0]}}),
    "composition": Use(*_PLAIN, lambda strength: {"down": {"block_2": [0.0, strength]}}),
    "character": Use(*_FACE, lambda strength: strength),
}


@dataclass
class _Kit:
    """What loading an adapter puts into a UNet, kept so that it can be taken out and put back without reading files."""

    processors: dict[str, Any]
    projection: torch.nn.Module
    encoder: torch.nn.Module
    extractor: Any


class IpAdapters:
    """The adapters of one pipeline. Between jobs the UNet is always bare: a job without a reference runs the very code it would run had
    no adapter ever been loaded, so its picture is the same to the bit."""

    def __init__(self, pipe: StableDiffusionXLPipeline, paths: ModelPaths) -> None:
        self._pipe, self._paths = pipe, paths
        self._bare = pipe.unet.attn_processors
        self._kits: dict[str, _Kit] = {}

    def attach(self, reference_type: str, strength: float, picture: Image, guided: bool) -> list[torch.Tensor]:
        """Put the adapter in, and return the picture's embeddings for `ip_adapter_image_embeds` ((negative, positive) when `guided`).

        Raises `BadWork` for an unknown type, `ModelFileError`. `detach` afterwards, whatever happens.
        """
        if reference_type not in USES:
            raise BadWork(f"unknown reference type {reference_type!r}: there are {', '.join(USES)}")
        use, pipe = USES[reference_type], self._pipe
        if use.weights not in self._kits:
            self._kits[use.weights] = self._load(use)
        kit = self._kits[use.weights]
        pipe.unet.set_attn_processor(dict(kit.processors))  # it empties the dict that it is given
        pipe.unet.encoder_hid_proj = kit.projection
        pipe.unet.config.encoder_hid_dim_type = "ip_image_proj"
        pipe.unet.to(pipe.unet.dtype)  # a kit may come back from a job in another precision
        pipe.set_ip_adapter_scale(use.scale(strength))
        pipe.image_encoder, pipe.feature_extractor = kit.encoder, kit.extractor
        embeddings = pipe.prepare_ip_adapter_image_embeds([picture], None, pipe.unet.device, 1, guided)
        return [e.to(pipe.unet.dtype) for e in embeddings]

    def detach(self) -> None:
        pipe = self._pipe
        pipe.unet.encoder_hid_proj = None  # first: a plus adapter's has attention of its own, which the bare processors do not know
        pipe.unet.config.encoder_hid_dim_type = None
        pipe.unet.set_attn_processor(dict(self._bare))
        pipe.image_encoder = pipe.feature_extractor = None

    def _load(self, use: Use) -> _Kit:
        files.require(self._paths.root, "ip_adapter")
        pipe, folder = self._pipe, self._paths.ip_adapter
        shared = next((kit for name, kit in self._kits.items() if USE_ENCODERS[name] == use.encoder), None)
        if shared is not None:
            pipe.image_encoder, pipe.feature_extractor = (shared.encoder, shared.extractor)
        try:
            with loading(folder):
                pipe.load_ip_adapter(
                    str(folder),
                    subfolder="sdxl_models",
                    weight_name=use.weights,
                    # With a slash it is taken from the root, without one from the subfolder.
                    image_encoder_folder=use.encoder if use.encoder.startswith("models/") else use.encoder.split("/")[1],
                    local_files_only=True,
                )
            pipe.image_encoder.to(pipe.unet.device, pipe.unet.dtype)
            projection, pipe.unet.encoder_hid_proj = pipe.unet.encoder_hid_proj, None
            kit = _Kit(pipe.unet.attn_processors, projection, pipe.image_encoder.eval(), pipe.feature_extractor)
        finally:
            self.detach()
        return kit


USE_ENCODERS = {use.weights: use.encoder for use in USES.values()}
logging.getLogger("diffusers.loaders.ip_adapter").setLevel(logging.ERROR)
