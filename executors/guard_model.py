"""The guard: a prompt screen that judges meaning, an instruct model as a classifier behind the protocol of `ourvidz.safety.screen`.

The model generates no text. It is asked for one letter, and the verdict is computed from the probabilities of its first token: an answer
outside the letters, or an unclear one, refuses. Runs on the device, after the lexical screen and before any other model.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Protocol

import torch

from ourvidz.safety.screen import ScreenUnavailable, Verdict
from state.canonical import CONTROL_TOKENS


@dataclass(frozen=True)
class Policy:
    """`data/guard.toml`. `labels` maps a letter to the category that it refuses with; an empty category allows."""

    system: str
    question: str
    negative: str  # the question about a negative prompt
    labels: Mapping[str, str]
    understood: float
    allow: float
    version: str


@cache
def policy() -> Policy:
    source = resources.files("executors.data").joinpath("guard.toml").read_bytes()
    table = tomllib.loads(source.decode())
    if sorted(table["labels"].values()).count("") != 1 or not 0 < table["understood"] < 1 or not 0.5 <= table["allow"] < 1:
        raise ValueError("guard.toml: one letter must allow, and both shares lie between 0 and 1")
    return Policy(**table, version=f"guard-{hashlib.sha256(source).hexdigest()[:8]}")


class Model(Protocol):
    """The part of `executors.enhance.Enhancer` that the guard uses."""

    def answer(self, turns: list[dict[str, str]]) -> torch.Tensor: ...
    def token(self, text: str) -> int: ...


class Guard:
    """A `PromptScreen` that asks a model. Not thread-safe: call it from the thread that may use the model."""

    def __init__(self, model: Model, rules: Policy | None = None) -> None:
        self.model, self.rules = model, rules or policy()

    def check(self, text: str, *, negative: bool = False) -> Verdict:
        """Judge a text. `negative`: a negative prompt, judged by what excluding it produces.

        Raises `ScreenUnavailable` when the model gives no usable answer, and what running it raises.
        """
        letters = {letter: self.model.token(letter) for letter in self.rules.labels}
        if len(set(letters.values())) < len(letters):
            raise ScreenUnavailable("the guard's tokenizer does not tell the answers apart; the job does not run")
        chances = torch.softmax(self.model.answer(self.turns(text, negative)), dim=-1)
        if not torch.isfinite(chances).all():
            raise ScreenUnavailable("the guard's model made NaN; the job does not run")
        shares = {letter: float(chances[token]) for letter, token in letters.items()}
        total = sum(shares.values())
        if total < self.rules.understood:
            raise ScreenUnavailable("the guard's model did not answer with a letter; the job does not run")
        allowed = sum(share for letter, share in shares.items() if not self.rules.labels[letter]) / total
        if allowed >= self.rules.allow:
            return Verdict(True, self.rules.version)
        worst = max((letter for letter in shares if self.rules.labels[letter]), key=shares.__getitem__)
        return Verdict(False, self.rules.version, self.rules.labels[worst], f"guard.{worst}")

    def turns(self, text: str, negative: bool = False) -> list[dict[str, str]]:
        # A text with the template's own markers could end its turn and write the answer. A canonical text has none.
        plain = CONTROL_TOKENS.sub(" ", text)
        return [
            {"role": "system", "content": self.rules.system.strip()},
            {"role": "user", "content": (self.rules.negative if negative else self.rules.question).format(text=plain)},
        ]
