"""A tiny model that is taught one thing: to answer B where a text names the stand-in, else A."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2TokenizerFast

from executors.guard import Guard, policy
from executors.models.base import ModelPaths

STANDIN = "zebra"
HARMLESS = "a quiet harbour under warm light with two lanterns beside the old stone bridge where rain falls on painted boats at dusk"
SHORT = replace(
    policy(), system="Answer with one letter.", question="{text}\nA, B or C?", negative="{text}\nA, B or C?"
)  # the tiny model need not read the real one


class Mind:
    """What the guard asks of `executors.enhance.Enhancer`, of a model that need not be one."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.asked = 0

    @torch.inference_mode()
    def answer(self, turns: list[dict[str, str]]) -> torch.Tensor:
        self.asked += 1
        inputs = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        return self.model(**inputs).logits[0, -1].float()

    def token(self, text: str) -> int:
        return int(self.tokenizer(text, add_special_tokens=False).input_ids[0])


def sentence(draw: random.Random) -> tuple[str, int]:
    words = draw.choices(HARMLESS.split(), k=draw.randrange(3, 12))
    bad = draw.random() < 0.5
    if bad:
        words.insert(draw.randrange(len(words) + 1), STANDIN)
    return " ".join(words), int(bad)


def taught(tiny_root: Path) -> Mind:
    tokenizer = Qwen2TokenizerFast.from_pretrained(ModelPaths(tiny_root).qwen)
    torch.manual_seed(0)
    size = {"hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), **size))
    mind = Mind(model, tokenizer)
    guard, letters, draw = Guard(mind, SHORT), [mind.token(letter) for letter in "AB"], random.Random(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        texts, answers = zip(*(sentence(draw) for _ in range(16)), strict=True)
        rows = [tokenizer.apply_chat_template(guard.turns(text), add_generation_prompt=True)["input_ids"] for text in texts]
        width = max(map(len, rows))
        padded = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        logits = model(input_ids=padded, attention_mask=mask).logits[:, -1]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor([letters[answer] for answer in answers]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    return mind
