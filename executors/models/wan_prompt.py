"""UMT5's prompt embeddings, remembered: the same tensors, so the same picture to the bit, and no text encoder where every text is known.

The encoder is the largest part of Wan (10.6 GiB in bf16), its answer small (4 MB a text), and negative prompts are nearly always the same.
Kept in the machine's memory, not the device's: copying one there takes a millisecond.
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
TOKENS = 512  # what Wan was trained with, and its pipelines' default

Hold = Callable[[], AbstractContextManager[object]]
"""Around an encoding: brings the text encoder to the device. Not called for a text that is known."""


class PromptCache:
    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.bytes = limit, 0
        self._known: OrderedDict[tuple[str, torch.dtype], torch.Tensor] = OrderedDict()

    @torch.no_grad()
    def encode(self, pipe: Any, text: str, device: torch.device, hold: Hold = nullcontext) -> torch.Tensor:
        """(1, 512, 4096) for the real UMT5, in its own precision, on `device`. `pipe` is a WanPipeline or WanVACEPipeline.

        Raises `TextUnreadable` for a text that the pipeline or its tokenizer would change.
        """
        key = (text, pipe.text_encoder.dtype)
        if key not in self._known:
            # As this very pipeline cleans: it does so whatever it is given.
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
        while self.bytes > self.limit:  # one that alone is too big goes at once
            self.bytes -= self._known.popitem(last=False)[1].nbytes
