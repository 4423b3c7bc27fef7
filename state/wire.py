"""The names that clients use for a job's settings, and what they mean: one table for the Redis message, the plain INSERT, the rpc and the
edge function. The database's copy is `ourvidz.wire_names`, TypeScript's is generated.

Older senders use Wan's names for SDXL too, so a name means the same in both families wherever it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from state.catalog import JobType, job_type
from state.errors import InvalidJob

NAMES: Final[Mapping[str, str]] = {
    # the name on the wire → the setting; later rows win over earlier ones where a message gives several
    "sample_steps": "steps",
    "num_inference_steps": "steps",
    "steps": "steps",
    "sample_guide_scale": "guidance",
    "guidance_scale": "guidance",
    "guidance": "guidance",
    "size": "size",  # "480*832"
    "width": "width",
    "height": "height",
    "num_images": "images",
    "images": "images",
    "frame_num": "frames",
    "seed": "seed",
    "sample_shift": "shift",
    "shift": "shift",
    "sample_solver": "sampler",
    "sampler": "sampler",
    "scheduler": "scheduler",
    "strength": "strength",
    "denoise_strength": "strength",
    "reference_type": "reference_type",
    "reference_strength": "reference_strength",
    "reference_fallback": "reference_fallback",
    "on_enhance_failure": "on_enhance_failure",
}

REFERENCES: Final[Mapping[str, Mapping[str, str]]] = {
    # the name on the wire → the slot, by family; the config's names stand after the metadata's, and so win
    "wan": {
        "reference_image_url": "single",
        "start_reference_url": "first_frame",
        "end_reference_url": "last_frame",
        "image": "single",
        "first_frame": "first_frame",
        "last_frame": "last_frame",
    },
    "sdxl": {"reference_image_url": "style", "image": "style", "init_image": "init", "init_image_url": "init"},
}

MODEL_VARIANTS: Final[Mapping[str, str]] = {"sdxl": "lustify_sdxl", "wan": "wan_2_1_1_3b"}
"""What a message and the edge function call a family's model."""

IGNORED: Final = (
    "expected_time",
    "content_type",
    "file_extension",
    "enhance_prompt",
    "prompt",
    "user_prompt",
    "compel_enabled",
    "compel_weights",
)
"""Said on the wire and decided by the job type, or read elsewhere."""


def rows() -> list[dict[str, Any]]:
    """The table as the database and the edge functions have it. `n` is the order in which later names win."""
    told = [("any", name, setting) for name, setting in NAMES.items()]
    told += [(family, name, f"references.{slot}") for family, names in REFERENCES.items() for name, slot in names.items()]
    return [{"n": n, "family": family, "name": name, "setting": setting} for n, (family, name, setting) in enumerate(told)]


def settings(type_name: str, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What `state.catalog.resolve` is asked for, out of a message's `config` and `metadata`; `config` wins.

    A name that `config` may not have raises `InvalidJob`; metadata is free, and only the names above are read from it. A null counts as
    not given. Values are passed on as they are: `resolve` judges them.
    """
    kind = job_type(type_name)
    if unknown := sorted(set(config) - set(NAMES) - set(REFERENCES["wan"]) - set(REFERENCES["sdxl"]) - set(IGNORED)):
        raise InvalidJob(f"config has no field {unknown[0][:40]!r}.", field=f"config.{unknown[0][:40]}")
    found: dict[str, Any] = {}
    references: dict[str, Any] = {}
    for said in (metadata, config):
        given = {setting: said[name] for name, setting in NAMES.items() if said.get(name) is not None}
        found |= (_size(given.pop("size")) if "size" in given else {}) | given
        references |= _references(kind, said)
    if references:
        found["references"] = references
    return found


def _references(kind: JobType, said: Mapping[str, Any]) -> dict[str, Any]:
    slots = {name: said[name] for name in REFERENCES[kind.family] if said.get(name) is not None}
    # The one picture that an older sender gives to an img2img job is what it starts from.
    only = {"reference_image_url": "init", "image": "init"} if kind.init_image and not {"init_image", "init_image_url"} & set(said) else {}
    return {only.get(name, REFERENCES[kind.family][name]): value for name, value in slots.items()}


def _size(value: object) -> dict[str, int]:
    sides = value.split("*") if isinstance(value, str) else []
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() and len(side) < 6 for side in sides):
        raise InvalidJob("size must be written like 480*832.", field="size")
    return {"width": int(sides[0]), "height": int(sides[1])}
