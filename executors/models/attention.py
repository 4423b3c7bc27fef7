"""`OURVIDZ_ATTENTION`: the attention implementation of the denoisers. Imports nothing heavy until `check` or `dress` needs it.

`auto` and `sdpa` are torch's own (scaled_dot_product_attention, which chooses a flash or a memory-efficient kernel). `xformers` is that
package's memory_efficient_attention, on CUDA only: on a CPU it can be imported and selected, but then raises in the middle of a job.
`slicing` computes SDXL's attention head by head: slower, with less memory; Wan does not support slicing and uses torch's.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

log = logging.getLogger("ourvidz.models")

AUTO, SDPA, XFORMERS, SLICING = "auto", "sdpa", "xformers", "slicing"
KINDS = (AUTO, SDPA, XFORMERS, SLICING)


class NoAttention(Exception):
    """This machine does not support the requested attention."""


def check(kind: str, *, exact: bool = False) -> None:
    """Raise `NoAttention` unless jobs can run with this kind here. `exact`: pictures must equal the plain pipeline's bit for bit."""
    if kind not in KINDS:
        raise NoAttention(f"There is no attention {kind!r}. Set OURVIDZ_ATTENTION to one of: {', '.join(KINDS)}.")
    if exact and kind not in (AUTO, SDPA):
        raise NoAttention(
            f"The speed profile exact is plain diffusers, bit for bit, which OURVIDZ_ATTENTION={kind} is not. Unset one of them."
        )
    if kind != XFORMERS:
        return
    import torch

    if not torch.cuda.is_available():
        raise NoAttention(
            "OURVIDZ_ATTENTION=xformers needs a CUDA GPU: its kernels do not run on a CPU. Unset it; torch's own attention is as fast."
        )
    if find_spec("xformers") is None:
        raise NoAttention("OURVIDZ_ATTENTION=xformers needs xformers, not installed here. Install with: pip install 'ourvidz[gpu]'")


def dress(kind: str, denoiser: Any) -> None:
    """Apply to SDXL's UNet, once. IP-Adapter's processors adapt to those present: xformers' if these are used."""
    if kind == XFORMERS:
        from diffusers.models.attention_processor import XFormersAttnProcessor

        denoiser.set_attn_processor(XFormersAttnProcessor())
    elif kind == SLICING:
        denoiser.set_attention_slice("auto")


def during(kind: str) -> AbstractContextManager[Any]:
    """Context of a pass of Wan's transformer. Not the model's `set_attention_backend`: that changes the backend of all other models in the
    process too."""
    if kind != XFORMERS:
        return nullcontext()
    from diffusers.models.attention_dispatch import attention_backend

    return attention_backend("xformers")
