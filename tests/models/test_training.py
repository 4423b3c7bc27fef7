"""Training of the tiny models: an interrupted run ends like an uninterrupted one, and captions describe their images."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch import nn

from executors.clip_bpe import WINDOW, sdxl_token_count
from tools.teach.scenes import ASPECTS, COLOURS, SHAPES, caption, draw_scene, held_out, other_scene, vocabulary
from tools.teach.sdxl_lessons import ANSWERS, SKIP, long_text, open_aspects, text_of
from tools.teach.training import Training


def trained(state: Path, *stops: int) -> nn.Linear:
    """A layer after 12 steps, in runs that end at `stops`."""
    for stop in (*stops, 12):
        torch.manual_seed(3)
        layer = nn.Linear(4, 2)
        training = Training("layer", {"layer": layer}, [(list(layer.parameters()), 0.1)], state)

        def loss_of(step: int, layer: nn.Linear = layer) -> torch.Tensor:
            return layer(torch.randn(8, 4, generator=torch.Generator().manual_seed(step))).square().mean()

        training.run(12, loss_of, until=stop)
    return layer


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    one, other = trained(whole), trained(parts, 5, 9)
    assert torch.equal(one.weight, other.weight) and torch.equal(one.bias, other.bias)


def test_held_out_combinations_are_excluded_and_shapes_differ_from_the_ground() -> None:
    rng = random.Random(1)
    scenes = [draw_scene(rng) for _ in range(500)]
    assert not any(map(held_out, scenes)) and all(held_out(draw_scene(rng, unseen=True)) for _ in range(50))
    for scene in scenes:
        like = other_scene(scene, ("ground", "count", "place"), rng)
        assert (like.ground, like.count, like.place) == (scene.ground, scene.count, scene.place)
        assert scene.colour != scene.ground and like.colour != like.ground


def test_captions_contain_their_labels() -> None:
    rng = random.Random(2)
    for _ in range(300):
        scene = draw_scene(rng)
        text = text_of(scene, open_aspects(rng), rng)
        words = text.words.replace(",", " ").split()
        for aspect, named in (("colour", COLOURS), ("shape", SHAPES)):
            answer = text.told[aspect]
            if answer != SKIP and answer < len(ANSWERS[aspect]):
                assert any(word.removesuffix("s") == tuple(named)[answer] for word in words), text
        if text.told["ground"] < len(COLOURS):
            assert f"{scene.ground} background" in text.words
        assert sdxl_token_count(text.words) <= WINDOW


def test_long_texts_span_two_windows_and_captions_use_only_known_words() -> None:
    rng = random.Random(3)
    for _ in range(20):
        scene = draw_scene(rng)
        assert WINDOW < sdxl_token_count(long_text(scene, set(ASPECTS), rng)) <= 2 * WINDOW
        assert set(caption(scene).replace(",", " , ").split()) <= vocabulary()
