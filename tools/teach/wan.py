"""Teaches the tiny Wan on one thread of a CPU: its VAE's decoder, its text encoder, then T2V and VACE together.

    python -m tools.teach wan --steps 12000 --resume

Each stage goes on from its checkpoint. At the end the weights are shipped (executors.models.taught), and judged through the product.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanVACEPipeline

from executors.models import files, samplers, taught, tiny_wan
from executors.models.base import ModelPaths, Work
from executors.models.wan import Wan
from executors.prompts import build_negative
from tools.teach import scenes, wan_text, wan_vae
from tools.teach.training import options, parsed
from tools.teach.wan_denoiser import Teacher

NOTE, KNOWN = "taught coloured shapes on coloured grounds; it draws nothing else", 0.6
REACHED = taught.FOLDER / "wan.reached.json"


def parts(seed: int) -> dict[str, Any]:
    """Initial tokenizer and modules."""
    torch.manual_seed(seed)
    tokenizer = tiny_wan.tokenizer_of(words=wan_text.pieces())
    vae = tiny_wan.taught_vae()
    wan_vae.set_encoder(vae, seed)
    return {
        "tokenizer": tokenizer,
        "text_encoder": tiny_wan.taught_text_encoder(tokenizer),
        "vae": vae,
        "transformer": tiny_wan.taught_denoiser(),
        "scheduler": samplers.wan("unipc", 5.0),
    }


def teach(state: Path, steps: dict[str, int], seed: int, until: int | None) -> None:
    """Run all stages; ships and judges at the end."""
    torch.set_num_threads(1)
    state.mkdir(parents=True, exist_ok=True)
    made, stages = parts(seed), {}
    for name, stage in (
        ("decoder", lambda: wan_vae.teach_decoder(made["vae"], state, seed, steps["decoder"])),
        ("text", lambda: wan_text.teach(made["tokenizer"], made["text_encoder"], state, seed, steps["text"])),
        ("denoiser", lambda: _teach_denoiser(made, state, seed, steps["denoiser"], until)),
    ):
        stages[name] = stage()
        print(name, stages[name], flush=True)
    print(json.dumps(ship(made, stages, seed), indent=1))


def _teach_denoiser(made: dict[str, Any], state: Path, seed: int, steps: int, until: int | None) -> dict[str, Any]:
    pipe = WanVACEPipeline(**made)
    pipe.set_progress_bar_config(disable=True)
    teacher = Teacher(pipe, wan_text.Encoder(made["tokenizer"], made["text_encoder"]), seed)
    teacher.gather(state / "films.pt")
    return teacher.teach(state, steps, until)


def ship(made: dict[str, Any], stages: dict[str, Any], seed: int) -> dict[str, Any]:
    """Write the weights that make_tiny reads, and beside them their scores, judged through the product with those very weights. Words that
    are right less often than `KNOWN` are left out of those that people are told the model knows."""
    states = {name: made[name].state_dict() for name in tiny_wan.PARTS}
    facts: dict[str, Any] = {"words": {}, "note": NOTE, "pieces": wan_text.pieces()}
    taught.pack(taught.file_of("wan"), states, facts, {})
    judged = judged_shipped()
    words = {"colour": list(scenes.COLOURS), "shape": list(scenes.SHAPES), "motion": [f"moving {way}" for way in scenes.MOTIONS]}
    facts["words"] = {f"{aspect}s": known for aspect, known in words.items() if judged["films of 81 frames"][aspect] >= KNOWN}
    taught.pack(taught.file_of("wan"), states, facts, {})
    reached = {"seed": seed, "stages": stages, "bytes": taught.file_of("wan").stat().st_size, "judged": judged}
    REACHED.write_text(json.dumps(reached, indent=1) + "\n", encoding="utf-8")
    return reached


def judged_shipped(count: int = 24) -> dict[str, Any]:
    """Shares of right pictures, short films and whole ones, by aspect, made as jobs make them; every second of a combination that was never
    taught."""
    from tests.content.film_judge import shares

    found: dict[str, Any] = {"each": count}
    with tempfile.TemporaryDirectory() as folder:
        tiny_wan.make(Path(folder), taught=True)
        files.pin(Path(folder), tiny=True)
        wan = Wan(ModelPaths(Path(folder)), {"t2v"}, torch.device("cpu"))
        for kind, frames in (("pictures", 1), ("films of 17 frames", 17), ("films of 81 frames", 81)):
            rng, asked, films = random.Random(99), [], []
            negative = build_negative("wan", "video" if frames > 1 else "image").text
            for n in range(count):
                asked.append(scenes.draw_scene(rng, two=0.0, placed=0.0, moving=float(frames > 1), unseen=n % 2 == 0))
                size = ((480, 832), (832, 480))[n % 2]
                work = Work("judged", "video_fast", scenes.caption(asked[-1]), negative, *size, 25, 6.5, (n,), frames=frames)
                (output,) = wan.generate(work, lambda done, steps: None)
                films.append(np.stack([np.asarray(one) for one in (output.frames if frames > 1 else [output.image])]).astype(np.float32))
            found[kind] = shares(films, asked)
    return found


STAGES = {"decoder": 1300, "text": 550, "denoiser": 12_000}


def main(arguments: list[str]) -> None:
    asked = parsed(options("wan", __doc__, STAGES, last="denoiser"), arguments)
    teach(asked.state, {stage: getattr(asked, stage) for stage in STAGES}, asked.seed, asked.until)
