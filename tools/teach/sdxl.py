"""Teaches the tiny SDXL and its IP-Adapters to draw scenes, in the product's own format, on a CPU.

    python -m tools.teach sdxl --steps 6000 --resume

Stages, each with a checkpoint of its own: the text encoders, by what their words and pooled vector tell of a scene; the image encoders, by
what their view of a picture tells; then UNet and adapters together, each lesson with one adapter or none. Trained on a frozen UNet, `style`
and `composition` had no effect: they reach one block each, which made no use of them.

Training starts from the shipped weights. These began as the weights of an earlier experiment with the same configs, whose VAE they still
have (docs/decisions/0054).
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executors.models import files, taught, tiny_sdxl
from executors.models.base import ModelPaths, Work
from executors.models.sdxl import Sdxl

from . import scenes
from .adapters import Adapters
from .sdxl_lessons import (
    ANSWERS,
    ASPECTS,
    REFERENCES,
    Lesson,
    Maker,
    encode,
    look,
    negative,
    no_text,
    open_aspects,
    pictures,
    text_of,
    told,
)
from .training import Training, options, parsed

CHAPTER, REPEATS = 32, 8  # lessons made at a time, and how often each is used
RATES = {"words": 1e-3, "probes": 5e-3, "unet": 1e-3, "adapters": 1e-2}
NOTE = "taught coloured shapes on coloured grounds; it draws nothing else"
REACHED = taught.FOLDER / "sdxl.reached.json"


def load(root: Path) -> Sdxl:
    """Load the family with the tiny model of the shipped weights, which is made in `root` if missing."""
    if not (root / "manifest.json").is_file():
        tiny_sdxl.make(root, taught=True)
        files.pin(root, tiny=True)
    sdxl = Sdxl(ModelPaths(root), torch.device("cpu"))
    sdxl.load()
    return sdxl


def teach(state: Path, steps: dict[str, int], seed: int = 1, until: int | None = None) -> None:
    """Run all stages, each from its checkpoint in `state` if there is one; ships and judges at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    state.mkdir(parents=True, exist_ok=True)
    sdxl = load(state / "models")
    adapters = Adapters(sdxl)
    for module in (*modules_of(sdxl).values(), *adapters.modules().values()):
        module.requires_grad_(False)
    stages = {
        "words": teach_words(sdxl, state, steps["words"], seed),
        "eyes": teach_eyes(adapters, state, steps["eyes"], seed),
        "unet": teach_unet(sdxl, adapters, state, steps["unet"], seed, until),
    }
    print(json.dumps(ship(sdxl, adapters, stages, seed), indent=1))


def modules_of(sdxl: Sdxl) -> dict[str, nn.Module]:
    return {name: getattr(sdxl._pipe, name) for name in tiny_sdxl.COMPONENTS}


def _summary(training: Training) -> dict[str, Any]:
    recent = training.losses[-200:]
    return {"steps": training.step, "loss": round(sum(recent) / max(1, len(recent)), 5)}


def _learning(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    found = [parameter for module in modules for parameter in module.parameters()]
    for parameter in found:
        parameter.requires_grad_(True)
    return found


# Encoders


class Probe(nn.Module):
    """A probe for training only: reads off words (N, L, hidden), as cross-attention would, or a vector (N, hidden), what they tell of a
    scene: an answer for each aspect, or that it is left open."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(ASPECTS), 2, hidden) / hidden**0.5)
        self.keys = nn.Linear(hidden, 2 * hidden)
        self.answers = nn.ModuleList(nn.Linear(2 * hidden, len(ANSWERS[aspect]) + 1) for aspect in ASPECTS)

    def forward(self, words: Tensor) -> list[Tensor]:
        words = words if words.ndim == 3 else words[:, None]
        keys = self.keys(words).unflatten(-1, (2, -1))  # N, L, head, hidden
        weights = torch.einsum("nlhd,ahd->nahl", keys, self.queries).softmax(-1)
        seen = torch.einsum("nahl,nld->nahd", weights, words).flatten(2)
        return [answer(seen[:, i]) for i, answer in enumerate(self.answers)]

    def loss(self, words: Tensor, asked: list[dict[str, int]]) -> Tensor:
        found = self(words)
        wanted = [torch.tensor([one[aspect] for one in asked]) for aspect in ASPECTS]
        return sum(F.cross_entropy(f, w) for f, w in zip(found, wanted, strict=True)) / len(ASPECTS) + 1e-3 * words.square().mean()


def teach_words(sdxl: Sdxl, state: Path, steps: int, seed: int, count: int = 48) -> dict[str, Any]:
    if not steps:
        return {"steps": 0}
    pipe = sdxl._pipe
    small, big = pipe.text_encoder.config.hidden_size, pipe.text_encoder_2.config.hidden_size
    encoders, probes = nn.ModuleList([pipe.text_encoder, pipe.text_encoder_2]), nn.ModuleList([Probe(small), Probe(big), Probe(big)])
    rates = [(_learning([encoders]), RATES["words"]), (_learning([probes]), RATES["probes"])]
    training = Training("words", {"encoders": encoders, "probes": probes}, rates, state)

    def loss_of(step: int) -> Tensor:
        rng = random.Random(f"{seed}-words-{step}")
        some = [scenes.draw_scene(rng) for _ in range(count)]
        texts = [text_of(scene, open_aspects(rng), rng) if rng.random() < 0.93 else no_text(rng) for scene in some]
        words, asked = [text.words for text in texts], [text.told for text in texts]
        first, _ = encode(pipe, 1, words)
        second, pooled = encode(pipe, 2, words)
        outs = [out.detach() if step < steps // 5 else out for out in (first, second, pooled)]  # the probes learn first
        return sum(probe.loss(out, asked) for probe, out in zip(probes, outs, strict=True)) / 3

    training.run(steps, loss_of)
    encoders.requires_grad_(False)
    return _summary(training)


def teach_eyes(adapters: Adapters, state: Path, steps: int, seed: int, count: int = 32) -> dict[str, Any]:
    if not steps:
        return {"steps": 0}
    kinds = ("style", "character")  # one of each encoder
    eyes = nn.ModuleDict({kind: adapters.encoder_of(kind) for kind in kinds})
    probes = nn.ModuleDict({"style": Probe(eyes["style"].config.projection_dim), "character": Probe(eyes["character"].config.hidden_size)})
    rates = [(_learning([eyes]), RATES["words"]), (_learning([probes]), RATES["probes"])]
    training = Training("eyes", {"eyes": eyes, "probes": probes}, rates, state)

    def loss_of(step: int) -> Tensor:
        rng = random.Random(f"{seed}-eyes-{step}")
        some = [scenes.draw_scene(rng) for _ in range(count)]
        shown = pictures(some, [scenes.arrange(scene, (128, 128), rng) for scene in some], (128, 128))
        asked = [told(scene, ASPECTS) | ({} if scene.place else {"place": -100}) for scene in some]
        return sum(probes[kind].loss(look(eyes[kind], kind, shown)[:, 0], asked) for kind in kinds) / 2

    training.run(steps, loss_of)
    eyes.requires_grad_(False)
    return _summary(training)


# UNet and adapters


def teach_unet(sdxl: Sdxl, adapters: Adapters, state: Path, steps: int, seed: int, until: int | None) -> dict[str, Any]:
    if not steps:
        return {"steps": 0}
    pipe, worn = sdxl._pipe, adapters.modules()
    maker = Maker(pipe, sdxl._prompts, {kind: adapters.encoder_of(kind) for kind in REFERENCES})
    rates = [(_learning([pipe.unet]), RATES["unet"]), (_learning(worn.values()), RATES["adapters"])]
    training = Training("unet", {"unet": pipe.unet} | {name: module for name, module in worn.items()}, rates, state)
    if training.step == 0:
        adapters.be_heard()
    chapter: tuple[int, list[Lesson]] = (-1, [])

    def lesson_of(step: int) -> Lesson:
        """Return the lesson of a step, by its number alone: lessons are made a chapter at a time and used `REPEATS` times, shuffled."""
        nonlocal chapter
        number, place = divmod(step, CHAPTER * REPEATS)
        if number != chapter[0]:
            begun = time.monotonic()
            chapter = number, [maker.lesson(random.Random(f"{seed}-lesson-{number}-{n}")) for n in range(CHAPTER)]
            print(f"lessons: chapter {number} in {time.monotonic() - begun:.0f} s", flush=True)
        order = list(range(CHAPTER)) * REPEATS
        random.Random(f"{seed}-order-{number}").shuffle(order)
        return chapter[1][order[place]]

    def loss_of(step: int) -> Tensor:
        rng, noise = random.Random(f"{seed}-unet-{step}"), torch.Generator().manual_seed(seed * 10**7 + step)
        lesson = lesson_of(step)
        adapters.wear(lesson.kind, rng.uniform(0.5, 1.0))
        return denoising_loss(pipe, lesson, noise)

    training.run(steps, loss_of, until=until)
    adapters.wear("")
    pipe.unet.requires_grad_(False)
    return _summary(training)


def denoising_loss(pipe: Any, lesson: Lesson, noise: torch.Generator) -> Tensor:
    """Error of the predicted noise. Early steps of sampling, which decide what is drawn, come more often and weigh more: at weight 1 the
    network gains most by copying the noise of pictures that are still visible. A reference helps at the very first steps alone. Some are
    late steps: there a picture must stay as it is, whatever the text says, or guidance redraws first pictures at the lowest strength."""
    count, reference = len(lesson.latents), lesson.kind != ""
    share, late = torch.rand(count, generator=noise), torch.rand(count, generator=noise) < (0.1 if reference else 0.25)
    t = torch.where(late, 400 * share, 1000 * share ** (0.25 if reference else 0.75)).long().clamp(max=999)
    kept = pipe.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    added = torch.randn(lesson.latents.shape, generator=noise)
    extra = {"text_embeds": lesson.pooled, "time_ids": lesson.time_ids}
    if lesson.seen is not None:
        extra["image_embeds"] = [lesson.seen]
    mixed = kept.sqrt() * lesson.latents + (1 - kept).sqrt() * added
    found = pipe.unet(mixed, t, encoder_hidden_states=lesson.words.float(), added_cond_kwargs=extra).sample
    return ((1 / kept).clamp(max=20).sqrt() * (found - added).square()).mean()


# Shipping and judging


def ship(sdxl: Sdxl, adapters: Adapters, stages: dict[str, Any], seed: int) -> dict[str, Any]:
    """Write the weights that make_tiny reads, and beside them their scores, judged through the product with those very weights."""
    parts: dict[str, dict[str, Tensor]] = {name: dict(module.state_dict()) for name, module in modules_of(sdxl).items()}
    for name, kind in (("ip_encoder", "style"), ("ip_encoder_vit_h", "character")):
        parts[name] = dict(adapters.encoder_of(kind).state_dict())
    parts |= dict(adapters.states())
    rows = {
        f"{part}/{name}": taught_tokens(sdxl._pipe.tokenizer)
        for part in ("text_encoder", "text_encoder_2")
        for name in parts[part]
        if name.endswith("token_embedding.weight")
    }
    known = {"colours": list(scenes.COLOURS), "shapes": list(scenes.SHAPES), "places": list(scenes.PLACES)}
    taught.pack(taught.file_of("sdxl"), parts, {"words": known, "note": NOTE}, rows)
    reached = {"seed": seed, "stages": stages, "bytes": taught.file_of("sdxl").stat().st_size, "judged": judged_shipped()}
    REACHED.write_text(json.dumps(reached, indent=1) + "\n", encoding="utf-8")
    return reached


def taught_tokens(tokenizer: Any) -> set[int]:
    """Tokens that lessons use: the world's words, and those of the negative prompt that the product writes."""
    texts = [*scenes.vocabulary(), "or", negative(), ""]
    return {token for text in texts for token in tokenizer(text).input_ids} | {tokenizer.pad_token_id, 0}


def judged_shipped(count: int = 50) -> dict[str, Any]:
    """Shares of right pictures, by aspect: fast jobs with the product's own negative prompt; half of the combinations were taught, half
    never."""
    from tests.content.judge import right, shares

    with tempfile.TemporaryDirectory() as folder:
        tiny_sdxl.make(Path(folder), taught=True)
        files.pin(Path(folder), tiny=True)
        sdxl, rng = Sdxl(ModelPaths(Path(folder)), torch.device("cpu"), at_once=8), random.Random(99)
        asked = [scenes.draw_scene(rng, unseen=n % 2 == 0) for n in range(count)]
        works = [
            Work("judged", "sdxl_image_fast", scenes.caption(scene), negative(), 1024, 1024, 15, 6.0, (n,)) for n, scene in enumerate(asked)
        ]
        found = [right(output.image, asked[n]) for n, output in sdxl.generate_together(works, [lambda done, steps: None] * count)]
    return {"pictures": count, **{aspect: round(share, 3) for aspect, share in shares(found).items()}}


STAGES = {"words": 600, "eyes": 600, "unet": 6000}


def main(arguments: list[str]) -> None:
    asked = parsed(options("sdxl", __doc__, STAGES, last="unet"), arguments)
    teach(asked.state, {stage: getattr(asked, stage) for stage in STAGES}, asked.seed, asked.until)
