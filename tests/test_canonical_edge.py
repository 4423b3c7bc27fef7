"""Canonical text and negative prompts: the edge against Python, for every character, every character reference and any text."""

from __future__ import annotations

import json
import sys
from html.entities import html5
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sizes import size
from test_screen_edge import Ask, edge  # noqa: F401  (the fixture: one Deno process)

from ourvidz.safety.lexical import LexicalScreen
from ourvidz.safety.negative import FOLDER, NegativeScreen, kept_out
from ourvidz.safety.rules import TERMS, load_rules
from ourvidz.safety.texts import read
from state.canonical import Unreadable, canonical, plain, texts_in

NEGATIVES = NegativeScreen(LexicalScreen())

UNKNOWN = load_rules(TERMS).folding.unknown  # to Unicode 14: normalising newer characters depends on the runtime


def python(text: str) -> dict[str, Any]:
    try:
        return {"canonical": canonical(text)}
    except Unreadable:
        return {"unreadable": True}


def differing(edge: Ask, texts: list[str]) -> list[tuple[str, object, object]]:  # noqa: F811
    both = zip(texts, edge([{"canonical": text} for text in texts]), strict=True)
    return [(ascii(text), there, here) for text, there in both if there != (here := python(text))]


PIECES = some.sampled_from([
    "&", "&amp;",
    "&ampamp;", "#", "x", "99", ";", "&#99;", "&#x63", "&#X63;", "&lt", "<", "|", ">", "<|", "|>", "</s>", "<pad>", "＆", "＃",
    "&#0;", "&#1;", "&#128;", "&#xD800;", "&#1114112;", "&notit;",
    "&nosuch;", "\x1b[31m", " ", "\n", "\u200b", "\u00ad", "ﬁ", "½", "e\u0301",
    "(", ")", ":1.2", "1.3", "++", "-", ",", "child", "Teen", "fog",
])  # fmt: skip
TEXTS = some.lists(PIECES | some.text(max_size=4), max_size=20).map("".join).map(lambda text: UNKNOWN.sub("", text))


@pytest.mark.sized
@settings(max_examples=size(100, 500), deadline=None)
@given(TEXTS)
def test_any_text_has_the_same_canonical_form(edge: Ask, text: str) -> None:  # noqa: F811
    assert differing(edge, [text]) == []


@pytest.mark.sized
@settings(max_examples=size(60, 300), deadline=None)
@given(TEXTS)
def test_any_negative_prompt_has_the_same_reading(edge: Ask, text: str) -> None:  # noqa: F811
    check_negatives(edge, [text])


def test_negative_prompts_get_the_same_answer(edge: Ask) -> None:  # noqa: F811
    words = load_rules(FOLDER, base=TERMS).meanings
    texts = [
        f"{before}{word}{after}" for word in words for before, after in (("", ""), ("(", ":1.3), fog"), ("25 ", " old, "), ("over ", ""))
    ]
    check_negatives(edge, [*texts, *kept_out(), *(f"({word})1.2, fog\r\nrain" for word in kept_out())])


def check_negatives(edge: Ask, texts: list[str]) -> None:  # noqa: F811
    for text, there in zip(texts, edge([{"negative": text} for text in texts]), strict=True):
        try:
            left = read("negative", text).text
            here = {"text": left, "plain": plain(left), **vars(NEGATIVES.check(left))}
        except Unreadable:
            here = {"unreadable": True}
        assert there == here, ascii(text)


def test_every_character_reference_resolves_the_same(edge: Ask) -> None:  # noqa: F811
    names = [f"a&{name}b&{name.rstrip(';')};c&{name.rstrip(';')}" for name in html5]
    numbers = [f"a&#{n};b&#x{n:x} c" for n in [*range(0x400), *range(0xFFF0, 0x10010), 0x10FFFF, 0x110000, 10**30, 0xFDD0]]
    odd = [
        "&#;",
        "&#x;",
        "&;",
        "&#x",
        "&" * 50,
        "&" + "amp;" * 15 + "#99;",
        "&" + "amp;" * 40 + "#99;",
        "&#" + "9" * 2000,
        "\ud800",
        "a" * 20_001,
    ]
    assert differing(edge, names + numbers + odd) == []
    assert (
        python("&" + "amp;" * 40 + "#99;") == python("&#" + "9" * 2000) == python("\ud800") == python("a" * 20_001) == {"unreadable": True}
    )


def test_every_known_character_has_the_same_canonical_form(edge: Ask) -> None:  # noqa: F811
    rows = ["a".join(map(chr, range(start, start + 1024))) for start in range(0, sys.maxunicode + 1, 1024) if not 0xD800 <= start < 0xE000]
    assert differing(edge, [UNKNOWN.sub("", row) for row in rows]) == []


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "a pier", "deep": [{"note": "fog"}, ["fog", None, 5, True]], "a key": 1},
        ["https://x.test/a%20b", "https://x.test/ a", "blob:https://x.test/1", "data:image/png;base64,AA==", "data:hello"],
        ["0190a0f2-0000-7000-8000-0000000000aa", "images/0190a0f2-0000-7000-8000-0000000000aa/a-b.png", "2025-07-10T12:17:00.5Z", "12-18"],
        ["тест", "二", "1.0", "", "0190a0f2-0000-7000-8000-0000000000aa a"],
        json.loads("[" * 40 + "]" * 40),
    ],
)
def test_the_same_texts_are_found_in_json(edge: Ask, value: Any) -> None:  # noqa: F811
    try:
        here: dict[str, Any] = {"texts": sorted(texts_in(value))}
    except Unreadable:
        here = {"unreadable": True}
    (there,) = edge([{"texts": value}])
    assert {name: sorted(found) if name == "texts" else found for name, found in there.items()} == here  # type: ignore[call-overload]
