"""SDXL's prompt embeddings: by the pipeline for what fits in CLIP's window, by compel for long or weighted prompts."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from executors.clip_bpe import WINDOW
from executors.models.encoding import check_encoding
from executors.prompts import Part, is_weighted, parse_weights, sdxl_token_count, unweighted

if TYPE_CHECKING:
    from compel.prompt_parser import Conjunction
    from diffusers import StableDiffusionXLPipeline

logging.getLogger("transformers.tokenization_utils_base").setLevel(logging.ERROR)  # warns of each long text, which compel splits anyway

REMEMBERED = 16  # cached prompt pairs, each under 2 MB; a retried job and the images of a batch use the same one


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of one prompt and one negative prompt: (1, 77·k, 2048), pooled (1, 1280) for the real SDXL."""

    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor
    negative_pooled_prompt_embeds: torch.Tensor


def needs_compel(*texts: str) -> bool:
    return any(is_weighted(text) or sdxl_token_count(text) > WINDOW for text in texts)


class PromptEncoder:
    """Encodes prompts, with a cache: the same tensors, so the same picture bit for bit."""

    def __init__(self, pipe: StableDiffusionXLPipeline, device: torch.device) -> None:
        self._pipe, self._device = pipe, device
        self._known: OrderedDict[tuple[str, str, torch.dtype], Embeddings] = OrderedDict()

    @torch.no_grad()
    def encode(self, prompt: str, negative: str, dtype: torch.dtype, placed: Callable[[], AbstractContextManager[None]]) -> Embeddings:
        """Return the embeddings. `placed`: context with the encoders on the device, at `dtype`; entered only for an uncached pair.

        Raises `TextUnreadable` for a text that a tokenizer would change.
        """
        key = (prompt, negative, dtype)
        if key not in self._known:
            for text in dict.fromkeys((prompt, negative, unweighted(prompt), unweighted(negative))):
                for tokenizer in (self._pipe.tokenizer, self._pipe.tokenizer_2):
                    check_encoding(text, tokenizer)
            with placed():
                self._known[key] = self._long(prompt, negative) if needs_compel(prompt, negative) else self._plain(prompt, negative)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _plain(self, prompt: str, negative: str) -> Embeddings:
        embeds, negative_embeds, pooled, negative_pooled = self._pipe.encode_prompt(
            prompt,
            device=self._device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=negative,
        )
        return Embeddings(embeds, negative_embeds, pooled, negative_pooled)

    def _long(self, prompt: str, negative: str) -> Embeddings:
        from compel import CompelForSDXL

        compel = CompelForSDXL(self._pipe)
        for encoder in (compel.compel_1, compel.compel_2):
            encoder.parse_prompt_string = _conjunction
        made = compel([_Weighted(prompt)], negative_prompt=[_Weighted(negative)])
        return Embeddings(made.embeds, made.negative_embeds, made.pooled_embeds, made.negative_pooled_embeds)


class _Weighted(str):
    """A prompt without weights, for compel's pooled embedding (which would read weights as text), with its weighted parts attached."""

    parts: list[Part]

    def __new__(cls, text: str) -> Self:
        self = super().__new__(cls, unweighted(text))
        self.parts = [part for part in parse_weights(text) if part[0].strip()]
        return self


def _conjunction(text: str) -> Conjunction:
    """Replaces compel's own parser (for the reason see `executors.prompts.parse_weights`)."""
    from compel.prompt_parser import Conjunction, FlattenedPrompt

    return Conjunction([FlattenedPrompt(getattr(text, "parts", None) or [(str(text), 1.0)])])
