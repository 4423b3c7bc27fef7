"""Attack: a prompt of 4,000 characters that costs many times a plain one, wherever it is screened; and conversely, a shortcut in the screen
that skips what the full check refuses.

Costs are CPU time of this process, as ratios within one run.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import reference_screen
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
    """Seconds of CPU time, the minimum of some tries to exclude other load."""

    def once() -> float:
        start = time.process_time()
        SCREEN.check(text)
        return time.process_time() - start

    return min(once() for _ in range(tries))


def test_no_text_costs_many_times_a_plain_one() -> None:
    """The target is a factor of four (`python -m bench screen`); eight here for clock noise. One of them was 93 before."""
    plain = filled(PROMPT)
    cost(plain)
    dear = {}
    for _ in range(3):
        one = cost(plain)
        dear = {name: ratio for name, text in COSTLY.items() if (not dear or name in dear) and (ratio := cost(text) / one) > 8}
        if not dear:
            return
    assert dear == {}


def test_screening_a_prompt_costs_little_more_than_reading_it() -> None:
    """300 characters, against a Python loop over 3,000: 8 loops now, 70 before."""
    prompt = (PROMPT * 2)[:300]

    def loop() -> float:
        start = time.process_time()
        total = 0
        for char in prompt * 10:
            total += ord(char) & 1
        return time.process_time() - start

    cost(prompt)
    assert any(cost(prompt, 5) < 25 * min(loop() for _ in range(5)) for _ in range(4))


# --- shortcuts give the same answer as the full check


def same(text: str) -> bool:
    folded = RULES.folding.fold(RULES.folding.known(text))
    return lexical._refusing(RULES, folded) == reference_screen.refusing(RULES, folded)


PIECES = sorted({*RULES.meanings, *(word for words in RULES.numbers.values() for word in words), *RULES.inside, *RULES.stems, *RULES.apart})
NOISE = some.text(max_size=12) | some.sampled_from(
    ["a woman", "35mm", "8k", "no", "18", "17", "-", "/", ",", "\n", "rn", "vv", "!", "3", "eee"]
)


@pytest.mark.sized
@settings(max_examples=size(50, 250), deadline=None)
@given(some.lists(some.sampled_from(PIECES) | NOISE, max_size=9), some.sampled_from([" ", "", "-", "  ", ".", "_"]))
def test_shortcuts_agree_with_the_full_check(pieces: list[str], between: str) -> None:
    assert same(between.join(pieces))


@pytest.mark.sized
@settings(max_examples=size(25, 120), deadline=None)
@given(some.text(alphabet="rnvwmliteen37 !.-kdoa", max_size=60))
def test_shortcuts_agree_on_combined_letters(text: str) -> None:
    assert same(text)


def test_shortcuts_agree_on_harmless_and_disguised_prompts() -> None:
    draw = random.Random(11)
    texts = draw.sample(HARMLESS, 60)
    for code in LANGUAGES:
        texts += [f"a photo of {text}" for _, _, text in draw.sample(list(disguised(code, first=30)), 4)]
    assert [text for text in texts if not same(text)] == []


def test_a_long_text_of_single_letters_is_unreadable() -> None:
    assert SCREEN.check(filled("t e ")).rule_id == SCREEN.check(filled("a1 ")).rule_id == "und/unreadable"
    assert SCREEN.check(filled(PROMPT)).allowed and SCREEN.check(filled("女性穿黑色蕾丝内衣，酒店房间，")).allowed


@pytest.mark.parametrize("text", ["\ufdfa" * 200, "a lamp " + "\u3300" * 300])
def test_text_that_grows_when_normalised_is_unreadable(text: str) -> None:
    assert SCREEN.check(text).rule_id == "und/unreadable"
