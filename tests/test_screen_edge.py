"""The edge functions' screen gives Python's verdict on each term in each disguise, on harmless prompts and on any text."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disguises import LANGUAGES, disguised
from hypothesis import given, settings
from hypothesis import strategies as some
from sizes import size
from waiting import LIMIT

from ourvidz.dev.parts import Parts
from ourvidz.safety.lexical import MAX_TEXT, LexicalScreen
from ourvidz.safety.lookalikes import with_marks
from ourvidz.safety.reading import View
from ourvidz.safety.rules import TERMS, load_rules
from ourvidz.safety.screen import ScreenUnavailable
from tools.docs import ROOT

FOLDER = ROOT / "supabase/functions/_shared/screen"
HARMLESS = [line for line in (Path(__file__).parent / "data/harmless_prompts.txt").read_text().splitlines() if line]
SCREEN = LexicalScreen()
RULES = load_rules(TERMS)
Ask = Callable[[list[object]], list[dict[str, object]]]


@pytest.fixture(scope="module")
def edge(parts: Parts) -> Iterator[Ask]:
    """One Deno process that answers texts."""
    env = {**os.environ, **parts.deno_env}
    command = [parts.deno, "run", "--cached-only", "--no-prompt", FOLDER / "lines.ts"]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout

        def ask(texts: list[object]) -> list[dict[str, object]]:
            # Written by a thread: the process stops reading while its output is not read.
            asking = threading.Thread(target=say, args=("".join(f"{json.dumps(text)}\n" for text in texts),))
            asking.start()
            answers = [json.loads(process.stdout.readline()) for _ in texts]
            asking.join()
            return answers

        def say(lines: str) -> None:
            process.stdin.write(lines)
            process.stdin.flush()

        yield ask
        process.stdin.close()
        assert process.wait(LIMIT) == 0


def python(text: str) -> dict[str, object]:
    try:
        return vars(SCREEN.check(text))
    except ScreenUnavailable:
        return {"unavailable": True}


def differing(edge: Ask, texts: list[str]) -> list[tuple[str, dict[str, object], dict[str, object]]]:
    both = ((ascii(text), there, python(text)) for text, there in zip(texts, edge(list(texts)), strict=True))
    return [(text, there, here) for text, there, here in both if there != here]


def in_disguise(edge: Ask, code: str, share: int) -> None:
    terms = list(disguised(code, share=share))
    texts = [f"a photo of {text}" for _, _, text in terms]
    assert len(terms) > 900 / share
    assert [term for term, verdict in zip(terms, edge(list(texts)), strict=True) if verdict["allowed"] is not False] == []
    assert differing(edge, texts) == []


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_term_in_disguise_is_refused_by_both(edge: Ask, code: str) -> None:
    in_disguise(edge, code, share=6)


@pytest.mark.nightly
@pytest.mark.parametrize("code", LANGUAGES)
def test_every_term_in_every_disguise_is_refused_by_both(edge: Ask, code: str) -> None:
    in_disguise(edge, code, share=1)


def test_harmless_prompts_get_the_same_answer(edge: Ask) -> None:
    assert len(set(HARMLESS)) >= 500
    assert differing(edge, HARMLESS) == []
    assert sum(verdict["allowed"] is True for verdict in edge(list(HARMLESS))) >= 0.99 * len(HARMLESS)


PIECES = sorted({*RULES.meanings, *(word for words in RULES.numbers.values() for word in words), *RULES.inside, *RULES.stems, *RULES.apart})
ANY = some.characters(exclude_categories=())  # surrogates and unassigned characters too
TEXTS = some.lists(
    some.sampled_from(PIECES)
    | some.integers(0, 120).map(str)
    | some.text(ANY, max_size=6)
    | some.sampled_from(sorted({*RULES.folding.lookalikes, *RULES.folding.leet, *RULES.wild, *" .,-_\n\u3000\u200b"})),
    max_size=24,
).flatmap(lambda parts: some.sampled_from(["", " ", "-", "  "]).map(lambda between: between.join(parts)))


@pytest.mark.sized
@settings(max_examples=size(120, 600), deadline=None)
@given(TEXTS | some.text(ANY, max_size=400))
def test_any_text_gets_the_same_answer(edge: Ask, text: str) -> None:
    assert differing(edge, [text, text.upper()]) == []


def test_random_term_sequences_get_the_same_answer(edge: Ask) -> None:
    """Random sequences of pattern words, mostly of one language: they combine far more often than in ordinary text."""
    draw = random.Random(17)
    between = [" ", " ", " ", "", "-", ", ", "\u3000", "_", "*"]
    words = {code: [*known, *map(str, range(30))] for code, known in RULES.numbers.items()}
    for word, means in RULES.meanings.items():
        for code in {meaning.partition(".")[0] for meaning in means} & words.keys():
            words[code].append(word)
    texts = []
    for code in sorted(words) * 50:
        some_words = [draw.choice(words[code] if draw.random() < 0.9 else PIECES) for _ in range(draw.randint(2, 9))]
        texts.append("".join(word + draw.choice(between) for word in some_words))
    assert differing(edge, texts) == []
    assert len({python(text).get("rule_id") for text in texts}) > 40


@pytest.mark.parametrize(
    ("one", "ten", "rest", "years"), [("une", "dix", "sept", "ans"), ("una", "diez y", "siete", "años"), ("bir", "on", "yedi", "yaşında")]
)
def test_split_numbers_get_the_same_answer(edge: Ask, one: str, ten: str, rest: str, years: str) -> None:
    """Read as one number, they would be eighteen."""
    texts = [f"{one} {ten} {rest} {years}", f"{ten} {rest} {years}"]
    assert differing(edge, texts) == []
    assert not any(python(text)["allowed"] for text in texts)


def test_listed_adjacent_words_get_the_same_answer(edge: Ask) -> None:
    assert differing(edge, [row.replace(" ", between) for row in sorted(RULES.apart) for between in (" ", "  ", "-", "", "_", "\n")]) == []


def test_every_character_is_tokenised_the_same(edge: Ask) -> None:
    """All 1,114,112 characters, in runs of neighbours and one by one between letters."""
    rows = [range(start, start + 4096) for start in range(0, sys.maxunicode + 1, 4096)]
    texts = [between.join(map(chr, row)) for row in rows for between in ("", "a")]
    wrong = []
    for text, there in zip(texts, edge([{"read": text} for text in texts]), strict=True):
        known = RULES.folding.known(text)
        folded = RULES.folding.fold(known)
        view = View(RULES, folded, plain=True)
        here = {"marks": with_marks(known), "folded": folded, "tokens": view.tokens, "gaps": view.gaps, "parted": view.parted}
        wrong += [(ascii(text[:1]), key) for key in here if here[key] != there[key]]
    assert wrong == []


@pytest.mark.parametrize("unit", ["a", "😀", "\ud800"])
def test_long_texts_get_the_same_answer_or_both_none(edge: Ask, unit: str) -> None:
    full = (unit * MAX_TEXT)[:MAX_TEXT]
    assert differing(edge, [full, full + "a", full[:-8] + " toddler"]) == []
    assert python(full + "a") == {"unavailable": True}
    assert python(full[:-8] + " toddler")["allowed"] is False
