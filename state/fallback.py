"""What becomes of a job that its type's fallback makes (docs/decisions/0014). The database does the same; tests hold the two equal."""

from __future__ import annotations

from dataclasses import replace
from math import log

from state.catalog import JOB_TYPES, JobType, Settings, defaults, resolve
from state.policy import FALLBACKS

CARRIED = ("steps", "guidance", "seed", "reference_fallback", "on_enhance_failure")
"""What was chosen of these is chosen for the fallback too; the rest is the fallback's own."""


def why_not(kind: JobType, settings: Settings) -> str:
    """What keeps a job without outputs from its fallback, in words; empty when nothing does."""
    if kind.name not in FALLBACKS:
        return f"a {kind.name} has no fallback"
    fallback = JOB_TYPES[FALLBACKS[kind.name]]
    if settings.references:
        return f"it has reference pictures, which mean something else to a {fallback.name}"
    if settings.images not in fallback.images:
        return f"it is a batch of {settings.images}, and a {fallback.name} makes one image a job"
    return ""


def rerouted(kind: JobType, settings: Settings) -> Settings:
    """The settings with which `kind`'s fallback makes the job: of its sizes the one nearest in shape, the first where two are as near."""
    fallback = JOB_TYPES[FALLBACKS[kind.name]]
    own, asked = defaults(kind), settings.as_dict()
    chosen = {name: asked[name] for name in CARRIED if name in asked and asked[name] != own.get(name)}
    shape = log(settings.width / settings.height)
    width, height = min(fallback.sizes, key=lambda size: round(abs(log(size[0] / size[1]) - shape), 6))
    return replace(resolve(fallback.name, chosen), width=width, height=height)
