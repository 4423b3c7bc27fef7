"""Cleaning of a chat model's answers, and detection of descriptions: on a labelled file, and on single answers."""

from __future__ import annotations

import hashlib
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sizes import size

from executors.answers import check, clean
from executors.errors import EnhancementFailed
from executors.talk import styles

DATA = Path(__file__).parent.parent / "data"
SHOWN, HELD_BACK = 0, 1
"""Rules are written with the shown half of the labelled file in view. The other half measures them."""

PLAIN = (
    "A tall woman in her thirties, an adult, walks along a wet street at night, neon signs reflected in the puddles, "
    "the camera following her slowly."
)


@dataclass
class Figures:
    kept: int = 0  # descriptions accepted
    lost: int = 0  # descriptions rejected
    passed: int = 0  # other answers accepted as descriptions
    stopped: int = 0
    texts: int = 0  # accepted ones whose text equals the label

    @property
    def precision(self) -> float:
        return self.kept / (self.kept + self.passed)

    @property
    def recall(self) -> float:
        return self.kept / (self.kept + self.lost)


def text_of(answer: str, style: str = "wan_image", cut: bool = False) -> str | None:
    text = clean(answer, cut_short=cut)
    try:
        check(text, styles()[style])
    except EnhancementFailed:
        return None
    return text


def figures(half: int) -> Figures:
    told, found = tomllib.loads((DATA / "enhancer_answers.toml").read_text(encoding="utf-8")), Figures()
    for kind in ("description", "other"):
        for one in told[kind]:
            if hashlib.sha256(one["answer"].encode()).digest()[0] % 2 != half:
                continue
            text = text_of(one["answer"], one.get("style", "wan_image"), one.get("cut", False))
            if kind == "description":
                found.kept += text is not None
                found.lost += text is None
                found.texts += text == one.get("text", one["answer"])
            else:
                found.passed += text is not None
                found.stopped += text is None
    return found


@pytest.mark.parametrize("half", [SHOWN, HELD_BACK])
def test_descriptions_are_distinguished_from_other_answers(half: int) -> None:
    found = figures(half)
    assert found.kept + found.lost > 60 and found.passed + found.stopped > 55
    assert found.precision >= 0.97, found
    assert found.recall >= 0.97, found
    assert found.texts >= 0.97 * found.kept, found


@pytest.mark.parametrize(
    "answer",
    [
        PLAIN,
        f"Sure, here is the enhanced prompt:\n\n{PLAIN}",
        f'Certainly! Here\'s a rich description of the scene:\n\n"{PLAIN}"',
        f"**Enhanced Prompt:** {PLAIN}",
        f"### Description:\n{PLAIN}",
        f"“{PLAIN}”",
        f"```text\n{PLAIN}\n```",
        f"{PLAIN}\n\nLet me know if you would like any changes!",
        PLAIN.replace("wet street", "**wet street**").replace("slowly", "*slowly*"),
        PLAIN.replace(", neon", ",\n\nneon"),
        f"- {PLAIN}",
    ],
)
def test_text_around_the_description_is_removed(answer: str) -> None:
    text = clean(answer)
    assert text == PLAIN
    check(text, styles()["wan"])


def test_words_of_the_description_itself_are_kept() -> None:
    for text in (
        "Great plains under a low sun: an adult rider crosses them, dust behind the horse, seen from far away.",
        "Here is where the river bends, and an adult fisherman in a straw hat waits beside his boat at dawn.",
        "Here is a harbour: two adult sailors mend nets beside their boats, gulls overhead, soft grey light.",
        "A sign reads “open” above the door of a bar; inside, two adult women laugh in warm light.",
        "Surely the calmest lake, two adult swimmers in it, 4K, 35mm, f/1.8, wide shot of the whole bay.",
    ):
        assert clean(text) == text
        check(text, styles()["wan"])


def test_an_answer_cut_by_its_token_limit_ends_with_a_sentence() -> None:
    assert clean(f"{PLAIN} Rain falls on the", cut_short=True) == PLAIN


@pytest.mark.parametrize(
    ("answer", "says", "reason"),
    [
        ("", "nothing", "no_description"),
        ("  \n ", "nothing", "no_description"),
        ("I'm sorry, but I can't help with creating that kind of description for you today.", "refused", "model_refused"),
        ("I cannot write this prompt, because it goes against my guidelines on such content.", "refused", "model_refused"),
        ("As an AI language model, I am not able to describe scenes of that nature in detail.", "refused", "model_refused"),
        ("A cat.", "characters", "no_description"),
        (" ".join(f"{PLAIN} {n}" for n in range(20)), "characters", "no_description"),
        ("A woman walks along a wet street\ufffd\ufffd at night, neon signs everywhere around.", "printed", "no_description"),
        ("A woman walks along a wet street\x07 at night, with neon signs everywhere around.", "printed", "no_description"),
        ("((1, 2, 3 == 4, 5, 6 == 7)) == () // 1234567890 $$$ %%% and so on and on.", "words", "no_description"),
        ("light light light and " * 12, "repeats", "no_description"),
        ("Eine erwachsene Frau steht auf einem nebligen Bahnsteig und blickt dem Zug nach.", "language", "other_language"),
    ],
)
def test_an_answer_without_a_description_fails_with_its_reason(answer: str, says: str, reason: str) -> None:
    with pytest.raises(EnhancementFailed, match=says) as failed:
        check(clean(answer), styles()["wan"])
    assert (failed.value.error_class, failed.value.reason) == ("enhancement", reason)


def test_the_unchanged_prompt_is_not_an_enhancement() -> None:
    with pytest.raises(EnhancementFailed, match="as it was"):
        check(clean(f'"{PLAIN}"'), styles()["wan"], PLAIN.upper())


GARDEN = (
    "An adult gardener in a wide hat prunes roses along a brick wall, petals on the gravel, dew on the leaves. "
    "Soft side light, pinks and greens, medium shot."
)
OTHER = "An adult sailor on a pier in the rain, grey light, wide shot."


@pytest.mark.parametrize(
    "answer",
    [
        "I apologize, but I can't help with that scene.",
        "Unfortunately, I can't assist with this description.",
        "I regret to say that this falls beyond what I'm permitted to produce.",
        "Hmm, that isn't one I'd be comfortable with. How about a garden instead?",
        "This type of imagery isn't something we support here at all.",
        "Access to this kind of description is blocked for safety reasons.",
        "Per my guidelines, no. Ask me for a landscape or a still life.",
        "Sorry, no can do! Maybe a picnic in the park with two adults, soft light?",
        "I would rather not go there, but a moonlit garden with an adult couple would be lovely.",
        "This might be a violation of the terms of service, so the description ends before it begins.",
        "I do not feel right about this scene; choose something kinder.",
        "Explicit imagery is not something I generate.",
        f"{GARDEN} I have toned down parts of your prompt that I cannot describe.",
        f"Note: I can't include everything you asked for. {GARDEN}",
        f"{GARDEN}\n\nUnfortunately, I can't describe the rest of the prompt.",
    ],
)
def test_a_refusal_is_recognised_anywhere(answer: str) -> None:
    assert text_of(answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        "<think>A garden.</think>{}",
        "<Thought>hm</Thought>{}",
        "<think >hm</think >\n{}",
        "hm, a garden</think>{}",
        "◁think▷hm◁/think▷{}",
        "<seed:think>hm</seed:think>{}",
        "[THINK]hm[/THINK]{}",
        "<|channel|>analysis<|message|>The user wants it.<|end|><|start|>assistant<|channel|>final<|message|>{}",
        "<think>\n\n</think>\n\n{}",
        "<details><summary>Thinking</summary>The user wants roses.</details>\n{}",
        "**Thinking:** The user wants roses.\n\n**Answer:** {}",
        "{}\n<think>Was that enough? The user wants",
    ],
)
def test_thoughts_are_removed_in_every_notation(answer: str) -> None:
    assert text_of(answer.format(GARDEN)) == GARDEN


@pytest.mark.parametrize(
    "answer",
    [
        '%s\n[{"shot": "wide"}, {"shot": "close"}]',
        '%s\n{"shot": "wide", "lens',
        '{"positive": "%s", "negative": "blurry"}',
        '{"prompts": ["%s"]}',
        '```json\n{"Prompt": "%s"}\n```',
        '"prompt": "%s"',
        "prompt: >\n  %s",
        "| Prompt |\n|---|\n| %s |",
        "\\boxed{%s}",
        "<prompt>%s</prompt>",
        "> %s",
        "**%s**",
        "„%s“",
        "\u200b%s",
        "%s --ar 9:16 --v 6",
        "%s\n\n#garden #roses",
    ],
)
def test_data_and_markup_are_removed(answer: str) -> None:
    assert text_of(answer % GARDEN) == GARDEN


@pytest.mark.parametrize(
    "count",
    [
        "(78 words)",
        "\n\nWords: 27",
        " (approximately 90 words)",
        " ~95 words",
        "\n*Word count: 92*",
        "[27 words]",
        "\n\nCharacter count: 152",
    ],
)
def test_word_counts_are_removed(count: str) -> None:
    assert text_of(f"{GARDEN} {count}") == GARDEN


@pytest.mark.parametrize(
    "lead",
    [
        "Of course, here's the picture: ",
        "As requested: ",
        "The enhanced prompt is: ",
        "Rewritten prompt → ",
        "Output:\n",
        "Here you go!\n\n",
        "# Enhanced Prompt\n\n## Scene\n",
        "Final answer: ",
        "You write prompts for a text-to-image model. Rewrite the user's short prompt as one rich description.\n\n",
        "1. ",
        "(27 words) ",
    ],
)
def test_introductions_are_removed(lead: str) -> None:
    assert text_of(lead + GARDEN) == GARDEN


@pytest.mark.parametrize(
    "answer",
    [
        "Option 1: {0}\n\nOption 2: {1}",
        "A) {0}\n\nB) {1}",
        "Variation A: {0}\n\nVariation B: {1}",
        "Prompt 1:\n{0}\n\nPrompt 2:\n{1}",
        "{0}\n\nOr, for a darker mood: {1}",
        "{0}\n\nAlternative version: {1}",
        "Here are three variations:\n1. {0}\n2. {1}\n3. {1}",
    ],
)
def test_the_first_of_several_versions_is_kept(answer: str) -> None:
    assert text_of(answer.format(GARDEN, OTHER)) == GARDEN


@pytest.mark.parametrize(
    "loop",
    [
        f" {GARDEN} {GARDEN}",
        " Soft side light, pinks and greens, medium shot." * 6,
        "\n\nWould that work for you?",
        "\n\n---\n**Explanation:** I added light and framing.",
        "\n\n(Note: All subjects are adults.)",
        "\nNote: I added light.",
        " Feel free to change the colours to your liking!",
    ],
)
def test_trailing_repetitions_and_remarks_are_removed(loop: str) -> None:
    assert text_of(GARDEN + loop) == GARDEN


def test_harmless_sentences_are_kept() -> None:
    lines = (DATA / "harmless_prompts.txt").read_text(encoding="utf-8").splitlines()
    for line in (" ".join(line.split()).rstrip(".") for line in lines if line.isascii() and len(line) > 1 and line[0] != "#"):
        assert clean(f"{GARDEN} {line}.").startswith(f"{GARDEN} {line[:20]}"), line


@pytest.mark.parametrize("filler", ["\n", " ", "- ", "> ", "|---", "(", '{"', "# ", "word count ", "(total words "])
def test_repeated_characters_are_cleaned_quickly(filler: str) -> None:
    """A token may be 64 repeated characters, and an answer has up to 320 tokens."""
    started = time.process_time()
    clean(GARDEN + "\n" + filler * (12_000 // len(filler)))
    assert time.process_time() - started < 3


@pytest.mark.sized
@settings(max_examples=size(25, 100), deadline=None)
@given(st.text("<>[]{}()/|\"'`*_#-:.,!?\nI think json option 1 2 words sorry light adult 你😀\u200b", max_size=200))
def test_any_answer_is_cleaned_or_refused_and_never_longer_than_it_was(answer: str) -> None:
    text = clean(answer)
    assert len(text) <= len(answer) and "\n" not in text
    text_of(answer)
