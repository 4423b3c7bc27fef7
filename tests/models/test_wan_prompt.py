"""Cache of UMT5's embeddings: identical to the bit, bounded, and no encoder needed for known prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from executors.models.base import Clip, ModelPaths, References, Work
from executors.models.wan import TEXT, Wan
from executors.models.wan_prompt import PromptCache

WORK = Work("job", "image_fast", "a red cat", "ugly", 480, 832, steps=2, guidance=6.0, seeds=(7,))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def wan(tiny_root: Path) -> Wan:
    made = Wan(ModelPaths(tiny_root), device=CPU)
    made.load()
    return made


class Holds:
    """Counts the requests for the text encoder."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.count += 1
        yield


def test_a_cached_text_is_identical_and_needs_no_encoder(wan: Wan) -> None:
    cache, holds = PromptCache(), Holds()
    pipe = wan._pipes["t2v"]
    first = cache.encode(pipe, "a red cat", CPU, holds)
    assert torch.equal(cache.encode(pipe, "a red cat", CPU, holds), first)
    assert torch.equal(cache.encode(wan._pipes["vace"], "a red cat", CPU, holds), first)
    assert holds.count == 1
    with torch.no_grad():
        plain, _ = pipe.encode_prompt("a red cat", do_classifier_free_guidance=False, max_sequence_length=512)
    assert torch.equal(first, plain)
    assert not torch.equal(cache.encode(pipe, "a red hat", CPU, holds), first)
    assert holds.count == 2


def test_another_precision_is_another_cache_entry(wan: Wan, tiny_root: Path) -> None:
    cache, holds = PromptCache(), Holds()
    half = Wan(ModelPaths(tiny_root), {"t2v"}, CPU, torch.bfloat16)
    half.load()
    whole = cache.encode(wan._pipes["t2v"], "a red cat", CPU, holds)
    low = cache.encode(half._pipes["t2v"], "a red cat", CPU, holds)
    assert (whole.dtype, low.dtype, holds.count) == (torch.float32, torch.bfloat16, 2)


def test_the_least_recently_used_text_is_evicted(wan: Wan) -> None:
    pipe, holds = wan._pipes["t2v"], Holds()
    size = PromptCache().encode(pipe, "x", CPU).nbytes
    cache = PromptCache(limit=2 * size)
    for text in ("one", "two", "one", "three", "one"):  # `one` was used again, so `two` is the oldest
        cache.encode(pipe, text, CPU, holds)
    assert (holds.count, cache.bytes) == (3, 2 * size)
    cache.encode(pipe, "two", CPU, holds)
    assert (holds.count, cache.bytes) == (4, 2 * size)
    none = PromptCache(limit=size - 1)
    for _ in range(2):
        none.encode(pipe, "one", CPU, holds)
    assert (holds.count, none.bytes) == (6, 0)


def pixels(wan: Wan, work: Work) -> np.ndarray[Any, Any]:
    (output,) = wan.generate(work, lambda done, total: None)
    return np.stack([np.asarray(frame) for frame in (output.frames if isinstance(output, Clip) else [output.image])])


@pytest.mark.parametrize("references", [References(), References(single=Image.linear_gradient("L").convert("RGB"))], ids=["t2v", "vace"])
def test_a_job_with_cached_prompts_runs_without_the_encoder(
    tiny_root: Path, references: References, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = dataclasses.replace(WORK, references=references)
    wan = Wan(ModelPaths(tiny_root), device=CPU)
    first = pixels(wan, work)
    hold, held = wan.residency.hold, []

    def holding(*names: str, **more: Any) -> Any:
        held.extend(names)
        return hold(*names, **more)

    monkeypatch.setattr(wan.residency, "hold", holding)
    assert np.array_equal(pixels(wan, work), first)
    assert TEXT not in held
    assert not np.array_equal(pixels(wan, dataclasses.replace(work, prompt="a blue car", negative_prompt="frogs")), first)
    assert held.count(TEXT) == 2


def test_without_guidance_the_negative_prompt_is_not_encoded(tiny_root: Path) -> None:
    wan = Wan(ModelPaths(tiny_root), device=CPU)
    one, other = (pixels(wan, dataclasses.replace(WORK, guidance=1.0, negative_prompt=text)) for text in ("ugly", "frogs"))
    assert np.array_equal(one, other)
    assert len(wan._prompts._known) == 1
