"""The roles of model files: each role's folder, required files, and checks that the files are of the right kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle"})  # loading one runs the code inside it
STRAY = PICKLES - {".bin"}  # suffixes that no library looks for by itself in a folder


@dataclass(frozen=True)
class Role:
    """One role: its folder, required files, and checks that the files are of the right kind."""

    name: str
    folder: str
    needs: tuple[str, ...]  # files, relative to `folder`; an entry ending in / needs a .safetensors file inside
    prefixes: tuple[tuple[str, tuple[str, ...]], ...] = ()  # file: prefixes of tensor names, each of which must occur
    classes: tuple[tuple[str, str], ...] = ()  # config file: the class that it must name
    read: tuple[str, ...] = ("",)  # folders that are passed to a library as a whole; "" is the role's own

    @property
    def made_with(self) -> str:
        """The family of `executors.models.tiny.MAKERS` that makes this role's tiny model."""
        return {"ip_adapter": "sdxl", "vace": "wan"}.get(self.name, self.name)

    def stray(self, name: str) -> bool:
        """Check if nothing ever reads the file `name` below the role's folder, so that it is harmless: a pickle that no loader opens (all
        use safetensors), or a file beside those that are loaded by name."""
        path = PurePosixPath(name)
        if any(folder in ("", *(str(parent) for parent in path.parents)) for folder in self.read):
            return path.suffix.lower() in STRAY
        return name not in self.needs


_IP_KEYS = ("image_proj.", "ip_adapter.")
PARTS = ("transformer", "text_encoder", "vae", "tokenizer", "scheduler")
_TEXT_TO_VIDEO = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer.json",
    *(f"{part}/{file}" for part in ("transformer", "text_encoder", "vae") for file in ("config.json", "")),
)
ROLES: tuple[Role, ...] = (
    Role(
        "sdxl",
        "sdxl-lustify",
        (
            "model.safetensors",
            "config/model_index.json",
            "config/unet/config.json",
            "config/vae/config.json",
            "config/scheduler/scheduler_config.json",
            "config/text_encoder/config.json",
            "config/text_encoder_2/config.json",
            # Without these the pipeline loads without an error, with a tokenizer of two tokens.
            "config/tokenizer/vocab.json",
            "config/tokenizer/merges.txt",
            "config/tokenizer_2/vocab.json",
            "config/tokenizer_2/merges.txt",
        ),
        prefixes=(
            ("model.safetensors", ("model.diffusion_model.", "conditioner.embedders.0.", "conditioner.embedders.1.", "first_stage_model.")),
        ),
        classes=(("config/model_index.json", "StableDiffusionXLPipeline"),),
        read=("config",),
    ),
    Role(
        "ip_adapter",
        "ip-adapter",
        (
            "sdxl_models/ip-adapter_sdxl.safetensors",
            "sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors",
            "sdxl_models/image_encoder/config.json",
            "sdxl_models/image_encoder/model.safetensors",
            "models/image_encoder/config.json",
            "models/image_encoder/model.safetensors",
        ),
        prefixes=(
            ("sdxl_models/ip-adapter_sdxl.safetensors", _IP_KEYS),
            ("sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors", _IP_KEYS),
        ),
        classes=(
            ("sdxl_models/image_encoder/config.json", "CLIPVisionModelWithProjection"),
            ("models/image_encoder/config.json", "CLIPVisionModelWithProjection"),
        ),
        read=("sdxl_models/image_encoder", "models/image_encoder"),
    ),
    Role("wan", "wan2.1-t2v-1.3b", _TEXT_TO_VIDEO, classes=(("model_index.json", "WanPipeline"),), read=PARTS),
    Role("vace", "wan2.1-vace-1.3b", _TEXT_TO_VIDEO, classes=(("model_index.json", "WanVACEPipeline"),), read=PARTS),
    Role("qwen", "qwen2.5-7b-instruct", ("config.json", "tokenizer_config.json", "./"), classes=(("config.json", "Qwen2ForCausalLM"),)),
)
