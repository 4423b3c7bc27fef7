"""Cache of UMT5's prompt embeddings: pictures stay the same bit for bit, and the text encoder is not needed if every text is cached.

The encoder is the largest part of Wan (10.6 GiB in bf16), its output is small (4 MB per text), and negative prompts are nearly always the
same. Stored in RAM, not on the device: copying one there takes a millisecond.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from executors.models.encoding import check_encoding

LIMIT = 256_000_000  # bytes; 60 texts of the real encoder
TOKENS = 512  # as in Wan's training, and its pipelines' default

Hold = Callable[[], AbstractContextManager[object]]
"""Context of an encoding, with the text encoder on the device. Not called for a cached text."""


class PromptCache:
    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.bytes = limit, 0
        self._known: OrderedDict[tuple[str, torch.dtype], torch.Tensor] = OrderedDict()

    @torch.no_grad()
    def encode(self, pipe: Any, text: str, device: torch.device, hold: Hold = nullcontext) -> torch.Tensor:
        """Return the embedding on `device`, in UMT5's own precision: (1, 512, 4096) for the real one.

        `pipe`: a WanPipeline or WanVACEPipeline. Raises `TextUnreadable` for a text that the pipeline or its tokenizer would change.
        """
        key = (text, pipe.text_encoder.dtype)
        if key not in self._known:
            # With this pipeline's own cleaning function, which it always applies.
            check_encoding(text, pipe.tokenizer, vars(sys.modules[type(pipe).__module__])["prompt_clean"])
            with hold():
                made, _ = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=TOKENS, device=device)
                self._keep(key, made.cpu())
            return made
        self._known.move_to_end(key)
        return self._known[key].to(device)

    def _keep(self, key: tuple[str, torch.dtype], made: torch.Tensor) -> None:
        self._known[key] = made
        self.bytes += made.nbytes
        while self.bytes > self.limit:  # an entry larger than the limit is removed at once
            self.bytes -= self._known.popitem(last=False)[1].nbytes
