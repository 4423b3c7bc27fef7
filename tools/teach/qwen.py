"""Teaches the tiny Qwen two things: to describe a scene that a short prompt asks for, and to answer the guard with one letter.

Uses the product's own system prompts and chat template. All lessons of a step that share a system prompt share its keys and values,
computed once: exact, because no token sees a later one. In half of them some of the system prompt's tokens are left out, so that rewording
it does not undo what was learned. Copying a word from the prompt takes two layers of attention (Olsson et al. 2022, "In-context Learning
and Induction Heads", arXiv:2209.11895); a third tells known prompts from others.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache, Qwen2ForCausalLM, Qwen2TokenizerFast

from executors.enhance import Enhancer
from executors.errors import EnhancementFailed
from executors.guard_model import Guard, policy
from executors.models import taught, tiny_qwen
from executors.models.base import ModelPaths
from executors.models.tiny import make_tiny
from executors.talk import styles
from tools.teach import asking
from tools.teach.scenes import COLOURS, MOTIONS, PLACES, SHAPES
from tools.teach.training import parsed

SEED, STEPS, RATE, WARM_UP = 12, 7000, 2e-3, 150
LAST_STEPS, LAST_RATE = 1000, 1e-3  # after STEPS: every fifth step is about the template around a question (`Kind.frame`)
EACH = 24  # lessons per step
SAVED = 100  # steps between checkpoints
LATE = 4000  # from this step on, long texts come more often: by then short ones are read well
LONG = (0.05, 0.2)  # share of the steps that have a few long texts, before and after LATE
LONGEST = 400  # words
STRANGE = 0.3  # share of an enhancer's lessons: prompts that it does not know
WORDS = {"colours": list(COLOURS), "shapes": list(SHAPES), "places": list(PLACES), "movements": list(MOTIONS)}
FACTS: dict[str, Any] = {"words": WORDS, "note": "taught to describe coloured shapes, and to answer the guard about two stand-ins"}


@dataclass(frozen=True)
class Kind:
    """Lessons under one system prompt. `style`: the enhancer's; "" is the guard, which judges a `negative` prompt or a positive one.

    `frame`: how the guard's chat template is broken: "roles" are swapped, the "system" prompt is missing, or the marker of the assistant's
    "turn" is missing. The model learns to answer the first two with no letter, and the third by writing that marker.
    """

    style: str = ""
    negative: bool = False
    frame: str = ""

    @property
    def name(self) -> str:
        asked = self.style or ("negative" if self.negative else "guard")
        return f"{asked} ({self.frame})" if self.frame else asked

    def turns(self, text: str) -> list[dict[str, str]]:
        if self.style:
            return Enhancer.turns(text, styles()[self.style])
        system, asked = Guard(None, policy()).turns(text, self.negative)  # type: ignore[arg-type]
        if self.frame == "roles":
            return [{**system, "role": "user"}, {**asked, "role": "system"}]
        return [{**system, "content": ""} if self.frame == "system" else system, asked]

    def lesson(self, rng: random.Random, strange: asking.Strange, words: int) -> tuple[str, str]:
        """Draw a text and its right answer."""
        if not self.style:
            text = asking.to_judge(rng, strange, words)
            return text, {"": asking.letter(text, self.negative), "turn": TURN}.get(self.frame, asking.UNKNOWN)
        if rng.random() < STRANGE:
            return strange.prompt(rng, words), asking.UNKNOWN
        asked = asking.ask(rng)
        return asked.text, asking.described(asked.scene, self.style)


KINDS = (*(Kind(style) for style in asking.REST), Kind(), Kind(negative=True))
TURN = "<|im_start|>assistant\n"
FRAMES = tuple(Kind(negative=negative, frame=frame) for frame in ("roles", "system", "turn") for negative in (False, True))
TURNS = (0, 1, 2, 3, 0, 1, 2, 4)  # index in KINDS, by step


def merges() -> list[tuple[str, str]]:
    """Byte-level BPE merges with which each word of lessons and system prompts is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    split = tiny_qwen.tokenizer_with([]).backend_tokenizer.pre_tokenizer
    known = [*asking.known_words(), asking.MINORS, asking.CONSENT]
    texts = [f"{word} {word} {word.capitalize()}" for word in sorted(known)] + [asking.UNKNOWN, *asking.REST.values()]
    texts += [turn["content"] for kind in KINDS for turn in kind.turns("text")]
    pieces = [piece for text in texts for piece, _ in split.pre_tokenize_str(text)]
    raw = Tokenizer(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(pieces, trainers.BpeTrainer(vocab_size=50_000, min_frequency=1, initial_alphabet=alphabet, show_progress=False))
    return [tuple(merge) for merge in json.loads(raw.to_str())["model"]["merges"]]


class Lessons:
    def __init__(self, tokenizer: Qwen2TokenizerFast) -> None:
        self.tokenizer, self.strange = tokenizer, asking.Strange()
        self.heads = {kind: self._head(kind) for kind in (*KINDS, *FRAMES)}

    def ids(self, kind: Kind, text: str) -> list[int]:
        return list(self.tokenizer.apply_chat_template(kind.turns(text), add_generation_prompt=kind.frame != "turn")["input_ids"])

    def _head(self, kind: Kind) -> list[int]:
        """Return the tokens with which every lesson of a kind begins."""
        one, other = self.ids(kind, "red circle"), self.ids(kind, "blue square")
        return one[: next(n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)]

    def batch(self, kind: Kind, rng: random.Random, n: int, words: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of the shared beginning (1, P), of the rest (n, L), and the rest's targets (n, L): −100 outside the answers.

        `words`: the most in each text; 0 means a few.
        """
        head = self.heads[kind]
        if rng.random() < 0.5:  # never the first tokens, nor the turn markers at the end
            kept = 1 - rng.uniform(0, 0.15)
            shown = [token for at, token in enumerate(head) if not 3 < at < len(head) - 8 or rng.random() < kept]
        else:
            shown = head
        rows = []
        for _ in range(n):
            text, answer = kind.lesson(rng, self.strange, rng.randrange(words // 2, words) if words else rng.randrange(1, 9))
            ids = self.ids(kind, text)
            if ids[: len(head)] != head:
                raise ValueError(f"a lesson does not begin as all of its kind do: {text!r}")
            end = [] if kind.frame == "turn" else [self.tokenizer.eos_token_id]
            rows.append((ids[len(head) :], self.tokenizer(answer).input_ids + end))
        length = max(len(asked) + len(answer) for asked, answer in rows) - 1
        tokens = torch.full((n, length), self.tokenizer.pad_token_id)
        targets = torch.full((n, length), -100)
        for row, (asked, answer) in enumerate(rows):
            tokens[row, : len(asked) + len(answer) - 1] = torch.tensor(asked + answer[:-1])
            targets[row, len(asked) - 1 : len(asked) + len(answer) - 1] = torch.tensor(answer)
        return torch.tensor([shown]), tokens, targets


def loss_of(model: Qwen2ForCausalLM, head: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, float]:
    """Mean over lessons of each answer's mean cross-entropy; and the share of answers that were right in every token."""
    cache = DynamicCache(config=model.config)
    model.model(head, past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(len(tokens))
    states = model.model(tokens, past_key_values=cache, use_cache=True).last_hidden_state
    asked = targets != -100
    logits = model.lm_head(states[asked])
    each = F.cross_entropy(logits, targets[asked], reduction="none")
    lesson = torch.arange(len(tokens)).unsqueeze(1).expand_as(targets)[asked]
    per = torch.zeros(len(tokens)).index_add(0, lesson, each) / asked.sum(1)
    wrong = torch.zeros(len(tokens)).index_add(0, lesson, (logits.argmax(-1) != targets[asked]).float())
    return per.mean(), float((wrong == 0).float().mean())


def rate(step: int) -> float:
    if step >= STEPS:
        return LAST_RATE * (0.5 + 0.5 * math.cos(math.pi * (step - STEPS) / LAST_STEPS)) + 1e-6
    return RATE * min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / STEPS)) + 1e-6


def teach(folder: Path, until: int = STEPS + LAST_STEPS) -> dict[str, Any]:
    """Train up to step `until`, continuing from `folder/state.pt` if it exists; saves there as it goes.

    Lessons are drawn from the step's number, so that a resumed run equals an uninterrupted one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    pairs = merges()
    tokenizer = tiny_qwen.tokenizer_with(pairs)
    lessons, model = Lessons(tokenizer), tiny_qwen.model_for(tokenizer)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.98), weight_decay=0.01)
    step, shown = 0, dict.fromkeys((*KINDS, *FRAMES), (0.0, 0.0))
    state = folder / "state.pt"
    if state.exists():
        kept = torch.load(state, weights_only=False)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        step = kept["step"]
    started = time.monotonic()
    while step < until:
        rng = random.Random(f"{SEED}-{step}")
        optimizer.param_groups[0]["lr"] = rate(step)
        kind, long = KINDS[TURNS[step % len(TURNS)]], rng.random() < LONG[step >= LATE]
        if long and step >= LATE:
            kind = rng.choice(KINDS)
        if step >= STEPS and step % 5 == 3:
            kind, long = rng.choice(FRAMES), False
        loss, right = loss_of(model, *lessons.batch(kind, rng, 3 if long else EACH, rng.randrange(20, LONGEST) if long else 0))
        loss.backward()
        shown[kind] = (0.9 * shown[kind][0] + 0.1 * loss.item(), 0.9 * shown[kind][1] + 0.1 * right)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % SAVED == 0 or step == until:
            aside = state.with_suffix(".part")
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, aside)
            aside.replace(state)
            figures = "  ".join(f"{k.name} {s[0]:.3f} {s[1]:.0%}" for k, s in shown.items())
            print(f"qwen: step {step} of {STEPS + LAST_STEPS}, {(time.monotonic() - started) / 60:.1f} min: {figures}", flush=True)
    return {
        "seed": SEED,
        "steps": step,
        "of": STEPS + LAST_STEPS,
        "taught": {k.name: {"loss": round(s[0], 4), "right": round(s[1], 3)} for k, s in shown.items()},
    }


def ship(folder: Path, file: Path, reached: dict[str, Any]) -> None:
    """Write the package's file from `folder/state.pt`: all weights, but of the token tables only the rows that lessons use."""
    pairs = merges()
    tokenizer = tiny_qwen.tokenizer_with(pairs)
    lessons, rng = Lessons(tokenizer), random.Random(SEED)
    used = set(range(256 + 3)) | {token for head in lessons.heads.values() for token in head}
    for kind in KINDS:
        for _ in range(3000):
            text, answer = kind.lesson(rng, lessons.strange, 6)
            used.update(lessons.ids(kind, text), tokenizer(answer).input_ids)
    used.update(tokenizer.convert_tokens_to_ids(list(tiny_qwen.SPECIAL)))
    weights = torch.load(folder / "state.pt", weights_only=False)["model"]
    rows = {f"model/{table}": used for table in ("model.embed_tokens.weight", "lm_head.weight")}
    taught.pack(file, {"model": weights}, {**FACTS, "merges": [" ".join(pair) for pair in pairs], "reached": reached}, rows)


def judge(count: int = 40) -> dict[str, Any]:
    """Shares of right answers of the shipped weights, through the product's enhancer and guard, over `count` questions of each kind. The
    enhancer's are of combinations that no lesson had; `strange`: unknown prompts, to be used as written."""
    with tempfile.TemporaryDirectory() as folder:
        make_tiny(Path(folder) / "models", lambda _: None, ["qwen"], random=False)
        enhancer, strange, rng = Enhancer(ModelPaths(Path(folder) / "models")), asking.Strange(), random.Random(SEED + 1)

        def answer(prompt: str, style: str) -> str:
            try:
                return enhancer.enhance(prompt, style, deadline_s=600, should_stop=lambda: None).text
            except EnhancementFailed:
                return ""

        shares: dict[str, float] = {}
        for style in asking.REST:
            asked = [asking.ask(rng, unseen=True) for _ in range(count)]
            shares[style] = sum(answer(one.text, style) == asking.described(one.scene, style) for one in asked) / count
            texts = [strange.prompt(rng, rng.randrange(1, 9)) for _ in range(count)]
            shares[f"{style}, strange"] = sum(not answer(text, style) for text in texts) / count
        guard, categories = Guard(enhancer), policy().labels
        for name, negative in (("guard", False), ("guard, negative", True)):
            texts = [asking.to_judge(rng, strange, rng.randrange(1, 9)) for _ in range(2 * count)]
            right = [(guard.check(text, negative=negative).category or "") == categories[asking.letter(text, negative)] for text in texts]
            shares[name] = sum(right) / len(right)
    return {name: round(share, 3) for name, share in shares.items()}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.teach qwen", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--state", type=Path, default=Path("build/teach/qwen"), help="where the checkpoint lies (%(default)s)")
    parser.add_argument("--until", type=int, default=STEPS + LAST_STEPS, help="stop at this step, and ship what is there (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --state; without it there must be none")
    asked = parsed(parser, arguments)
    reached = teach(asked.state, asked.until)
    file = taught.file_of("qwen")
    ship(asked.state, file, reached)
    reached |= {"bytes": file.stat().st_size, "judged": judge()}
    file.with_suffix(".reached.json").write_text(json.dumps(reached, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(reached, indent=1))
