"""Negative prompts by priority, token counts as in CLIP, and weight syntax."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sizes import size

from executors import clip_bpe
from executors.models.base import ModelPaths
from executors.prompts import NegativePrompt, build_negative, clip_token_count, is_weighted, parse_weights, sdxl_token_count, unweighted
from state.canonical import canonical

ALWAYS = ["child", "minor", "underage", "teen", "childlike"]


@pytest.fixture(scope="module")
def tokenizers(tiny_root: Path) -> tuple[Any, Any]:
    """transformers' own, loaded as by the pipeline; the vocabulary is CLIP's real one."""
    from transformers import CLIPTokenizer

    config = tiny_root / "sdxl-lustify" / "config"
    return tuple(CLIPTokenizer.from_pretrained(config / name, local_files_only=True) for name in ("tokenizer", "tokenizer_2"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def wan_tokenizer(tiny_root: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(ModelPaths(tiny_root).wan / "tokenizer", local_files_only=True)


def sayings() -> list[str]:
    """A few hundred strings: prompts, unusual scripts, and random mixtures of characters that the tokenizer treats specially."""
    said = [
        "",
        " ",
        "a photo of a cat",
        "masterpiece, best quality, (1girl:1.3), 8k uhd",
        "It's the dog's!! We'll see, I'd say '''ss",
        "<|startoftext|>hi<|endoftext|> <|STARTOFTEXT|>!! x <|startoftext|",
        "ΟΔΥΣΣΕΥΣ Σ İstanbul ÀÉ e\u0301 ß ẞ",
        "日本語 テスト 한국어 ไทยำ العربية 😀👩‍👩‍👧",
        "tab\tline\nnbsp\u00a0zwsp\u200bnel\x85fs\x1c",
        "1234 ½ ² Ⅷ 1.5mm f/1.8",
        "supercalifragilisticexpialidocious" * 3,
        "don't DON'T DON’T wow!!! hi!there !",
    ]
    chance = random.Random(7)
    alphabet = "abcXYZ '!?.,()<|>\n\t0129éßİΣ日😀\u0301\u200d\x1c\x85\u2028\u0e01"
    said += ["".join(chance.choices(alphabet, k=chance.randint(1, 40))) for _ in range(400)]
    words = list(clip_bpe.vocabulary())[1000:40000]
    said += [" ".join(chance.choices(words, k=12)).replace("</w>", " ") for _ in range(100)]
    return said


def test_known_prompts_have_the_ids_that_clip_gives_them() -> None:
    assert clip_bpe.token_ids("a photo of a cat") == [320, 1125, 539, 320, 2368]
    assert len(clip_bpe.vocabulary()) == 49_408
    assert (clip_bpe.vocabulary()[clip_bpe.BOS], clip_bpe.vocabulary()[clip_bpe.EOS]) == (49406, 49407)
    assert clip_token_count("a photo of a cat") == 7
    assert clip_token_count("") == 2


def test_token_ids_equal_those_of_transformers(tokenizers: tuple[Any, Any]) -> None:
    first, second = tokenizers
    for text in sayings():
        ids = first(text)["input_ids"]
        assert clip_bpe.token_ids(text) == ids[1:-1], text
        assert clip_token_count(text) == len(ids), text
        assert sdxl_token_count(text) == max(len(ids), len(second(text)["input_ids"])), text


@pytest.mark.parametrize("use", [("sdxl", "image"), ("wan", "image"), ("wan", "video")])
@pytest.mark.sized
@settings(max_examples=size(25, 60), deadline=None)
@given(user=st.one_of(st.none(), st.text(max_size=300), st.text("ab, !()1.:+-\n", max_size=2000)))
def test_terms_against_minors_always_come_first(use: tuple[str, Any], user: str | None) -> None:
    made = build_negative(*use, user_negative=user)
    assert made.text.split(", ")[:5] == ALWAYS
    # Whatever the user wrote, these words keep full weight.
    assert parse_weights(made.text)[0][1] == 1.0
    assert parse_weights(made.text)[0][0].startswith("child, minor, underage, teen, childlike")


@pytest.mark.sized
@settings(max_examples=size(25, 60), deadline=None)
@given(
    user=st.one_of(
        st.text(max_size=300),
        st.lists(st.sampled_from(["bad art", "!!!!", "日本語の", "(ugly:1.4)", "x" * 60]), max_size=60).map(", ".join),
    )
)
def test_sdxl_negatives_always_fit_in_one_pass(tokenizers: tuple[Any, Any], user: str) -> None:
    made = build_negative("sdxl", "image", user)
    assert max(len(t(made.text)["input_ids"]) for t in tokenizers) == made.tokens
    assert made.tokens is not None
    assert made.tokens <= 77


def test_sdxl_fills_the_window_and_drops_the_least_important_first() -> None:
    made = build_negative("sdxl", "image")
    assert made.text.split(", ")[5:9] == CRITICAL
    assert made.dropped and not made.cut
    assert all(sdxl_token_count(f"{made.text}, {term}") > 77 for term in made.dropped)
    squeezed = build_negative("sdxl", "image", "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 2)
    assert set(made.dropped) < set(squeezed.dropped)


def test_user_terms_come_after_mandatory_and_before_quality_terms() -> None:
    for family, output in (("sdxl", "image"), ("wan", "video")):
        terms = build_negative(family, output, "Cars,  neon\nsigns, Low Quality, bad anatomy, (Missing limbs:1.3), Child").text.split(", ")
        assert terms[5:7] == ["extra limbs", "deformed"]
        assert terms[7:13] == [
            "Cars",
            "neon",
            "signs",
            "Low Quality",
            "bad anatomy",
            "(Missing limbs:1.3)",
        ]  # only once, at the user's position
        assert [t.casefold() for t in terms].count("low quality") == 1
        assert "Child" not in terms


def test_an_overlong_user_text_is_cut_between_terms_and_reported() -> None:
    made = build_negative("sdxl", "image", ", ".join(f"thing number {i}" for i in range(60)))
    kept = made.text.split(", ")[9:]
    assert made.text.split(", ")[5:9] == CRITICAL
    assert kept[:-1] == [f"thing number {i}" for i in range(len(kept) - 1)]  # and one short term of ours
    assert made.dropped[:2] == (f"thing number {len(kept) - 1}", f"thing number {len(kept)}")
    assert made.cut == 60 - (len(kept) - 1)


def test_a_single_term_too_long_is_cut_between_words() -> None:
    made = build_negative("sdxl", "image", "very " * 200 + "ugly")
    assert set(made.text.split(", ")[9].split()) == {"very"}
    assert (made.tokens, made.cut) == (77, 1)
    assert made.dropped[0].endswith("very ugly")


# Counts of seed 004 ("Implementation by Job Type"): its lists, one line per category; symmetry and proportions are one line, two terms.
CRITICAL = ["bad anatomy", "extra limbs", "deformed", "missing limbs"]
ANATOMY = {
    "hands": "deformed hands, deformed fingers, extra fingers, missing fingers",
    "feet": "deformed feet, deformed toes, extra toes, missing toes",
    "face": "deformed face, deformed eyes, deformed nose, deformed mouth",
    "body": "deformed body, deformed torso, deformed arms, deformed legs",
    "joints": "malformed joints, dislocated joints, broken bones",
    "symmetry": "asymmetrical features",
    "proportions": "uneven proportions, distorted anatomy",
}
ARTIFACTS = {
    "blur": "blurry, pixelated, grainy, noisy",
    "marks": "text, watermark, logo, signature, writing",
    "corruption": "glitch, artifact, corruption, distortion",
    "light": "oversaturated, undersaturated, bad lighting",
    "camera": "motion blur, camera shake, focus issues",
}
NSFW = (
    "deformed breasts, deformed nipples, extra breasts, missing breasts, deformed genitals, extra genitals, missing genitals, "
    "inappropriate anatomy, wrong anatomy, anatomical errors, body part deformities, anatomical deformities, distorted bodies, "
    "unnatural poses, impossible anatomy, merged bodies, conjoined, fused limbs, wrong proportions, size mismatch, scale errors"
)
VIDEO = (
    "motion artifacts, temporal inconsistency, frame stuttering, object morphing, identity changes, face swapping, lighting jumps, "
    "exposure changes, color bleeding, static, frozen, glitchy, artifacts, frame drops, inconsistent lighting, flickering, color shifts"
)
QUALITY = "low quality, bad quality, worst quality, jpeg artifacts, compression artifacts, blurry, pixelated, grainy, noisy"

PAIRS = [
    "cartoon style", "oil painting", "red car", "heavy snow", "empty street", "ugly clothes", "bad weather", "crowded background",
    "wooden table", "plastic toys", "grey sky", "dirty floor", "broken window", "old phone", "cheap jewelry", "loud pattern",
    "harsh shadow", "green walls", "empty bottles", "paper bags", "neon sign", "blue carpet", "rusty metal", "dead plants",
    "open drawer", "tall fence", "parked truck", "garden chair", "torn poster", "coffee mug",
]  # fmt: skip
SINGLE = "cartoon, anime, sketch, painting, ugly, cropped, crowd, snow"


def counts(made: NegativePrompt, user: list[str]) -> dict[str, int]:
    terms = made.text.split(", ")
    ours = [t for t in terms if t not in user]
    return {
        "critical": len(set(CRITICAL) & set(terms)),
        "anatomy": sum(any(t in line.split(", ") for t in ours) for line in ANATOMY.values()),
        "artifacts": sum(any(t in line.split(", ") for t in ours) for line in ARTIFACTS.values()),
        "nsfw": len(set(NSFW.split(", ")) & set(ours)),
        "video": len(set(VIDEO.split(", ")) & set(ours)),
        "quality": len(set(QUALITY.split(", ")) & set(ours)),
        "user": sum(len(t.split()) for t in user if t in terms),
    }


@pytest.mark.parametrize(
    ("use", "user", "expected"),
    [  # critical of 4, anatomy of 7, artifacts of 5, nsfw, video, quality, the user's words
        (("sdxl", "image"), [], (4, 4, 3, 6, 0, 5, 0)),
        (("sdxl", "image"), PAIRS[:4], (4, 4, 3, 6, 0, 1, 8)),
        (("sdxl", "image"), SINGLE.split(", "), (4, 4, 3, 5, 0, 1, 8)),
        (("sdxl", "image"), PAIRS[:10], (4, 4, 3, 1, 0, 1, 20)),
        (("sdxl", "image"), PAIRS, (4, 0, 1, 0, 0, 0, 34)),
        (("wan", "image"), [], (4, 6, 4, 8, 0, 9, 0)),
        (("wan", "image"), PAIRS[:4], (4, 6, 4, 8, 0, 9, 8)),
        (("wan", "image"), PAIRS[:10], (4, 6, 4, 8, 0, 9, 20)),
        (("wan", "image"), PAIRS, (4, 6, 4, 8, 0, 9, 60)),
        (("wan", "video"), [], (4, 7, 5, 21, 17, 9, 0)),
        (("wan", "video"), PAIRS[:4], (4, 7, 5, 21, 17, 9, 8)),
        (("wan", "video"), PAIRS[:10], (4, 7, 5, 21, 17, 9, 20)),
        (("wan", "video"), PAIRS, (4, 7, 5, 21, 17, 9, 60)),
    ],
)
def test_seed_004_counts_hold_with_user_terms(use: tuple[str, Any], user: list[str], expected: tuple[int, ...]) -> None:
    made = build_negative(*use, user_negative=", ".join(user))
    assert tuple(counts(made, user).values()) == expected, (made.tokens, made.text)
    if use[0] == "sdxl":
        assert made.tokens is not None and made.tokens <= 77
    else:  # CLIP splits English into at least as many tokens as UMT5, whose vocabulary is five times as large
        assert clip_token_count(made.text) <= 512


@pytest.mark.parametrize("use", [("wan", "image"), ("wan", "video")])
def test_wan_drops_the_least_important_terms_at_its_window(use: tuple[str, Any], wan_tokenizer: Any) -> None:
    """With the tiny model's tokenizer, which uses a token per letter: the tightest possible window."""
    made = build_negative(*use, user_negative=SINGLE, count=lambda text: len(wan_tokenizer(text)["input_ids"]))
    whole = build_negative(*use, user_negative=SINGLE)
    assert made.tokens is not None and 450 < made.tokens <= 512 and made.dropped and not made.cut
    found = counts(made, SINGLE.split(", "))
    assert (found["critical"], found["user"]) == (4, 8) and found["anatomy"] >= 4 and found["artifacts"] >= 3
    # The pipeline itself truncates at the end: the terms there are the ones that would be dropped.
    assert whole.text.startswith(made.text[:400])


def test_a_term_without_spaces_is_cut_between_characters_not_lost() -> None:
    said = canonical("低质量的图像变形的手和脸多余的手指模糊的背景文字水印以及畸形的身体和错误的比例还有奇怪的颜色")
    made = build_negative("sdxl", "image", said)
    kept = made.text.split(", ")[9]
    assert said.startswith(kept) and len(kept) > 10
    assert (made.cut, kept + made.dropped[0]) == (1, said)


@pytest.mark.parametrize(
    "said", ["bad anatomy", "(bad anatomy:1.4)", "((bad anatomy))", "[Bad Anatomy]", "(ugly, bad anatomy)1.2", "bad anatomy++"]
)
def test_user_terms_are_not_repeated_in_any_notation(said: str) -> None:
    made = build_negative("sdxl", "image", said)
    assert made.text.casefold().count("bad anatomy") == 1 and said in made.text


def test_chinese_commas_separate_terms() -> None:
    made = build_negative("sdxl", "image", canonical("低质量，变形的手，多余的手指"))
    assert made.text.split(", ")[9:12] == ["低质量", "变形的手", "多余的手指"]


def test_a_weighted_group_stays_whole_with_its_commas() -> None:
    assert "(ugly, bad:1.4)" in build_negative("sdxl", "image", "cars, (ugly, bad:1.4), dogs").text
    assert build_negative("wan", "image", "cars, (ugly, bad:1.4").text.count("(ugly, bad:1.4") == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a (red cat)1.3 on", [("a ", 1.0), ("red cat", 1.3), (" on", 1.0)]),
        ("a (red cat:1.3) on", [("a ", 1.0), ("red cat", 1.3), (" on", 1.0)]),
        ("(cat)++ (dog)-", [("cat", 1.21), (" ", 1.0), ("dog", 0.9)]),
        ("cat++, dog--", [("cat", 1.21), (", ", 1.0), ("dog", 0.81)]),
        ("(a (b:1.5) c)0.5", [("a ", 0.5), ("b", 0.75), (" c", 0.5)]),
        ("((a)1.2:1.5)", [("a", 1.8)]),
        ("(a)9 (b:0)", [("a", 2.0), (" ", 1.0), ("b", 0.0)]),
        ("(cat)1.3. Then", [("cat", 1.3), (". Then", 1.0)]),
    ],
)
def test_weights_are_read_in_both_notations(text: str, parts: list[tuple[str, float]]) -> None:
    assert [(t, pytest.approx(w)) for t, w in parts] == parse_weights(text)
    assert is_weighted(text)


@pytest.mark.parametrize(
    "text",
    [
        "a plain cat",
        "(soft light), a (very) tall man",
        "a mid-century half- open door",
        "18+ only, 50mm f/1.8",
        "smile :) and (: again (",
        "C:\\art\\new",
        "(x)-ray",
        "(a)1.3mm",
        "5+5=10",
        '("a", "b").and()',
        "cat.swap(dog)",
    ],
)
def test_text_that_is_not_weight_syntax_is_kept(text: str) -> None:
    assert parse_weights(text) == [(text, 1.0)]


def test_a_backslash_escapes_a_bracket() -> None:
    assert parse_weights(r"a \(cat\)1.3") == [("a (cat)1.3", 1.0)]


@pytest.mark.sized
@settings(max_examples=size(40, 200), deadline=None)
@given(st.text("ab ()+-:.1\\,", max_size=60))
def test_parsing_weights_never_fails_or_loses_words(text: str) -> None:
    parts = parse_weights(text)
    assert parts
    assert all(0 <= weight <= 2 for _, weight in parts)
    assert unweighted(text).count("a") == text.count("a")
    assert unweighted(text).count("b") == text.count("b")
