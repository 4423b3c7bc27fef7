"""Prompt enhancement: Qwen2.5-7B-Instruct turns a short prompt into a rich description of the scene.

Decoding is greedy, so one prompt always gives the same text. The answer is cleaned and checked (`executors.answers`); one that is not a
description raises `EnhancementFailed`, and the caller decides whether to use the prompt as written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoTokenizer, Qwen2ForCausalLM, StoppingCriteria, StoppingCriteriaList

from executors.answers import check, clean
from executors.device_memory import pick_device
from executors.errors import EnhancementFailed
from executors.models import files, working
from executors.models.base import ModelPaths
from executors.models.loading import from_folder, loading, quiet
from executors.models.tinydir import facts_of
from executors.residency import Chance, Residency
from executors.talk import Style, styles
from state.canonical import CONTROL_TOKENS

CONTEXT = 2048  # tokens of instructions, prompt and answer, approximately
PROMPT_LIMIT = 4000  # characters; the limit of a job's prompt
TINY_NOTE = "tiny model: the prompt as written, followed by words that the tiny model made without understanding it"


@dataclass(frozen=True)
class Enhanced:
    """The text to generate from, the model's time in `seconds`, the `tokens` it wrote; a `note` if no real model wrote it."""

    text: str
    seconds: float
    tokens: int
    note: str = ""


class Enhancer:
    """Qwen on one device, called by one device thread. `clock`: monotonic seconds; tests replace it."""

    name = "qwen"
    on_device = True  # of the calling executor; False for `executors.enhancer.client`

    def __init__(
        self,
        paths: ModelPaths,
        device: torch.device | None = None,
        clock: Callable[[], float] = time.monotonic,
        residency: Residency | None = None,
    ) -> None:
        self.paths = paths
        self.device = residency.device if residency else device or pick_device()
        self.residency = residency or Residency(self.device)
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.clock = clock
        self._model: Any = None
        self._tokenizer: Any = None

    def load(self) -> None:
        """Read the weights. Idempotent. Raises `ModelFileError` naming the file, `OutOfMemory`."""
        if self._model is not None:
            return
        quiet()
        files.require(self.paths.root, "qwen")
        self.unload()  # clean up after a load that failed half-way
        self.residency.add(self.name, self._build)
        self._model = Chance(self.residency, f"loading {self.paths.qwen.name}", loading=True)(lambda small: self.residency.load(self.name))

    def _build(self) -> torch.nn.Module:
        folder = self.paths.qwen
        with loading(self.paths.root, folder, always=True):  # always hashed, because it is the guard too
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            if not self._tokenizer.chat_template:
                raise ValueError("its tokenizer has no chat template, so it is no Instruct model")
            return from_folder(Qwen2ForCausalLM, self.paths.root, folder, self.dtype)

    def unload(self) -> None:
        self._model = self._tokenizer = None
        self.residency.remove(self.name)

    def describe(self) -> dict[str, Any]:
        return {
            "family": self.name,
            "model": self.paths.qwen.name,
            "tiny": facts_of(self.paths.qwen) is not None,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
        }

    def enhance(self, prompt: str, family: str, *, deadline_s: float, should_stop: Callable[[], None]) -> Enhanced:
        """Return the description for `prompt`. `family` names a table of `data/enhance.toml`: wan (videos), wan_image, sdxl.

        `should_stop` is called before every token; what it raises (`Cancelled`, `LeaseLost`) propagates. Raises `EnhancementFailed` after
        `deadline_s` seconds of generating (loading does not count), and for an answer that fails the check.
        """
        style = styles()[family]
        self.load()
        started = self.clock()
        limits = Limits(self.clock, started + deadline_s, should_stop)
        answer, tokens = Chance(self.residency, "enhancing a prompt")(lambda small: self._placed(prompt, style, limits))
        seconds = self.clock() - started
        if limits.late:
            raise EnhancementFailed(f"enhancement took over {deadline_s:g} s ({tokens} tokens written)", "time_limit")
        text = clean(answer, cut_short=tokens >= style.max_new_tokens)
        check(text, style, prompt)
        if (facts := facts_of(self.paths.qwen)) is not None and not facts.get("taught"):
            text = f"{' '.join(prompt.split()).rstrip('.')}. {text}"
            # A prompt close to the limit is used as it is.
            return Enhanced(text if len(text) <= PROMPT_LIMIT else prompt, seconds, tokens, TINY_NOTE)
        return Enhanced(text, seconds, tokens)

    def answer(self, turns: list[dict[str, str]]) -> torch.Tensor:
        """Return the logits of the answer's first token, shape (vocabulary,), fp32. May raise `ModelFileError`, `OutOfMemory`."""
        self.load()
        return Chance(self.residency, "reading a prompt")(lambda small: self._first(turns))

    @torch.inference_mode()
    def _first(self, turns: list[dict[str, str]]) -> torch.Tensor:
        need = working.text(tokens=CONTEXT, ffn=self._model.config.intermediate_size, width=self.dtype.itemsize)
        inputs = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with self.residency.hold(self.name, working=need):
            return self._model(**inputs.to(self.device), logits_to_keep=1).logits[0, -1].float().cpu()

    def token(self, text: str) -> int:
        """Return the id of the first token of `text`."""
        self.load()
        return int(self._tokenizer(text, add_special_tokens=False).input_ids[0])

    def _placed(self, prompt: str, style: Style, limits: Limits) -> tuple[str, int]:
        need = working.text(tokens=CONTEXT, ffn=self._model.config.intermediate_size, width=self.dtype.itemsize)
        with self.residency.hold(self.name, working=need):
            return self._generate(prompt, style, limits)

    @staticmethod
    def turns(prompt: str, style: Style) -> list[dict[str, str]]:
        # A prompt with the template's own markers could end its turn and write the next one. A canonical text has none.
        return [
            {"role": "system", "content": style.system.strip()},
            {"role": "user", "content": CONTROL_TOKENS.sub(" ", prompt)},
        ]

    @torch.inference_mode()
    def _generate(self, prompt: str, style: Style, limits: Limits) -> tuple[str, int]:
        inputs = self._tokenizer.apply_chat_template(
            self.turns(prompt, style), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        inputs = inputs.to(self.device)
        written = self._model.generate(
            **inputs,
            max_new_tokens=style.max_new_tokens,
            do_sample=False,
            temperature=None,  # Qwen's generation_config sets these three for sampling; greedy decoding would warn of them
            top_p=None,
            top_k=None,
            repetition_penalty=1.05,
            stopping_criteria=StoppingCriteriaList([limits]),
        )[0, inputs["input_ids"].shape[1] :]
        return self._tokenizer.decode(written, skip_special_tokens=True), len(written)


class Limits(StoppingCriteria):
    """Stop generate() between two tokens: at the deadline, or by an exception of `should_stop`. Uses no signal, so works in any thread."""

    def __init__(self, clock: Callable[[], float], deadline: float, should_stop: Callable[[], None]) -> None:
        self.clock, self.deadline, self.should_stop = clock, deadline, should_stop
        self.late = False

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self.should_stop()
        self.late = self.clock() >= self.deadline
        return torch.full((input_ids.shape[0],), self.late, dtype=torch.bool, device=input_ids.device)
