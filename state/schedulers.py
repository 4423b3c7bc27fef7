"""Schedulers that a job may name, under the names that creators use: one table for the catalog, the database and the executors.

Names are those of AUTOMATIC1111's web UI. ComfyUI's names, diffusers' classes and other senders' spellings are accepted too, and case and
punctuation do not count (`key`): `DPM++ 2M Karras`, `dpmpp_2m_karras` and `dpm++ 2m karras` are the same. The database stores the name in
this table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Scheduler:
    """`kind`: the class of diffusers, without `Scheduler`; `options`: its arguments, on top of the model's own schedule."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()  # other names; one of each `key`

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(key(name) for name in (self.name, *self.also))


def key(name: str) -> str:
    """Reduce a name to lower-case letters and digits, with `+` read as `p`. ourvidz.scheduler_key in the database does the same."""
    return re.sub("[^a-z0-9]", "", name.lower().replace("+", "p"))


_KARRAS: Final = {"use_karras_sigmas": True}
_SDE: Final = {"algorithm_type": "sde-dpmsolver++"}

SDXL: Final = (
    Scheduler("Euler", "EulerDiscrete", {}, ("EulerDiscrete", "EulerDiscreteScheduler", "K_EULER")),
    Scheduler("Euler Karras", "EulerDiscrete", _KARRAS, ("EulerDiscreteKarras", "euler_k")),
    Scheduler(
        "Euler a",
        "EulerAncestralDiscrete",
        {},
        ("euler_ancestral", "EulerAncestralDiscrete", "EulerAncestralDiscreteScheduler", "K_EULER_ANCESTRAL", "k_euler_a"),
    ),
    Scheduler("DPM++ 2M", "DPMSolverMultistep", {}, ("DPMSolverMultistep", "DPMSolverMultistepScheduler", "DPM++", "k_dpmpp_2m")),
    Scheduler("DPM++ 2M Karras", "DPMSolverMultistep", _KARRAS, ("DPMSolverMultistepKarras", "KarrasDPM", "dpmpp_2m_k", "k_dpmpp_2m_ka")),
    Scheduler("DPM++ 2M SDE", "DPMSolverMultistep", _SDE, ("dpmpp_2m_sde_gpu", "k_dpmpp_2m_sde")),
    Scheduler("DPM++ 2M SDE Karras", "DPMSolverMultistep", {**_SDE, **_KARRAS}, ("dpmpp_2m_sde_gpu_karras", "dpmpp_2m_sde_k")),
    # As in diffusers' own table of names (its page "Schedulers"): one model evaluation per step, where k-diffusion takes two.
    Scheduler("DPM++ SDE", "DPMSolverSinglestep", {**_SDE, "lower_order_final": True}, ("dpmpp_sde_gpu", "k_dpmpp_sde")),
    Scheduler(
        "DPM++ SDE Karras",
        "DPMSolverSinglestep",
        {**_SDE, **_KARRAS, "lower_order_final": True},
        ("dpmpp_sde_gpu_karras", "dpmpp_sde_k"),
    ),
    Scheduler("DPM2", "KDPM2Discrete", {}, ("dpm_2", "KDPM2Discrete", "KDPM2DiscreteScheduler")),
    Scheduler("DPM2 Karras", "KDPM2Discrete", _KARRAS, ("dpm_2_karras",)),
    Scheduler("DPM2 a", "KDPM2AncestralDiscrete", {}, ("dpm_2_ancestral", "KDPM2AncestralDiscrete", "KDPM2AncestralDiscreteScheduler")),
    Scheduler("Heun", "HeunDiscrete", {}, ("HeunDiscrete", "HeunDiscreteScheduler", "k_heun")),
    Scheduler("LMS", "LMSDiscrete", {}, ("LMSDiscrete", "LMSDiscreteScheduler", "k_lms")),
    Scheduler("LMS Karras", "LMSDiscrete", _KARRAS, ("lms_k",)),
    Scheduler("DDIM", "DDIM", {"clip_sample": False}, ("DDIMScheduler",)),
    Scheduler("UniPC", "UniPCMultistep", {}, ("uni_pc", "uni_pc_bh2", "UniPCMultistep", "UniPCMultistepScheduler")),
    Scheduler("UniPC Karras", "UniPCMultistep", _KARRAS, ("uni_pc_karras", "unipc_k")),
)

_FLOW: Final = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "num_train_timesteps": 1000}
WAN: Final = (
    # Names of Wan's own generate.py. Each takes the job's shift, as the option that is None here.
    Scheduler("unipc", "UniPCMultistep", {**_FLOW, "flow_shift": None}, ("uni_pc", "UniPCMultistep", "UniPCMultistepScheduler")),
    Scheduler(
        "dpm++",
        "DPMSolverMultistep",
        {**_FLOW, "flow_shift": None, "algorithm_type": "dpmsolver++"},
        ("DPM++ 2M", "DPMSolverMultistep", "DPMSolverMultistepScheduler"),
    ),
    Scheduler("euler", "FlowMatchEulerDiscrete", {"shift": None}, ("FlowMatchEulerDiscrete", "FlowMatchEulerDiscreteScheduler")),
)

NOISE: Final[Mapping[str, str]] = {"normal": "", "karras": "Karras"}
"""ComfyUI and newer releases of A1111 send the sampler and its noise spacing separately: key of the spacing → what it adds to the name."""

OF: Final[Mapping[str, tuple[Scheduler, ...]]] = {"sdxl": SDXL, "wan": WAN}
NAMES: Final = tuple(dict.fromkeys(name for rows in OF.values() for row in rows for name in (row.name, *row.also)))
"""Every name, ours and others': written by a sender's program, so never a person's text."""

_BY_KEY: Final = {family: {known: row for row in rows for known in row.keys} for family, rows in OF.items()}


def find(family: str, name: str) -> Scheduler | None:
    """Return the family's scheduler for `name`, however it is spelled."""
    return _BY_KEY[family].get(key(name))


def spellings(family: str) -> dict[str, str]:
    """Key → the name that is stored."""
    return {known: row.name for known, row in sorted(_BY_KEY[family].items())}
