"""Attack: a prompt of 4,000 characters that costs many times what a plain one does, in every place that screens it; and the other way
round, that what was done about it lets a text through: a short cut of the screen that skips what the whole reading refuses.

Costs are CPU time of this process, as ratios within one run.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import plain_screen
import pytest
from disguises import LANGUAGES, disguised
from hypothesis import given, settings
from hypothesis import strategies as some
from sizes import size

from ourvidz.safety import lexical
from ourvidz.safety.lexical import LexicalScreen
from ourvidz.safety.rules import TERMS, load_rules

SCREEN = LexicalScreen()
RULES = load_rules(TERMS)
HARMLESS = [line for line in (Path(__file__).parents[1] / "data" / "harmless_prompts.txt").read_text().splitlines() if line]
LENGTH = 4_000
PROMPT = (
    "a portrait of a woman in her thirties in a red evening dress on a rooftop at dusk, city lights behind her, soft rim light, shallow "
    "depth of field, 85mm lens at f/1.8, shot on film, subtle grain, elegant pose, looking over her shoulder, long dark hair moved by the "
    "wind, warm colours, 8k, high detail, editorial, "
)


def filled(unit: str) -> str:
    return (unit * LENGTH)[:LENGTH]


def mixed(words: list[str], between: str = " ") -> str:
    draw = random.Random(7)
    return between.join(draw.choice(words) for _ in range(LENGTH))[:LENGTH]


CLASSES = sorted(word for word, means in RULES.meanings.items() if not any("/" in m for m in means))
YEARS = " ".join(word for word in CLASSES if any(m.endswith((".year", ".age", ".old")) for m in RULES.meanings[word]))
COSTLY = {
    **{
        unit: filled(unit)
        for unit in ("t e ", "t.e.", "1 ", "t3", "t3e3 ", "a1 ", "a*", "_a", "@a", "e", "1,000,", "小女", "เด็", "ロリ", "\ufdfa")
    },
    **{
        unit: filled(unit)
        for unit in ("p r e a d o l e s c e n ", "twenty one ", "no minor ", "xiv ", "ʇǝ ", "half a score ", "ν η υ ", "🇰 ")
    },
    "letters": mixed(list("abcdefghijklmnopqrstuvwxyz")),
    "leet": mixed(["t3", "k1", "b4", "n0", "3e", "5a"]),
    "words of patterns": mixed(CLASSES),
    "short ones": mixed([word for word in CLASSES if len(word) < 3]),
    "short ones without spaces": mixed([word for word in CLASSES if len(word) < 3], ""),
    "number words": mixed(sorted(word for words in RULES.numbers.values() for word in words)),
    "numbers and years": f"{'1-2 3/4 ' * 250} {YEARS}"[:LENGTH],
    "all different": "".join(map(chr, range(0x4E00, 0x4E00 + LENGTH))),
    "letters with marks": mixed(list(map(chr, range(0xC0, 0x250))), ""),
}


def cost(text: str, tries: int = 3) -> float:
    """Seconds of CPU, the least of some tries: what a busy machine adds is not the screen's."""

    def once() -> float:
        start = time.process_time()
        SCREEN.check(text)
        return time.process_time() - start

    return min(once() for _ in range(tries))


def test_no_text_costs_many_times_a_plain_one_of_its_length() -> None:
    """Aimed at four times, as `python -m bench screen` shows; twice that for the clock. One of them was 93 times as dear before."""
    plain = filled(PROMPT)
    cost(plain)
    dear = {}
    for _ in range(3):
        one = cost(plain)
        dear = {name: ratio for name, text in COSTLY.items() if (not dear or name in dear) and (ratio := cost(text) / one) > 8}
        if not dear:
            return
    assert dear == {}


def test_a_prompt_costs_little_more_than_to_look_at_its_letters() -> None:
    """300 characters, against a loop in Python over 3,000: 8 loops now, 70 before."""
    prompt = (PROMPT * 2)[:300]

    def loop() -> float:
        start = time.process_time()
        total = 0
        for char in prompt * 10:
            total += ord(char) & 1
        return time.process_time() - start

    cost(prompt)
    assert any(cost(prompt, 5) < 25 * min(loop() for _ in range(5)) for _ in range(4))


# --- the short cuts answer as the whole reading does


def same(text: str) -> bool:
    folded = RULES.folding.fold(RULES.folding.known(text))
    return lexical._refusing(RULES, folded) == plain_screen.refusing(RULES, folded)


PIECES = sorted({*RULES.meanings, *(word for words in RULES.numbers.values() for word in words), *RULES.inside, *RULES.stems, *RULES.apart})
NOISE = some.text(max_size=12) | some.sampled_from(
    ["a woman", "35mm", "8k", "no", "18", "17", "-", "/", ",", "\n", "rn", "vv", "!", "3", "eee"]
)


@pytest.mark.sized
@settings(max_examples=size(50, 250), deadline=None)
@given(some.lists(some.sampled_from(PIECES) | NOISE, max_size=9), some.sampled_from([" ", "", "-", "  ", ".", "_"]))
def test_no_short_cut_skips_what_the_whole_reading_refuses(pieces: list[str], between: str) -> None:
    assert same(between.join(pieces))


@pytest.mark.sized
@settings(max_examples=size(25, 120), deadline=None)
@given(some.text(alphabet="rnvwmliteen37 !.-kdoa", max_size=60))
def test_letters_that_are_read_together_too(text: str) -> None:
    assert same(text)


def test_harmless_prompts_and_terms_in_disguise_too() -> None:
    draw = random.Random(11)
    texts = draw.sample(HARMLESS, 60)
    for code in LANGUAGES:
        texts += [f"a photo of {text}" for _, _, text in draw.sample(list(disguised(code, first=30)), 4)]
    assert [text for text in texts if not same(text)] == []


def test_a_long_text_of_single_letters_is_unreadable() -> None:
    assert SCREEN.check(filled("t e ")).rule_id == SCREEN.check(filled("a1 ")).rule_id == "und/unreadable"
    assert SCREEN.check(filled(PROMPT)).allowed and SCREEN.check(filled("女性穿黑色蕾丝内衣，酒店房间，")).allowed


@pytest.mark.parametrize("text", ["\ufdfa" * 200, "a lamp " + "\u3300" * 300])
def test_what_grows_when_it_is_normalised_is_unreadable(text: str) -> None:
    assert SCREEN.check(text).rule_id == "und/unreadable"
