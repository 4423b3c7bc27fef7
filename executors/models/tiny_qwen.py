"""Make a tiny Qwen2.5 in the real format: with the weights taught by tools/teach, or with random weights that produce readable text.

A random model emits random bytes, which would fail every check of an enhanced prompt. So its last layer is fitted (one least-squares
solve, no training) to the word grammar below: after each word the words of the next slot are about equally likely, and the random attention
layers choose among them, depending on the prompt. It understands nothing, and `tiny.json` says so; but tokenizer, chat template, model
class and generate() loop are the real ones.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2TokenizerFast

from executors.models import taught as shipped
from executors.models.base import ModelPaths
from executors.models.tinydir import install

FACTS: dict[str, Any] = {
    "tiny": True,
    "recipe": 1,
    "note": "random weights under a fixed grammar: the added words do not depend on what the prompt means",
}

# One slot per line, its words separated by |. No word is in two slots: the next slot is determined by the last token alone.
SLOTS = """
The
scene|setting|view|composition|frame
is
softly|gently|warmly|evenly|dimly
lit
by
golden|silver|amber|pale|bright
morning|evening|window|lantern|studio
light
,
with
rich|delicate|subtle|vivid|muted
shadows|colours|textures|highlights|reflections
across
smooth|weathered|polished|rough|painted
walls|stone|wood|fabric|glass
and
distant|nearby|blurred|drifting|rolling
hills|clouds|trees|curtains|rooftops
;
every
person
shown
here
stays
an
adult
in
natural|relaxed|graceful|confident|calm
posture|gesture|expression|movement|bearing
while
the
camera
slowly|quietly|steadily|smoothly|patiently
moves|glides|drifts|turns|travels
closer
.
"""
PUNCTUATION = ",;."

# The system and turn markers of Qwen2.5's own template, without its tool calls.
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    "<|im_end|>\n{% endif %}{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
EMBEDDING_GAIN, ATTENTION_GAIN = 24.0, 12.0
GRAMMAR_LOGIT, CHOICE_LOGIT = 12.0, 0.2  # the choice within a slot must never outweigh the grammar
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def make(root: Path, *, taught: bool = False) -> None:
    """Write `qwen2.5-7b-instruct/` under `root` (OURVIDZ_MODELS). Atomic; does nothing if it exists already.

    `taught`: with the weights of `executors.models.taught`.
    """
    if taught:
        known = shipped.facts("qwen")
        facts = {"tiny": True, "taught": known["weights"], "note": known["note"]}
        return install(ModelPaths(root).qwen, facts, lambda folder: _taught(folder, [tuple(pair.split(" ")) for pair in known["merges"]]))
    install(ModelPaths(root).qwen, FACTS, _build)


def _taught(folder: Path, merges: list[tuple[str, str]]) -> None:
    tokenizer = tokenizer_with(merges)
    model = model_for(tokenizer)
    shipped.fill(model, "qwen", "model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def model_for(tokenizer: Qwen2TokenizerFast) -> Qwen2ForCausalLM:
    """Return the model to teach, with its seed's weights. Three layers: copying from the prompt takes two (tools/teach/qwen.py)."""
    torch.manual_seed(5)
    return Qwen2ForCausalLM(_config(tokenizer, hidden=96, intermediate=192, layers=3, rope_theta=1e6)).eval()


def _build(folder: Path) -> None:
    slots = [line.split("|") for line in SLOTS.split()]
    tokenizer = tokenizer_of(slots)
    torch.manual_seed(5)
    # More hidden dimensions than the grammar has words, so that the fit below is exact.
    model = Qwen2ForCausalLM(_config(tokenizer, hidden=160, intermediate=64, layers=2)).eval()
    _follow_grammar(model, tokenizer, slots)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _config(tokenizer: Qwen2TokenizerFast, *, hidden: int, intermediate: int, layers: int, rope_theta: float = 1e4) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32768,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,  # as in the 7B
    )


def _spelled(slots: list[list[str]]) -> list[list[str]]:
    """Return the slots with leading spaces, as the words occur in running text."""
    return [[word if word in PUNCTUATION or not place else " " + word for word in slot] for place, slot in enumerate(slots)]


def tokenizer_of(slots: list[list[str]]) -> Qwen2TokenizerFast:
    """Byte-level BPE like Qwen's, with enough merges that each word of the grammar is one token; all else falls back to bytes."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=5000, min_frequency=1, initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator([word for slot in _spelled(slots) for word in slot], trainer)
    learned = json.loads(raw.to_str())["model"]
    return _tokenizer(dict(learned["vocab"]), [tuple(merge) for merge in learned["merges"]])


def tokenizer_with(merges: list[tuple[str, str]]) -> Qwen2TokenizerFast:
    """Byte-level BPE like Qwen's, with these merges: tokens are the bytes, then the result of each merge, then the turn markers."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return _tokenizer({token: n for n, token in enumerate([*letters, *("".join(pair) for pair in merges)])}, merges)


def _tokenizer(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Qwen2TokenizerFast:
    for token in SPECIAL:
        vocab[token] = len(vocab)
    tokenizer = Qwen2TokenizerFast(
        vocab=vocab,
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
        model_max_length=32768,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@torch.no_grad()
def _follow_grammar(model: Qwen2ForCausalLM, tokenizer: Qwen2TokenizerFast, slots: list[list[str]]) -> None:
    """Solve the output layer so that after each word the words of the next slot, and only they, have a high logit."""
    # The token's own embedding must outweigh what attention adds, but leave enough of it to choose within a slot.
    model.model.embed_tokens.weight.mul_(EMBEDDING_GAIN)
    for layer in model.model.layers:  # sharp attention, to some of the prompt's tokens instead of the mean of all
        layer.self_attn.q_proj.weight.mul_(ATTENTION_GAIN)
        layer.self_attn.k_proj.weight.mul_(ATTENTION_GAIN)
    ids = [[tokenizer(word).input_ids[0] for word in slot] for slot in _spelled(slots)]
    seen: dict[int, list[torch.Tensor]] = {}
    following: dict[int, list[int]] = {}
    draw = random.Random(5)
    for _ in range(30):
        prompt = "".join(draw.choice("abcdefghijklmnopqrstuvwxyz    ") for _ in range(draw.randrange(1, 120)))
        turns = [{"role": "system", "content": "Describe the scene. " * 20}, {"role": "user", "content": prompt}]
        start = tokenizer(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)).input_ids
        path = [draw.choice(slot) for slot in ids]
        hidden = model.model(torch.tensor([start + path])).last_hidden_state[0]
        for place, token in enumerate([start[-1], *path]):
            seen.setdefault(token, []).append(hidden[len(start) - 1 + place])
            following[token] = ids[place] if place < len(ids) else [tokenizer.eos_token_id]
    states = torch.stack([torch.stack(rows).mean(0) for rows in seen.values()])  # words × hidden
    wanted = torch.zeros(len(states), len(tokenizer))
    for row, token in enumerate(seen):
        wanted[row, following[token]] = GRAMMAR_LOGIT
    head = torch.linalg.lstsq(states, wanted).solution.T

    # Choice within a slot: random directions orthogonal to all mean states, so that they respond only to the prompt's part.
    away = torch.cat([torch.stack(rows) - state for rows, state in zip(seen.values(), states, strict=True)])
    choice = torch.zeros_like(head)
    words = list({token for slot in ids for token in slot})
    choice[words] = torch.randn(len(words), head.shape[1])
    basis = torch.linalg.qr(states.T).Q
    choice -= choice @ basis @ basis.T
    model.lm_head.weight.copy_(head + choice * (CHOICE_LOGIT / (away @ choice[words].T).std()))
