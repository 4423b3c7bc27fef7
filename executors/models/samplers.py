"""Create schedulers by the names in `state.schedulers`, a new one per pass: a cancelled pass leaves its position in the scheduler."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import diffusers
import torch

from executors.errors import BadWork
from state import schedulers
from state.schedulers import Scheduler


def sdxl(name: str | None, schedule: Mapping[str, Any]) -> Any:
    """Return a new scheduler over a model's own noise schedule (`Prediction.schedule`). `name` None: the model's own scheduler. Raises
    `BadWork` for a name that is not in the table, or that the model's schedule does not allow."""
    if name is None:
        return _over(getattr(diffusers, schedule["_class_name"]), schedule)
    row = named("sdxl", name)
    if schedule.get("rescale_betas_zero_snr") and row.options.get("use_karras_sigmas"):
        # Its noise levels are between the last two timesteps there, so the model would get wrong timesteps.
        raise BadWork(f"this model's schedule ends in noise alone, which {row.name} cannot space: name it without Karras")
    return _over(getattr(diffusers, f"{row.kind}Scheduler"), schedule, row.options)


def wan(name: str, shift: float) -> Any:
    """Return a new scheduler over Wan's flow with this shift. Raises `BadWork` for a name that is not in the table."""
    row = named("wan", name)
    options = {option: shift if value is None else value for option, value in row.options.items()}
    return getattr(diffusers, f"{row.kind}Scheduler")(**options)


def named(family: str, name: str) -> Scheduler:
    """Return the scheduler of this name. Raises `BadWork` listing the names."""
    if (row := schedulers.find(family, name)) is None:
        raise BadWork(f"unknown scheduler {name!r}: {family} has {', '.join(row.name for row in schedulers.OF[family])}")
    return row


def _over(kind: Any, schedule: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Any:
    more = dict(options or {})
    if schedule.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in inspect.signature(kind).parameters:
        more["trained_betas"] = _zero_snr_betas(*(schedule[name] for name in ("beta_start", "beta_end", "num_train_timesteps")))
    return kind.from_config(schedule, **more)


@cache
def _zero_snr_betas(start: float, end: float, steps: int) -> list[float]:
    """Betas of SDXL's scaled-linear schedule rescaled to zero terminal SNR (https://arxiv.org/abs/2305.08891, algorithm 1), for schedulers
    without that option. The last ᾱ is 2⁻²⁴, as in diffusers' schedulers with the option, to avoid a division by zero."""
    betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    root = torch.cumprod(1 - betas, 0).sqrt()
    cumulated = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    cumulated[-1] = 2.0**-24
    alphas = torch.cat([cumulated[:1], cumulated[1:] / cumulated[:-1]])
    return [float(beta) for beta in 1 - alphas]
