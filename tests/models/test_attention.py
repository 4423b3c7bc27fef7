"""OURVIDZ_ATTENTION: an unsupported kind is refused before any job; a supported one affects only its own model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from diffusers.models.attention_processor import SlicedAttnProcessor, XFormersAttnProcessor

from executors.models import attention
from executors.models.base import ModelPaths, Work
from executors.models.profiles import DEFAULT, EXACT, facts
from executors.models.sdxl import Sdxl
from executors.shelf import prepare

PICTURE = Work("job", "sdxl_image_fast", "a red cat on a mat", "ugly", 512, 512, steps=3, guidance=6.0, seeds=(7,))


class Device:
    """Set whether `attention.check` finds a GPU and xformers."""

    def __init__(self, patch: pytest.MonkeyPatch, *, cuda: bool, xformers: bool) -> None:
        patch.setattr(torch.cuda, "is_available", lambda: cuda)
        patch.setattr(attention, "find_spec", lambda name: object() if xformers else None)


def test_xformers_is_refused_without_a_gpu_or_the_package(monkeypatch: pytest.MonkeyPatch, tiny_root: Path) -> None:
    Device(monkeypatch, cuda=False, xformers=True)  # on a CPU it can be imported and selected
    with pytest.raises(attention.NoAttention, match="needs a CUDA GPU"):
        prepare(tiny_root, tiny=False, on_progress=lambda _: None, profile=replace(DEFAULT, attention="xformers"))
    Device(monkeypatch, cuda=True, xformers=False)
    with pytest.raises(attention.NoAttention, match=r"pip install 'ourvidz\[gpu\]'"):
        attention.check("xformers")
    Device(monkeypatch, cuda=True, xformers=True)
    attention.check("xformers")
    with pytest.raises(attention.NoAttention, match="bit for bit"):
        attention.check("slicing", exact=EXACT.name == "exact")
    with pytest.raises(attention.NoAttention, match="auto, sdpa, xformers, slicing"):
        attention.check("flash")


@pytest.mark.parametrize("kind", ["auto", "sdpa", "slicing"])
def test_kinds_that_need_no_gpu_are_accepted_anywhere(kind: str) -> None:
    attention.check(kind)
    assert facts(replace(DEFAULT, attention=kind)) == ({"attention": "slicing"} if kind == "slicing" else {})


def pixels(root: Path, kind: str) -> tuple[Sdxl, np.ndarray[Any, Any]]:
    family = Sdxl(ModelPaths(root), torch.device("cpu"), profile=replace(DEFAULT, attention=kind))
    family.load()
    (output,) = family.generate(PICTURE, lambda done, total: None)
    return family, np.asarray(output.image).astype(np.int16)  # type: ignore[union-attr]


def test_sliced_attention_gives_the_same_image_to_rounding(tiny_root: Path) -> None:
    _, plain = pixels(tiny_root, "sdpa")
    family, sliced = pixels(tiny_root, "slicing")
    assert {type(p) for p in family._pipe.unet.attn_processors.values()} == {SlicedAttnProcessor}
    assert np.abs(plain - sliced).max() <= 1
    assert family.describe()["attention"] == "slicing"


def test_xformers_applies_only_to_the_unet_and_to_wan_during_a_pass(monkeypatch: pytest.MonkeyPatch, tiny_root: Path) -> None:
    """As far as testable without a GPU: the processors, and the backend that every other model of the process uses afterwards."""
    family, _ = pixels(tiny_root, "sdpa")
    unet = family._pipe.unet
    attention.dress("xformers", unet)
    assert {type(p) for p in unet.attn_processors.values()} == {XFormersAttnProcessor}
    before = _AttentionBackendRegistry.get_active_backend()[0]
    monkeypatch.setattr("diffusers.models.attention_dispatch._check_attention_backend_requirements", lambda backend: None)
    with pytest.raises(RuntimeError, match="out of memory"), attention.during("xformers"):
        assert _AttentionBackendRegistry.get_active_backend()[0] == "xformers"
        raise RuntimeError("out of memory")
    assert _AttentionBackendRegistry.get_active_backend()[0] == before
    with attention.during("auto"):
        assert _AttentionBackendRegistry.get_active_backend()[0] == before
