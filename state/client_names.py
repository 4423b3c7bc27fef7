"""Client names of a job's settings, their meanings, and the settings that are set aside: data for the one normaliser, which is SQL
(ourvidz.normalise_requests). The database's copies are `ourvidz.wire_names`, `ourvidz.set_aside_rules` and `ourvidz.older_types`.

Legacy clients use Wan's names for SDXL too, so a name means the same in both families wherever it can. The deployed sender also puts fields
of the other family into every message; these are set aside and recorded, never refused (docs/decisions/0030).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from state.catalog import JOB_TYPES, JobType

NAMES: Final[Mapping[str, str]] = {
    # the name on the wire → the setting; if a message gives several, later rows win over earlier ones
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
    "frames": "frames",
    "fps": "fps",
    "seed": "seed",
    "sample_shift": "shift",
    "shift": "shift",
    "sample_solver": "sampler",
    "sampler": "sampler",
    "sampler_name": "sampler",  # as in A1111 and ComfyUI, where `scheduler` may be the noise levels' spacing alone
    "scheduler": "scheduler",
    "strength": "strength",
    "denoise_strength": "strength",
    "reference_type": "reference_type",
    "reference_strength": "reference_strength",
    "reference_fallback": "reference_fallback",
    "on_enhance_failure": "on_enhance_failure",
    "compel_enabled": "compel_enabled",
    "compel_weights": "compel_weights",
}

REFERENCES: Final[Mapping[str, Mapping[str, str]]] = {
    # the name on the wire → the slot, by family; the config's names come after the metadata's, and so win
    "wan": {
        "reference_url": "single",
        "reference_image_url": "single",
        "start_reference_url": "first_frame",
        "end_reference_url": "last_frame",
        "image": "single",
        "first_frame": "first_frame",
        "last_frame": "last_frame",
    },
    "sdxl": {
        "reference_url": "style",
        "reference_image_url": "style",
        "image": "style",
        "init_image": "init",
        "init_image_url": "init",
    },
}

OF_FAMILY: Final[Mapping[str, Mapping[str, str]]] = {"sdxl": {"sampler": "scheduler", "sampler_name": "scheduler"}}
"""Names with another meaning in one family. `sample_solver` stays Wan's own: the deployed sender gives it to every job."""

MODEL_VARIANTS: Final[Mapping[str, str]] = {"sdxl": "lustify_sdxl", "wan": "wan_2_1_1_3b"}
"""Name of a family's model in messages and in the edge function."""

IGNORED: Final = ("expected_time", "content_type", "file_extension", "enhance_prompt", "prompt", "user_prompt")
"""Fields of `config` in every message that the job type decides or that are read elsewhere: not recorded as set aside."""

REASONS: Final[Mapping[str, str]] = {
    "other_family": "the deployed sender puts it into every request; only the other model family has it",
    "decided_by_type": "the job type decides it",
    "first_and_last_win": "a first or last frame is used instead of a single picture",
    "one_frame": "an image has no first or last frame",
    "no_reference": "it says how a reference picture is used, and there is none",
    "not_enabled": "compel_weights came without compel_enabled",
    "upload_not_found": "the picture was only in the browser, and the user has uploaded none",
    "older_name": "an older name of a job type",
    "unknown": "no such setting",
}
"""Why something was set aside (closed list)."""


@dataclass(frozen=True)
class SetAside:
    """`setting` is set aside in jobs of these types. Each given condition narrows the rule."""

    types: Sequence[JobType]
    setting: str
    reason: str
    names: tuple[str, ...] = ()  # only under these names on the wire
    values: tuple[Any, ...] = ()  # only these values; others are checked against the type's limits
    beside: tuple[str, ...] = ()  # only where one of these names or settings is in the request too
    without: tuple[str, ...] = ()  # only if none of these is


_SDXL = [kind for kind in JOB_TYPES.values() if kind.family == "sdxl"]
_WAN = [kind for kind in JOB_TYPES.values() if kind.family == "wan"]
_WAN_VIDEO = [kind for kind in _WAN if kind.video]
_WAN_IMAGE = [kind for kind in _WAN if not kind.video]
_WANS_OWN = ("sample_solver", "sample_shift")  # a request with these has Wan's default steps and guidance, too
_BATCHES = tuple(n for n in JOB_TYPES["sdxl_image_fast"].images if n > 1)

SET_ASIDE: Final = (
    SetAside(_SDXL, "sampler", "other_family"),
    SetAside(_SDXL, "shift", "other_family"),
    SetAside(_SDXL, "size", "other_family", values=("480*832", "832*480")),
    SetAside(_SDXL, "steps", "other_family", names=("sample_steps",), beside=_WANS_OWN),
    SetAside(_SDXL, "guidance", "other_family", names=("sample_guide_scale",), beside=_WANS_OWN),
    SetAside(_SDXL, "reference_type", "no_reference", without=("references.style",)),
    SetAside(_SDXL, "reference_strength", "no_reference", without=("references.style",)),
    SetAside(_WAN, "reference_type", "other_family"),
    SetAside(_WAN, "compel_weights", "other_family"),
    SetAside(_WAN, "compel_enabled", "other_family", values=(True,)),
    SetAside([k for k in _WAN if k.video or k.enhance], "images", "other_family", values=_BATCHES),
    SetAside(_WAN_VIDEO, "references.single", "first_and_last_win", beside=("references.first_frame", "references.last_frame")),
    SetAside(
        _WAN_VIDEO, "reference_strength", "no_reference", without=("references.single", "references.first_frame", "references.last_frame")
    ),
    SetAside(_WAN_IMAGE, "references.first_frame", "one_frame"),
    SetAside(_WAN_IMAGE, "references.last_frame", "one_frame"),
    SetAside(_WAN_IMAGE, "reference_strength", "no_reference", without=("references.single",)),
    SetAside(list(JOB_TYPES.values()), "task", "decided_by_type"),
)

OLDER_TYPES: Final[Mapping[str, Mapping[tuple[str, str], str]]] = {
    # Job types of June 2025 → by format and quality, today's. `enhance` only reworded a prompt: today that is the first step of an enhanced
    # job. A preview was always a picture, `video` always a video.
    "enhance": {
        ("image", "fast"): "image7b_fast_enhanced",
        ("image", "high"): "image7b_high_enhanced",
        ("video", "fast"): "video7b_fast_enhanced",
        ("video", "high"): "video7b_high_enhanced",
    },
    "preview": {
        ("image", "fast"): "image_fast",
        ("image", "high"): "image_high",
        ("video", "fast"): "image_fast",
        ("video", "high"): "image_high",
    },
    "video": {
        ("image", "fast"): "video_fast",
        ("image", "high"): "video_high",
        ("video", "fast"): "video_fast",
        ("video", "high"): "video_high",
    },
}


def rows() -> list[dict[str, Any]]:
    """Rows of `ourvidz.wire_names`, for each family. `n` is the order in which later names win. Besides settings there are `ignored`,
    `task` and `other_family` (a name that only the other family has)."""
    told = [(name, setting) for name, setting in NAMES.items()] + [(name, "ignored") for name in IGNORED] + [("task", "task")]
    found = [(family, name, OF_FAMILY.get(family, {}).get(name, setting)) for name, setting in told for family in REFERENCES]
    for family, names in REFERENCES.items():
        slots = {name: f"references.{slot}" for name, slot in names.items()}
        # The form of our own callers: {"references": {slot: address}}.
        slots |= {slot: slot for slot in slots.values()}
        others = {name for other, theirs in REFERENCES.items() if other != family for name in theirs} - set(slots)
        found += [(family, name, setting) for name, setting in slots.items()] + [(family, name, "other_family") for name in sorted(others)]
    return [{"n": n, "family": family, "name": name, "setting": setting} for n, (family, name, setting) in enumerate(found)]


def set_aside_rows() -> list[dict[str, Any]]:
    """Rows of `ourvidz.set_aside_rules`: one per rule and job type."""
    told = [(kind, rule) for rule in SET_ASIDE for kind in rule.types]
    return [
        {
            "name": f"{kind.name} {rule.setting}",
            "job_type": kind.name,
            "setting": rule.setting,
            "names": list(rule.names),
            "only_values": list(rule.values) or None,
            "beside": list(rule.beside),
            "without": list(rule.without),
            "reason": rule.reason,
        }
        for kind, rule in told
    ]


def older_type_rows() -> list[dict[str, Any]]:
    """Rows of `ourvidz.older_types`."""
    return [
        {"name": f"{name} {format} {quality}", "asked": name, "format": format, "quality": quality, "job_type": kind}
        for name, kinds in OLDER_TYPES.items()
        for (format, quality), kind in kinds.items()
    ]
