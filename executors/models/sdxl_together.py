"""Pictures of several jobs in one pass of SDXL's UNet. Each row of the batch has its own prompt, seed and noise; shape, steps, guidance and
scheduler must be equal, and form the key by which jobs are grouped.

The rows of a job that drops out stay in the pass until its end, undecoded: removing them would change the batch's shape, and with it the
last bits of the other pictures. A pass stops at once when all its jobs have dropped out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from PIL.Image import Image

from executors.clip_bpe import WINDOW
from executors.errors import BadOutput
from executors.models.base import OnStep, Output, Picture, Work
from executors.prompts import sdxl_token_count, unweighted
from executors.residency import Chance, Residency

Row = tuple[int, int]  # which work, which seed

WORDS = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")


class Model(Protocol):
    """The parts of `executors.models.sdxl.Sdxl` that a shared pass uses."""

    residency: Residency
    at_once: int

    def _arguments(self, work: Work) -> dict[str, Any]: ...
    def _denoise(self, work: Work, seeds: tuple[int, ...], arguments: dict[str, Any], report: OnStep) -> torch.Tensor: ...
    def _decode(self, latent: torch.Tensor, small: bool) -> Image: ...


class _Deserted(Exception):
    """All jobs of this pass have dropped out."""


def key(work: Work, at_once: int) -> Hashable | None:
    """Return the key that works of one pass must share. None for work with reference pictures, and for prompts longer than CLIP's window,
    whose embeddings have another shape."""
    own = work.precise or work.references.init is not None or work.references.style is not None
    long = any(sdxl_token_count(unweighted(text)) > WINDOW for text in (work.prompt, work.negative_prompt))
    if at_once == 1 or own or long:
        return None
    return work.job_type, work.width, work.height, work.steps, work.guidance, work.scheduler


def generate(sdxl: Model, works: Sequence[Work], on_steps: Sequence[OnStep]) -> Iterator[tuple[int, Output | Exception]]:
    """Implement `Family.generate_together`: rows in the order of the works, `sdxl.at_once` per pass."""
    first = works[0]
    chance = Chance(sdxl.residency, f"generating {len(works)} jobs of {first.job_type} {first.width}×{first.height} together")
    words = [chance(partial(_arguments_of, sdxl, work)) for work in works]
    rows: list[Row] = [(n, seed) for n, work in enumerate(works) for seed in work.seeds]
    made: Counter[int] = Counter()
    gone: dict[int, Exception] = {}
    while rows:
        now, rows = rows[: sdxl.at_once], rows[sdxl.at_once :]
        before = set(gone)
        try:
            latents = chance(partial(_denoise, sdxl, first, now, words, _reporter(works, on_steps, now, made, gone)))
        except _Deserted:
            latents = ()
        yield from ((n, error) for n, error in gone.items() if n not in before)
        for (n, seed), latent in zip(now, latents, strict=False):
            if n in gone:
                continue
            try:
                picture = chance(partial(sdxl._decode, latent))
            except BadOutput as bad:
                gone[n] = bad
                yield n, bad
                continue
            made[n] += 1
            yield n, Picture(picture, seed)
        rows = [row for row in rows if row[0] not in gone]


def _arguments_of(sdxl: Model, work: Work, small: bool) -> dict[str, Any]:
    return sdxl._arguments(work)


def _denoise(sdxl: Model, work: Work, rows: Sequence[Row], words: Sequence[dict[str, Any]], report: OnStep, small: bool) -> Any:
    """Return latents (1, 4, H/8, W/8), one for each row."""
    arguments = words[0] | {name: torch.cat([words[n][name] for n, _ in rows]) for name in WORDS}
    return sdxl._denoise(work, tuple(seed for _, seed in rows), arguments, report).split(1)


def _reporter(
    works: Sequence[Work], on_steps: Sequence[OnStep], now: Sequence[Row], made: Counter[int], gone: dict[int, Exception]
) -> OnStep:
    """Return a callback that reports to each job its own steps; also to jobs of a later pass, so that they notice a cancel."""
    here = Counter(n for n, _ in now)
    concerned = [n for n, work in enumerate(works) if made[n] < len(work.seeds)]

    def report(done: int, steps: int) -> None:
        for n in concerned:
            if n in gone:
                continue
            try:
                on_steps[n](made[n] * steps + here[n] * done, len(works[n].seeds) * steps)
            except Exception as error:  # noqa: BLE001  (yielded to the caller)
                gone[n] = error
        if all(n in gone for n in here):
            raise _Deserted

    return report
