"""Every scheduler that a job may name, on a model with exact answers: for images around a known one (σ = `spread`), noise and velocity
can be computed. Without spread each scheduler ends at that image; with spread, one that takes a velocity for noise ends elsewhere.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from executors.errors import BadWork
from executors.models import samplers
from executors.models.prediction import EPSILON, VELOCITY, Prediction
from state import schedulers

BASE = {  # stabilityai/stable-diffusion-xl-base-1.0
    "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "steps_offset": 1, "timestep_spacing": "leading", "prediction_type": EPSILON, "clip_sample": False,
}  # fmt: skip
PICTURE = torch.tensor([[[[0.8, -0.3], [1.2, 0.1]]]], dtype=torch.float64)
KINDS = (Prediction(), Prediction(VELOCITY), Prediction(VELOCITY, zero_snr=True))


def off(name: str | None, told: Prediction, truth: Prediction, steps: int = 16) -> float:
    """Maximum distance of its result from the image."""
    return float((sampled(name, told, truth, steps) - PICTURE).abs().max())


def sampled(name: str | None, told: Prediction, truth: Prediction, steps: int = 16, spread: float = 0.0) -> torch.Tensor:
    """Result of a scheduler configured as `told` with a model that behaves as `truth`."""
    scheduler = samplers.sdxl(name, told.schedule(BASE))
    known = samplers.sdxl("DDIM", truth.schedule(BASE)).alphas_cumprod.double().clamp_min(2.0**-24)
    logs = (((1 - known) / known) ** 0.5).log().numpy()
    scheduler.set_timesteps(steps)
    generator = [torch.Generator().manual_seed(5)]
    x: torch.Tensor = torch.randn(PICTURE.shape, generator=generator[0], dtype=torch.float64) * scheduler.init_noise_sigma
    more = {"generator": generator} if "generator" in scheduler.step.__code__.co_varnames else {}
    for t in scheduler.timesteps:
        z = scheduler.scale_model_input(x, t).double()
        sigma = float(np.exp(np.interp(float(t), np.arange(1000), logs)))
        a = 1 / (1 + sigma**2)
        clean = PICTURE + spread**2 * a**0.5 / (a * spread**2 + 1 - a) * (z - a**0.5 * PICTURE)
        noise = (z - a**0.5 * clean) / (1 - a) ** 0.5
        out = noise if truth.kind == EPSILON else a**0.5 * noise - (1 - a) ** 0.5 * clean
        x = scheduler.step(out, t, x, **more).prev_sample
    return x


ALL = (None, *(row.name for row in schedulers.SDXL))


@pytest.mark.parametrize("told", KINDS, ids=["epsilon", "velocity", "zero-snr"])
@pytest.mark.parametrize("name", ALL)
def test_each_scheduler_reaches_the_image_for_every_prediction_kind(name: str | None, told: Prediction) -> None:
    if told.zero_snr and name and "Karras" in name:
        with pytest.raises(BadWork, match=f"ends in noise alone.*{re.escape(name)}.*without Karras"):
            sampled(name, told, told)
    else:
        assert off(name, told, told) < 0.1


@pytest.mark.parametrize("name", [None, "Euler a", "DPM++ 2M", "DPM++ 2M SDE", "Heun", "DDIM", "UniPC", "LMS"])
def test_a_wrong_prediction_kind_misses_the_image(name: str | None) -> None:
    """A past bug: a velocity model was sampled as a noise model."""
    right, wrong = (sampled(name, told, Prediction(VELOCITY), spread=0.5) for told in (Prediction(VELOCITY), Prediction()))
    assert (right - PICTURE).abs().max() < 1.5 < (wrong - PICTURE).abs().max()


@pytest.mark.parametrize("steps", [1, 2])
def test_any_number_of_steps_that_a_job_may_ask_for_works(steps: int) -> None:
    for name in ALL:
        assert off(name, Prediction(), Prediction(), steps) < 1.5, name


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "dpmpp_2m", "DPM++ 2M", "dpm++ 2m"])
def test_scheduler_name_spellings_of_other_programs_are_accepted(name: str) -> None:
    assert torch.equal(sampled(name, Prediction(), Prediction(), 4), sampled("DPM++ 2M", Prediction(), Prediction(), 4))


def test_unknown_schedulers_are_refused_with_the_choices() -> None:
    with pytest.raises(BadWork, match=r"unknown scheduler 'magic': sdxl has Euler, .*UniPC Karras"):
        samplers.sdxl("magic", BASE)
    with pytest.raises(BadWork, match=r"unknown scheduler 'DDIM': wan has unipc, dpm\+\+, euler"):
        samplers.wan("DDIM", 5.0)


@pytest.mark.parametrize("row", schedulers.WAN, ids=lambda row: row.name)
def test_wan_schedulers_use_the_jobs_shift(row: schedulers.Scheduler) -> None:
    made = [samplers.wan(name, 7.0) for name in (row.name, *row.also)]
    for scheduler in made:
        scheduler.set_timesteps(5)
    assert {tuple(s.sigmas.tolist()) for s in made} == {tuple(made[0].sigmas.tolist())}
    other = samplers.wan(row.name, 2.0)
    other.set_timesteps(5)
    assert not torch.equal(other.sigmas, made[0].sigmas)


def test_scheduler_names_are_distinct() -> None:
    for rows in schedulers.OF.values():
        keys = [known for row in rows for known in row.keys]
        assert len(keys) == len(set(keys))
