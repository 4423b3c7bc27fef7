"""IP-Adapters of the tiny SDXL during training: attached as the product does it, and saved in the format of h94's files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from executors.models.sdxl import Sdxl
from executors.models.sdxl_ip import USES

# Names in h94's files → names inside diffusers' perceiver; `to_kv` is one matrix there and two here.
_BLOCK = {"0.norm1": "ln0", "0.norm2": "ln1", "0.to_q": "attn.to_q", "0.to_out": "attn.to_out.0",
          "1.0": "ff.0", "1.1": "ff.1.net.0.proj", "1.3": "ff.1.net.2"}  # fmt: skip


class Adapters:
    """Both adapters of `sdxl`, loaded by the product's own code. `kits` is keyed by file name."""

    def __init__(self, sdxl: Sdxl) -> None:
        self.pipe, self.files = sdxl._pipe, sdxl.paths.ip_adapter / "sdxl_models"
        self.kits = {use.weights: sdxl._ip._load(use) for use in {use.weights: use for use in USES.values()}.values()}
        self._bare = self.pipe.unet.attn_processors
        self._worn = ""

    def encoder_of(self, kind: str) -> Any:
        return self.kits[USES[kind].weights].encoder

    def modules(self) -> dict[str, nn.Module]:
        """Trainable modules, by file name: the projection and the attention's keys and values."""
        return {
            name: nn.ModuleList([kit.projection, *(p for p in kit.processors.values() if isinstance(p, nn.Module))])
            for name, kit in self.kits.items()
        }

    @torch.no_grad()
    def be_heard(self, deviation: float = 0.15) -> None:
        """Scale keys and values of the plain adapter to this deviation. The initial keys of tiny models are so large that each patch
        attends to one of its tokens alone, and with values near zero its gradients drowned in noise: after 200 lessons it still had no
        effect."""
        for processor in self.kits[USES["style"].weights].processors.values():
            if isinstance(processor, nn.Module):
                for parameter in processor.parameters():
                    parameter.mul_(deviation / parameter.std())

    def wear(self, kind: str, strength: float = 0.7) -> None:
        """Attach the adapter of a reference type to the UNet, at the blocks and scales of `sdxl_ip.USES`; "" removes it."""
        unet = self.pipe.unet
        if kind != self._worn:
            unet.encoder_hid_proj = None
            unet.config.encoder_hid_dim_type = None
            unet.set_attn_processor(dict(self._bare))
        if kind:
            use = USES[kind]
            if kind != self._worn:
                unet.set_attn_processor(dict(self.kits[use.weights].processors))
                unet.encoder_hid_proj = self.kits[use.weights].projection
                unet.config.encoder_hid_dim_type = "ip_image_proj"
            self.pipe.set_ip_adapter_scale(use.scale(strength))
        self._worn = kind

    def states(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Each file's name without its suffix, and its tensors."""
        for name, kit in self.kits.items():
            yield name.removesuffix(".safetensors"), _file_state(kit, load_file(self.files / name))


def _file_state(kit: Any, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A kit's weights under the names of `raw`, the file that it was loaded from."""
    (projection,), processors = kit.projection.image_projection_layers, list(kit.processors.values())
    have, new = projection.state_dict(), {}
    for key in raw:
        part, _, name = key.partition(".")
        if part == "ip_adapter":  # numbered over all attention layers
            number, leaf, _ = name.split(".")
            new[key] = getattr(processors[int(number)], leaf)[0].weight.detach()
        elif match := re.match(r"(layers\.\d+)\.0\.to_kv\.weight", name):
            new[key] = _both(have, f"{match[1]}.attn.to_k.weight", f"{match[1]}.attn.to_v.weight")
        elif match := re.match(r"(layers\.\d+)\.(\d\.\w+)\.(\w+)$", name):
            new[key] = have[f"{match[1]}.{_BLOCK[match[2]]}.{match[3]}"]
        else:
            new[key] = have[re.sub(r"^proj\.", "image_embeds.", name)]
        if new[key].shape != raw[key].shape:
            raise ValueError(f"{key}: {tuple(new[key].shape)} where the file has {tuple(raw[key].shape)}")
    return new


def _both(state: Mapping[str, Tensor], first: str, second: str) -> Tensor:
    return torch.cat([state[first], state[second]])
