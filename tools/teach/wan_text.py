"""Teach the tiny UMT5 the words of this world: probes that read its output as cross-attention would must recover the scene."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executors.prompts import build_negative
from tools.teach import scenes
from tools.teach.training import Training

ANSWERS = {"colour": tuple(scenes.COLOURS), "shape": scenes.SHAPES, "ground": tuple(scenes.COLOURS), "motion": tuple(scenes.MOTIONS)}
NEGATIVES = [build_negative("wan", "image").text, build_negative("wan", "video").text]
TERMS = NEGATIVES[1].split(", ")


def pieces() -> list[str]:
    """Whole words of the tokenizer: this world's, and those of the negative prompts that the product writes."""
    ours = {word for word in scenes.vocabulary() if len(word) > 1}
    both = {form for word in ours for form in (word, word.capitalize())}
    return sorted(both | {word for text in NEGATIVES for word in text.replace(",", "").split() if len(word) > 1})


def text_of(scene: scenes.Scene, rng: random.Random, knows: float = 0.85, sure: str = "") -> tuple[str, list[int]]:
    """Draw a caption, and what it tells: an index for each of ANSWERS, −1 if left open, which `sure` never is. Some are worded like
    negative prompts."""
    tell = [aspect for aspect in ANSWERS if aspect == sure or rng.random() < knows]
    text = scenes.varied_caption(scene, rng, tell)
    if rng.random() < 0.3:
        text += ", " + scenes.filler(rng, rng.randrange(1, 6))
    if rng.random() < 0.1:
        text = text.capitalize()
    if rng.random() < 0.12:
        begin = TERMS[: rng.randrange(5, 12)]
        text = ", ".join([*begin, text, *rng.sample(TERMS[12:], rng.randrange(0, 12))])
    told = [names.index(getattr(scene, aspect)) if aspect in tell and getattr(scene, aspect) else -1 for aspect, names in ANSWERS.items()]
    return text, told


def nothing(rng: random.Random) -> str:
    """Draw a text for the unguided half of a step: nothing, the product's negative prompt as it is without a user's, or idle words."""
    return rng.choice(("", "", NEGATIVES[0], NEGATIVES[1], ", ".join(rng.sample(TERMS, 8)), scenes.filler(rng, 4)))


class Encoder:
    """Encode texts to what the pipelines give the denoiser, without the zeros at the end."""

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self.tokenizer, self.model = tokenizer, model

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return (N, longest, hidden), and how many tokens each text has; values after a text's end are meaningless."""
        got = self.tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt")
        return self.model(got.input_ids, got.attention_mask).last_hidden_state, got.attention_mask.sum(1)


class Probe(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(len(ANSWERS), 2, hidden) / hidden**0.5)
        self.key = nn.Linear(hidden, 2 * hidden)
        self.heads = nn.ModuleList(nn.Linear(2 * hidden, len(names) + 1) for names in ANSWERS.values())

    def forward(self, words: Tensor, lengths: Tensor) -> list[Tensor]:
        behind = torch.arange(words.shape[1]) >= lengths[:, None]
        score = torch.einsum("nlqh,aqh->naql", self.key(words).unflatten(-1, (2, -1)), self.query)
        weight = score.masked_fill(behind[:, None, None], -1e9).softmax(-1)
        seen = torch.einsum("naql,nlh->naqh", weight, words).flatten(2)
        return [head(seen[:, i]) for i, head in enumerate(self.heads)]


def teach(tokenizer: Any, model: Any, folder: Path, seed: int, steps: int) -> dict[str, Any]:
    encoder, probe = Encoder(tokenizer, model), Probe(model.config.d_model)

    def lesson(rng: random.Random, n: int) -> tuple[list[str], Tensor]:
        pairs = []
        for _ in range(n):
            scene = scenes.draw_scene(rng, two=0.0, placed=0.0, moving=0.7)
            pairs.append(text_of(scene, rng) if rng.random() < 0.95 else (nothing(rng), [-1] * len(ANSWERS)))
        return [text for text, _ in pairs], torch.tensor([told for _, told in pairs])

    def loss_of(step: int) -> Tensor:
        texts, told = lesson(random.Random(f"{seed}-text-{step}"), 20)
        answers = probe(*encoder(texts))
        return sum((F.cross_entropy(answer, told[:, i] + 1) for i, answer in enumerate(answers)), torch.zeros(()))

    training = Training("text", {"encoder": model, "probe": probe}, [([*model.parameters(), *probe.parameters()], 4e-3)], folder)
    training.run(steps, loss_of)
    with torch.no_grad():
        texts, told = lesson(random.Random(seed + 1), 256)
        right = [(a.argmax(1) == told[:, i] + 1).float().mean().item() for i, a in enumerate(probe(*encoder(texts)))]
    return {"steps": training.step} | {f"read_{aspect}": round(share, 3) for aspect, share in zip(ANSWERS, right, strict=True)}
