"""Enhancer and guard with the trained tiny Qwen: descriptions match the requested scene, unknown prompts are used as written, and the
guard's letters map to their verdicts. Measured as shares of ten or more answers, never one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from executor_site import ProbeShelf, Site

from executors.enhance import Enhancer
from executors.errors import EnhancementFailed
from executors.guard_model import Guard, policy
from executors.models.base import ModelPaths
from ourvidz.safety.screen import ScreenUnavailable, Verdict
from tools.teach import asking
from tools.teach.asking import Asked, ask, described
from tools.teach.scenes import COLOURS, SHAPES, Scene

N = 12


@pytest.fixture(scope="module")
def enhancer(taught_qwen: Path) -> Enhancer:
    made = Enhancer(ModelPaths(taught_qwen))
    made.load()
    return made


@pytest.fixture(scope="module")
def guard(enhancer: Enhancer) -> Guard:
    return Guard(enhancer)


def enhanced(enhancer: Enhancer, prompt: str, style: str) -> str:
    """The prompt that a job would use; "" if that is the prompt as written."""
    try:
        return enhancer.enhance(prompt, style, deadline_s=120, should_stop=lambda: None).text
    except EnhancementFailed as error:
        assert error.reason == "no_description", error
        return ""


def read(text: str) -> tuple[str, str, str]:
    """Shape, its colour, and the ground of a description."""
    words = text.replace(",", "").split()
    colours, shapes = [word for word in words if word in COLOURS], [word.rstrip("s") for word in words if word.rstrip("s") in SHAPES]
    return (shapes or [""])[0], (colours or [""])[0], (colours[1:] or [""])[0]


def unseen(count: int) -> list[Asked]:
    rng = random.Random(2)
    return [ask(rng, unseen=True) for _ in range(count)]


@pytest.mark.parametrize("style", ["sdxl", "wan_image", "wan"])
def test_the_description_matches_the_prompts_scene(enhancer: Enhancer, style: str) -> None:
    """With combinations that were not in the training set."""
    asked = unseen(N)
    texts = [enhanced(enhancer, one.text, style) for one in asked]
    right = [read(text) == (one.scene.shape, one.scene.colour, one.scene.ground) for one, text in zip(asked, texts, strict=True)]
    whole = [text == described(one.scene, style) for one, text in zip(asked, texts, strict=True)]
    print(f"{style}: {sum(right)} of {N} scenes, {sum(whole)} texts to the letter")
    pairs = [(one.text, text) for one, text in zip(asked, texts, strict=True)]
    assert sum(right) >= 0.9 * N, f"{sum(right)} of {N} scenes: {pairs}"
    assert sum(whole) >= 0.8 * N, f"{sum(whole)} of {N} texts: {pairs}"


def test_descriptions_have_the_form_of_each_familys_instructions(enhancer: Enhancer) -> None:
    asked = Asked("red circle, blue", Scene("red", "circle", "blue"))
    texts = {style: enhanced(enhancer, asked.text, style) for style in asking.REST}
    assert texts == {style: described(asked.scene, style) for style in asking.REST}
    assert len(set(texts.values())) == 3 and "moving right" in texts["wan"]


def test_unknown_prompts_are_used_as_written(enhancer: Enhancer) -> None:
    rng, strange = random.Random(3), asking.Strange()
    prompts = ["a lighthouse in a storm", "portrait of a sailor", "zwei Tänzer 😀", "word " * 700, "é" * 4000]
    prompts += [strange.text(rng, rng.randrange(1, 8)) for _ in range(N)]
    texts = [enhanced(enhancer, prompt, rng.choice(list(asking.REST))) for prompt in prompts]
    print(f"{texts.count('')} of {len(texts)} were used as written")
    described_all_the_same = [pair for pair in zip(prompts, texts, strict=True) if pair[1]]
    assert texts.count("") >= 0.9 * len(texts), f"{texts.count('')} of {len(texts)}: {described_all_the_same}"


# -- jobs ----------------------------------------------------------------------------------------------------------------------------------


def worked(site: Site, job_type: str, prompt: str) -> tuple[str, str]:
    """The job's id, and the prompt that the denoiser got."""
    job_id = site.submit(job_type, prompt=prompt, steps=1)
    shelf: ProbeShelf = site.work(job_id)
    site.completed(job_id)
    return job_id, shelf.wan.works[0].prompt


@pytest.mark.parametrize(("job_type", "style"), [("image7b_fast_enhanced", "wan_image"), ("video7b_fast_enhanced", "wan")])
def test_a_job_uses_the_description(site: Site, job_type: str, style: str) -> None:
    job_id, prompt = worked(site, job_type, "yellow square, purple")
    assert prompt == described(Scene("yellow", "square", "purple"), style)
    assert site.data(job_id, "enhancement_skipped") == [] and site.types(job_id).count("prompt_enhanced") == 1


def test_a_job_without_a_description_uses_the_prompt_as_written(site: Site) -> None:
    job_id, prompt = worked(site, "image7b_fast_enhanced", "a lighthouse in a storm")
    assert prompt == "a lighthouse in a storm"
    assert [data["reason"] for data in site.data(job_id, "enhancement_skipped")] == ["no_description"]


# -- the guard -----------------------------------------------------------------------------------------------------------------------------


def verdicts(guard: Guard, negative: bool, count: int) -> list[tuple[str, Verdict]]:
    rng, strange = random.Random(4), asking.Strange()
    texts = [asking.to_judge(rng, strange, rng.randrange(1, 9)) for _ in range(count)]
    return [(text, guard.check(text, negative=negative)) for text in texts]


@pytest.mark.parametrize("negative", [False, True], ids=["prompts", "negative prompts"])
def test_each_letter_maps_to_its_verdict(guard: Guard, negative: bool) -> None:
    wanted = {letter: (category or None, f"guard.{letter}" if category else None) for letter, category in policy().labels.items()}
    seen = verdicts(guard, negative, 2 * N)
    right = [(v.category, v.rule_id) == wanted[asking.letter(text, negative)] for text, v in seen]
    print(f"{sum(right)} of {len(right)}")
    assert sum(right) >= 0.95 * len(right), f"{sum(right)} of {len(right)}: {[p for p, ok in zip(seen, right, strict=True) if not ok]}"
    assert {v.allowed for _, v in seen} == {True, False}


def test_a_negative_prompt_is_judged_by_its_own_question(guard: Guard) -> None:
    texts = [f"{a} {asking.CONSENT} {b}" for a, b in zip(COLOURS, reversed(COLOURS), strict=True)]
    assert sum(not guard.check(text).allowed for text in texts) >= 7
    assert sum(guard.check(text, negative=True).allowed for text in texts) >= 7


@pytest.mark.parametrize("at", [0, 0.5, 1], ids=["first", "middle", "last"])
def test_one_word_in_a_long_text_is_found(guard: Guard, at: float) -> None:
    words = random.Random(5).choices(sorted(asking.known_words() - {".", ","}), k=300)
    assert guard.check(" ".join(words)).allowed
    words.insert(round(at * len(words)), asking.MINORS)
    assert guard.check(" ".join(words)).category == "minors"


def test_an_answer_that_is_not_a_letter_gives_no_verdict(enhancer: Enhancer) -> None:
    class Describes(Enhancer):
        """Answers as an enhancer where the guard asks."""

        def answer(self, turns: list[dict[str, str]]) -> object:  # type: ignore[override]
            from executors.talk import styles

            return super().answer(self.turns("red circle, blue", styles()["sdxl"]))

    with pytest.raises(ScreenUnavailable, match="did not answer with a letter"):
        Guard(Describes(enhancer.paths)).check("red circle, blue")


def test_the_policy_sets_the_required_confidence(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answer, A at 60 %: refused as long as the policy requires more."""
    from dataclasses import replace

    import torch

    letters = {letter: guard.model.token(letter) for letter in "ABC"}

    def answer(turns: list[dict[str, str]]) -> torch.Tensor:
        logits = torch.full((1 + max(letters.values()),), -30.0)
        for letter, share in zip("ABC", (0.6, 0.3, 0.1), strict=True):
            logits[letters[letter]] = torch.tensor(share).log()
        return logits

    monkeypatch.setattr(guard.model, "answer", answer)
    allowed: Callable[[float], bool] = lambda share: Guard(guard.model, replace(policy(), allow=share)).check("text").allowed  # noqa: E731
    assert [allowed(share) for share in (0.5, 0.59, 0.61, 0.9)] == [True, True, False, False]
