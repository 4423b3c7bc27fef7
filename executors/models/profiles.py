"""Speed profiles, as a table: each trades speed against closeness to the reference pipeline. Imports nothing heavy.

An executor runs one profile; every artifact records which. `docs/decisions/0011` gives the reasons for each row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BITS = "the reference pipeline's, bit for bit"
ROUNDING = "the reference pipeline's, to rounding"
OTHER = "not the reference pipeline's"


class UnknownProfile(Exception):
    """There is no such profile, or something that it needs is missing."""


@dataclass(frozen=True)
class FewSteps:
    """A distilled model as a LoRA beside the model's files: makes pictures in `steps` steps, without guidance."""

    files: Mapping[str, str]  # model (sdxl, t2v, vace) → path under OURVIDZ_MODELS
    steps: int


@dataclass(frozen=True)
class Profile:
    """One row. The defaults leave diffusers' behaviour unchanged."""

    name: str
    changes: str
    pictures: str  # BITS, ROUNDING or OTHER
    at_once: int = 1  # pictures in one pass of SDXL's UNet on a GPU, of one or several jobs; by default 1 on a CPU
    channels_last: bool = False  # on a GPU
    compiled: bool = False  # compile the repeated blocks, on a GPU, in the background; eager until done
    step_cache: bool = False
    quantised: str = ""  # int8 | fp8
    few_steps: FewSteps | None = None
    needs: tuple[str, ...] = field(default=())  # packages besides the extra `models`
    attention: str = "auto"  # from OURVIDZ_ATTENTION, for every profile (executors.models.attention)


_GPU: dict[str, Any] = {"channels_last": True, "at_once": 3}
# 3: jobs have 1, 3 or 6 pictures. A single picture of 1024² does not keep a large GPU busy. Not measured on a GPU yet.

PROFILES: Mapping[str, Profile] = {
    row.name: row
    for row in (
        Profile("exact", "nothing: each picture by itself, as a plain diffusers script makes it", BITS),
        Profile("default", "channels_last, compiled blocks and three pictures a pass of SDXL, on a GPU", ROUNDING, compiled=True, **_GPU),
        Profile(
            "turbo-cache", "steps take over what changed little since the one before (PAB, TaylorSeer)", OTHER, step_cache=True, **_GPU
        ),
        Profile(
            "turbo-int8", "weights of the denoisers in int8 (torchao)", OTHER, quantised="int8", compiled=True, needs=("torchao",), **_GPU
        ),
        Profile(
            "turbo-fp8", "denoisers in fp8 (torchao; Ada or Hopper)", OTHER, quantised="fp8", compiled=True, needs=("torchao",), **_GPU
        ),
        Profile(
            "turbo-steps",
            "six steps without guidance, by a distilled LoRA that lies beside the model as few-steps.safetensors",
            OTHER,
            few_steps=FewSteps(
                {
                    "sdxl": "sdxl-lustify/few-steps.safetensors",
                    "t2v": "wan2.1-t2v-1.3b/few-steps.safetensors",
                    "vace": "wan2.1-vace-1.3b/few-steps.safetensors",
                },
                steps=6,
            ),
            compiled=True,
            **_GPU,
        ),
    )
}
EXACT, DEFAULT = PROFILES["exact"], PROFILES["default"]


def named(name: str) -> Profile:
    """Return the profile of this name. Raises `UnknownProfile` naming the choices."""
    if name not in PROFILES:
        raise UnknownProfile(f"There is no speed profile {name!r}. Choose one of: {', '.join(PROFILES)}.")
    return PROFILES[name]


def at_once_of(profile: Profile, asked: int | None, *, gpu: bool) -> int:
    """Return the pictures per pass: `asked`, else the profile's value on a GPU, else 1. Always 1 for `exact`."""
    if profile.pictures == BITS:
        return 1
    return asked or (profile.at_once if gpu else 1)


def facts(profile: Profile) -> dict[str, int | str]:
    """Facts for an artifact's metadata besides the profile's name: the number of steps if a distilled model's, and the attention
    implementation if not torch's own."""
    few: dict[str, int | str] = {} if profile.few_steps is None else {"few_steps": profile.few_steps.steps}
    return few if profile.attention in ("auto", "sdpa") else few | {"attention": profile.attention}


def check_needs(profile: Profile, root: Path, models: frozenset[str]) -> None:
    """Raise `UnknownProfile` for a missing package, or a missing file of these `models` (sdxl, t2v, vace)."""
    if absent := [name for name in profile.needs if find_spec(name) is None]:
        raise UnknownProfile(
            f"The speed profile {profile.name} needs {', '.join(absent)}, not installed here. Install with: pip install 'ourvidz[turbo]'"
        )
    if profile.few_steps is not None:
        wanted = [root / path for model, path in profile.few_steps.files.items() if model in models]
        if lacking := [str(path) for path in wanted if not path.is_file()]:
            raise UnknownProfile(
                f"The speed profile {profile.name} needs a distilled LoRA at {', '.join(lacking)}. Put it there, or choose another profile."
            )
