"""IP-Adapter for SDXL: apply a reference picture's style, composition or character, by scaling the adapter per attention block.

Blocks as in InstantStyle (https://arxiv.org/abs/2404.02733; diffusers' guide "IP-Adapter", section "Style & layout control"): with the
plain adapter, up block 0's second attention carries style and down block 2's second carries layout. A character uses the plus-face
adapter on all blocks; its useful range is 0.6 to 0.8.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import CLIPVisionModelWithProjection

from executors.errors import BadWork
from executors.models import files, working
from executors.models.adapters import of_ip_adapter
from executors.models.base import ModelPaths
from executors.models.loading import from_folder, loading
from executors.models.structure import whole
from executors.residency import Residency

if TYPE_CHECKING:
    from diffusers import StableDiffusionXLPipeline
    from PIL.Image import Image


@dataclass(frozen=True)
class Use:
    """Implementation of one `reference_type`. Paths of weights and encoders as in the repository h94/IP-Adapter."""

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
    """The modules that an adapter adds to a UNet, kept so that they can be removed and added again without reading files."""

    name: str  # of the component with its weights
    encoder_name: str
    processors: dict[str, Any]
    projection: torch.nn.Module
    encoder: torch.nn.Module
    extractor: Any


class IpAdapters:
    """The adapters of one pipeline. Between jobs the UNet has no adapter: a job without a reference runs exactly the code as if none had
    ever been loaded, so its picture is the same bit for bit.

    Each adapter and each image encoder is a component (`executors.residency`); both adapters may use the same encoder.
    """

    def __init__(self, pipe: StableDiffusionXLPipeline, paths: ModelPaths, residency: Residency, dtype: torch.dtype) -> None:
        self._pipe, self._paths, self._residency, self._dtype = pipe, paths, residency, dtype
        self._bare = pipe.unet.attn_processors
        self._kits: dict[str, _Kit] = {}
        self.attached: tuple[str, ...] = ()  # components that the UNet needs beside its own until `detach`

    def attach(self, reference_type: str, strength: float, picture: Image, guided: bool, dtype: torch.dtype) -> list[torch.Tensor]:
        """Add the adapter to the UNet; return the picture's embeddings for `ip_adapter_image_embeds` ((negative, positive) if `guided`).

        `dtype`: the UNet's in this job. Raises `BadWork` for an unknown type, `ModelFileError`. Always call `detach` afterwards.
        """
        if reference_type not in USES:
            raise BadWork(f"unknown reference type {reference_type!r}: there are {', '.join(USES)}")
        use, pipe = USES[reference_type], self._pipe
        if use.weights not in self._kits:
            self._kits[use.weights] = self._load(use)
        kit = self._kits[use.weights]
        pipe.unet.set_attn_processor(dict(kit.processors))  # a copy, because it empties its argument
        pipe.unet.encoder_hid_proj = kit.projection
        pipe.unet.config.encoder_hid_dim_type = "ip_image_proj"
        self.attached = (kit.name,)
        pipe.set_ip_adapter_scale(use.scale(strength))
        pipe.image_encoder, pipe.feature_extractor = kit.encoder, kit.extractor
        config = kit.encoder.config
        need = working.text(tokens=2 * (config.image_size // config.patch_size) ** 2, ffn=config.intermediate_size)
        with self._residency.hold(kit.encoder_name, working=need):
            embeddings = pipe.prepare_ip_adapter_image_embeds([picture], None, self._residency.device, 1, guided)
        return [e.to(dtype) for e in embeddings]

    def detach(self) -> None:
        pipe = self._pipe
        pipe.unet.encoder_hid_proj = None  # first: a plus adapter's projection has attention that the bare processors do not cover
        pipe.unet.config.encoder_hid_dim_type = None
        pipe.unet.set_attn_processor(dict(self._bare))
        pipe.image_encoder = pipe.feature_extractor = None
        self.attached = ()

    def unload(self) -> None:
        self.detach()
        for name in (*WEIGHTS.values(), *ENCODERS.values()):
            self._residency.remove(name)
        self._kits.clear()

    def _load(self, use: Use) -> _Kit:
        files.require(self._paths.root, "ip_adapter")
        name, encoder_name = WEIGHTS[use.weights], ENCODERS[use.encoder]
        residency, made = self._residency, {}
        if not residency.known(encoder_name):
            residency.add(encoder_name, partial(self._build_encoder, use))
        encoder = residency.load(encoder_name)

        def build() -> torch.nn.Module:
            processors, projection, made["extractor"] = self._build(use, encoder)
            made.setdefault("processors", processors)
            made.setdefault("projection", projection)
            return torch.nn.ModuleList([projection, *(p for p in processors.values() if isinstance(p, torch.nn.Module))])

        residency.remove(name)
        residency.add(name, build)
        residency.load(name)
        return _Kit(name, encoder_name, made["processors"], made["projection"], encoder, made["extractor"])

    def _build_encoder(self, use: Use) -> torch.nn.Module:
        folder = self._paths.ip_adapter / use.encoder
        with loading(self._paths.root, folder):
            return from_folder(CLIPVisionModelWithProjection, self._paths.root, folder, self._dtype)

    def _build(self, use: Use, encoder: torch.nn.Module) -> tuple[dict[str, Any], torch.nn.Module, Any]:
        """Load the adapter into the UNet and remove it again; return its attention processors, its projection, and the image processor."""
        pipe, folder = self._pipe, self._paths.ip_adapter
        self._residency.set_down("sdxl.unet")  # the library creates the adapter on the UNet's device
        before = (pipe.unet.encoder_hid_proj, pipe.unet.config.encoder_hid_dim_type, pipe.unet.attn_processors)
        pictures = (pipe.image_encoder, pipe.feature_extractor)
        try:
            pipe.image_encoder, pipe.feature_extractor = encoder, None
            weights = folder / "sdxl_models" / use.weights
            with loading(self._paths.root, weights):
                if fault := of_ip_adapter(weights, folder / use.encoder, self._paths.sdxl_config / "unet"):
                    raise fault.raised(self._paths.root)
                options = {"image_encoder_folder": None, "local_files_only": True}
                pipe.load_ip_adapter(str(folder), subfolder="sdxl_models", weight_name=use.weights, **options)
            projection, pipe.unet.encoder_hid_proj = pipe.unet.encoder_hid_proj, None  # first, as in `detach`
            processors = pipe.unet.attn_processors
            for module in (projection, *processors.values()):
                if isinstance(module, torch.nn.Module):
                    whole(module, use.weights)
            return processors, projection, pipe.feature_extractor
        finally:
            pipe.unet.encoder_hid_proj, pipe.unet.config.encoder_hid_dim_type = before[:2]
            pipe.unet.set_attn_processor(dict(before[2]))
            pipe.image_encoder, pipe.feature_extractor = pictures


WEIGHTS = {_PLAIN[0]: "ip.plain", _FACE[0]: "ip.face"}
ENCODERS = {_PLAIN[1]: "ip.bigg", _FACE[1]: "ip.vith"}
logging.getLogger("diffusers.loaders.ip_adapter").setLevel(logging.ERROR)
