"""The lexical screen: each term in each disguise, each age, and harmless prompts. Fixtures are bare terms in neutral sentences."""

from __future__ import annotations

import re
import shutil
import threading
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from disguises import LANGUAGES, POLICY, disguised, latin, leet, listed
from hypothesis import example, given, settings
from hypothesis import strategies as some
from sizes import size
from waiting import LIMIT

from ourvidz.safety.lexical import MAX_TEXT, LexicalScreen
from ourvidz.safety.lookalikes import squeezed
from ourvidz.safety.rules import TERMS, load_rules
from ourvidz.safety.screen import ScreenUnavailable, Verdict, guarded_check
from state import kinds

HARMLESS = [line for line in (Path(__file__).parent / "data" / "harmless_prompts.txt").read_text().splitlines() if line]
SCREEN = LexicalScreen()
RULES = load_rules(TERMS)


def allowed(text: str) -> bool:
    return SCREEN.check(text).allowed


# --- terms in disguise


@pytest.mark.parametrize("code", LANGUAGES)
def test_terms_are_refused_in_every_disguise(code: str) -> None:
    """A sample of each language; test_screen_edge.py covers all terms, on the edge functions' screen as well."""
    passed = [(name, word) for name, word, text in disguised(code, first=24, share=6) if allowed(f"a photo of {text}")]
    assert passed == []


@pytest.mark.parametrize("code", LANGUAGES)
def test_plurals_stems_and_endings_are_refused(code: str) -> None:
    for word in listed(code, "words"):
        for suffix in LANGUAGES[code].get("suffixes", ()):
            assert not allowed(f"photo of some {word}{suffix}, outdoors"), word
    for part in listed(code, "inside"):
        for text in (part, f"xx{part}xx", f"#cute{part.upper()}s", " ".join(part), leet(part) if latin(part) else part):
            assert not allowed(f"a photo of {text}"), text
    for stem in listed(code, "stems"):
        for text in (stem, f"{stem}ами", f"{stem.upper()}А", " ".join(stem)):
            assert not allowed(f"a photo of {text}"), text
    for word in listed(code, "exact"):
        assert not allowed(f"a photo of {word}") and not allowed(f"a photo of {unicodedata.normalize('NFD', word.upper())}")


def test_words_in_mixed_scripts_are_refused() -> None:
    for word in ("ребенок", "девочка", "школьница"):
        assert not allowed("фото " + word.translate(str.maketrans("реоаскх", "peoackx")))


@pytest.mark.parametrize("emoji", ["👶", "👧", "👦🏽", "🧒🏿", "👨‍👩‍👧"])
def test_emoji_of_children_are_refused(emoji: str) -> None:
    assert not allowed(f"a photo of {emoji}")


@pytest.mark.parametrize(
    "text",
    """
    little girl; a young boy; a young, pretty girl; little blonde girl; young_girl; tiny asian girl; her little sister; my young cousin
    school uniform; a high school; middle schooler; 5th grade; fifth grader; in grade 6; year 9 student; junior high; girl scout
    petite fille; une jeune fille; ein Kind; kleiner Junge; giovane ragazza; pequeña chica; niño pequeño; una nina
    jovem garota; юная девушка; маленькая сестра; école primaire; scuola media; barely legal; sweet sixteen; in her teens; a minor
    la menor; una menor que baila; baby; under age; pre teen; pre-teen; school girl; no, kids on a beach; say no. Kids
    """.replace("\n", ";").split(";"),
)
def test_patterns_of_words_are_refused(text: str) -> None:
    assert not text.strip() or not allowed(f"a photo of {text.strip()}")


# --- ages

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen"]
WORDS += ["fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
WORDS += [f"{tens}{unit}" for tens in TENS for unit in ("", *(f"-{word}" for word in WORDS[1:10]))]

AGES = [
    "{n} years old", "{n} year old woman", "{n}-year-old", "{n} yrs old", "{n} yr old", "{n}yo", "{n} yo", "{n} y.o.", "{n} y/o", "{n} Y O",
    "{n}yearold", "{n} years of age", "aged {n}", "age {n}", "age: {n}", "at the age of {n}", "{n} years young", "{n} y e a r s o l d",
    "she is {n}", "she's {n} and smiling", "he is only {n}", "turned {n}", "looks {n}", "looks like {n}", "looks about {n}",
    "girl, {n}, outdoors",
    "boy ({n})", "a girl of {n}", "{n} y34rs 0ld", "{n} years\u200b old", "{n}\u00a0years\u2003old",
    "{n} to 60 years old", "{n}-60 years old",
    "de {n} años", "{n} anos de idade", "âgée de {n} ans", "{n} Jahre alt", "{n}-jährige", "{n} anni", "{n} лет", "{n}-летняя", "{n}岁",
    "{n} 岁", "{n}歳", "{n}才",
]  # fmt: skip
DIGITS: dict[str, Callable[[int], str]] = {
    "ascii": str,
    "full width": lambda n: "".join(chr(0xFF10 + int(d)) for d in str(n)),
    "Arabic": lambda n: "".join(chr(0x0660 + int(d)) for d in str(n)),
    "bold": lambda n: "".join(chr(0x1D7CE + int(d)) for d in str(n)),
    "circled": lambda n: chr(0x2460 + n - 1) if 1 <= n <= 20 else str(n),
    "parted": lambda n: " ".join(str(n)),
    "invisibly parted": lambda n: "\u200b".join(str(n)),
}


@pytest.mark.sized
@settings(max_examples=size(120, 600), deadline=None)
@given(age=some.integers(3, 99), phrase=some.sampled_from(AGES), digits=some.sampled_from(sorted(DIGITS)))
@example(age=17, phrase="{n} years old", digits="ascii")
@example(age=18, phrase="{n} years old", digits="ascii")
def test_ages_in_digits(age: int, phrase: str, digits: str) -> None:
    text = f"a photo of a person, {phrase.format(n=DIGITS[digits](age))}, smiling"
    assert allowed(text.replace("a girl", "a woman") if age >= 18 else text) == (age >= 18), text


@pytest.mark.sized
@settings(max_examples=size(60, 300), deadline=None)
@given(age=some.integers(3, 99), phrase=some.sampled_from([a for a in AGES if a.isascii() and not re.search("anni|Jahre|anos|}y", a)]))
def test_ages_in_words(age: int, phrase: str) -> None:
    spaced = " ".join(WORDS[age]) if age < 18 else WORDS[age]  # "e i g h t e e n" is refused for its ending
    for word in (WORDS[age], WORDS[age].upper(), WORDS[age].replace("-", " "), spaced):
        text = f"a photo of a person, {phrase.format(n=word)}, smiling"
        assert allowed(text) == (age >= 18), text


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("dieciséis años", 16), ("diecisiete años", 17), ("veinte años", 20), ("treinta y cinco años", 35), ("treinta y uno años", 31),
        ("seize ans", 16), ("dix-sept ans", 17), ("dix-huit ans", 18), ("vingt et un ans", 21), ("quatre-vingt-un ans", 81),
        ("sechzehn Jahre alt", 16), ("sechzehnjährige", 16), ("siebzehn Jahre alt", 17), ("fünfundzwanzig Jahre alt", 25),
        ("zwanzig Jahre alt", 20),
        ("sedici anni", 16), ("sedicenne", 16), ("venticinque anni", 25), ("dezesseis anos", 16), ("vinte e cinco anos", 25),
        ("шестнадцать лет", 16), ("шестнадцатилетняя", 16), ("семнадцати лет", 17), ("двадцать один год", 21), ("тридцать пять лет", 35),
        ("十六岁", 16), ("十七歳", 17), ("十八岁", 18), ("二十五岁", 25), ("三十五歳", 35), ("五岁", 5), ("两岁", 2),
        ("عمرها ١٥ سنة", 15), ("خمسة عشر عاما", 15), ("سبع عشرة سنة", 17), ("ثمانية عشر عاما", 18), ("خمسة وعشرون عاما", 25),
        ("دون سن 18", 17),
        ("عشر سنوات", 10), ("عشرون عاما", 20), ("ستاشر سنة", 16),
        ("पंद्रह साल की", 15), ("१६ वर्षीय", 16), ("सत्रह साल", 17), ("अठारह साल", 18), ("पच्चीस साल की", 25), ("30 साल की", 30),
        ("उम्र 16", 16),
        ("15세", 15), ("17 세 여자", 17), ("열다섯 살", 15), ("열일곱살의", 17), ("열여덟 살", 18), ("스물다섯 살", 25),
        ("스물 다섯 살", 25), ("십육 세", 16),
        ("18세 미만", 17), ("25세 여성", 25), ("서른 살", 30), ("10대", 10), ("20대 여성", 20), ("다섯살", 5), ("스물다섯살", 25),
        ("on altı yaşında", 16), ("bir on yedi yaşında", 17), ("onyedi yaşında", 17), ("on sekiz yaşında", 18), ("yirmi beş yaşında", 25),
        ("18 yaş altı", 17), ("18 yaşından küçük", 17), ("30 yaşında", 30), ("on yaşında", 10),
        ("szesnaście lat", 16), ("siedemnastu lat", 17), ("17-letnia", 17), ("szesnastoletnia", 16), ("osiemnaście lat", 18),
        ("25-letnia", 25),
        ("dwadzieścia pięć lat", 25), ("osiemnastoletnia", 18), ("dwudziestopięcioletnia", 25), ("poniżej 18 lat", 17),
        ("une dix-sept ans", 17), ("una diez y siete años", 17), ("quatre-vingt-dix-sept ans", 97), ("soixante-dix-sept ans", 77),
        ("one hundred years old", 100), ("one hundred and five years old", 105), ("5 hundred years old", 500), ("1,000 years old", 1000),
        ("18.5 years old", 18), ("2.5 years old", 2), ("twenty one years old", 21), ("fourty two years old", 42), ("00017 years old", 17),
        ("6 months old", 0), ("eighteen months old", 1), ("40 weeks old", 0), ("1 year old", 1), ("l7 years old", 17),
        ("17 or 18 years old", 17),
        ("17-19 years old", 17), ("18-25 years old", 18), ("between 15 and 20 years old", 15), ("a 16f", 16), ("16 girl", 16),
        ("17 yrs", 17), ("under 18", 17), ("under the age of 18", 17), ("younger than 18", 17), ("未满18岁", 17), ("18歳未満", 17),
        ("十代の女性", 17), ("20代の女性", 20), ("unter 18 Jahren", 17),
        ("not yet eighteen", 17), ("nearly 18", 17), ("she will be 17", 17), ("years old: 17", 17),
        ("her 16th birthday", 16), ("fifteenth birthday", 15), ("her 18th birthday", 18), ("elle a 16 ans", 16), ("ela faz 16 anos", 16),
        ("выглядит на 16 лет", 16), ("she is 15 in a park", 15), ("she is 15 with long hair", 15), ("aged 12 years in a garden", 12),
        ("17 yrs in the park", 17), ("1" * 4000 + " years old", 99),
    ],
)  # fmt: skip
def test_ages_in_other_words(text: str, age: int) -> None:
    assert allowed(f"a photo of a person, {text}, smiling") == (age >= 18)


# --- harmless prompts


def test_harmless_prompts_pass() -> None:
    refused = [(line, SCREEN.check(line).rule_id) for line in HARMLESS if not allowed(line)]
    assert len(set(HARMLESS)) >= 500 and len(refused) <= len(HARMLESS) / 100, refused


def test_listed_adjacent_words_pass_unless_joined() -> None:
    assert len(RULES.apart) > 10
    for row in RULES.apart:
        assert allowed(f"a lamp, {row} lamp"), row
        for joined in ("", "-", ".", "_"):
            assert not allowed(f"a lamp, {row.replace(' ', joined)} lamp"), row


@pytest.mark.parametrize("text", ["", " ", "\n", "!!!", "17", "🙂", "\ud800", "\x00", "*", "a*b", "١٧", "①"])
def test_unusual_harmless_texts_are_allowed(text: str) -> None:
    assert allowed(text)


def test_numbers_in_one_character_are_read() -> None:
    for seventeen in ("❶❼", "➀➆", "⓱", "⑰", "⒘", "⓵⓻", "𝟙𝟟", "१७", "൧൭"):
        assert not allowed(f"{seventeen} years old"), seventeen
    for sentence in ("step ❶ of ❸", "⓴ years of marriage", "half a litre ½", "一 lighthouse"):
        assert allowed(sentence), sentence


def test_characters_that_vary_by_unicode_version_are_dropped() -> None:
    """Private-use, lone surrogate, assigned after Unicode 14, of changed category, unassigned. A surrogate pair is one character."""
    for nothing in ("\ue000", "\ud83d", "\udc76", "\U0001fae8", "\U0001171e", "\u0378"):
        assert not allowed(f"a photo of a tod{nothing}dler") and not allowed(f"una foto de ni{nothing}ña"), ascii(nothing)
    assert not allowed("a photo of a \ud83d\udc76")
    unknown = [c for c in map(chr, range(0x110000)) if RULES.folding.unknown.fullmatch(c)]
    assert len(unknown) == 969_351 and not any(c in RULES.folding.lookalikes or c in RULES.folding.replace for c in unknown)


@pytest.mark.sized
@settings(max_examples=size(60, 300), deadline=None)
@given(some.text(max_size=200))
def test_any_text_gets_a_verdict_that_does_not_quote_it(text: str) -> None:
    verdict = SCREEN.check(text)
    assert verdict.allowed == (verdict.category is None) == (verdict.rule_id is None)


@pytest.mark.sized
@settings(max_examples=size(40, 200), deadline=None)
@given(before=some.text(max_size=60), after=some.text(max_size=60))
def test_a_term_is_found_in_any_context(before: str, after: str) -> None:
    assert not allowed(f"{before} , a toddler , {after}")


def test_a_refusal_names_rules_not_words() -> None:
    verdict = SCREEN.check("a photo of a toddler")
    assert verdict == Verdict(False, RULES.policy_version, "minors", "en/word")
    rules = {rule for means in RULES.meanings.values() for rule in means if "/" in rule} | {p.rule_id for p in RULES.patterns}
    # A rule's name may say "school", but must not identify single terms.
    assert len(rules) <= 6 * len(LANGUAGES)
    assert {rule.partition("/")[2] for rule in rules} <= {*kinds.RULES}, "the database would not record it"


# --- it fails closed


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TERMS, tmp_path / "terms"))


def unavailable(folder: Path) -> None:
    with pytest.raises(ScreenUnavailable) as raised:
        LexicalScreen(folder).check("a photo of a lighthouse")
    assert "lighthouse" not in str(raised.value) and raised.value.retryable and raised.value.__suppress_context__


def test_missing_data_fails_closed(data: Path, tmp_path: Path) -> None:
    unavailable(tmp_path / "nowhere")
    (data / "ru.toml").unlink()
    unavailable(data)


@pytest.mark.parametrize("name", [p.name for p in sorted(TERMS.glob("*.toml"))])
def test_truncated_data_fails_closed(data: Path, name: str) -> None:
    whole = (data / name).read_text()
    lines = whole.splitlines(keepends=True)
    for cut in {*range(0, len(lines), 7), len(lines) - 1}:
        (data / name).write_text("".join(lines[:cut]))
        unavailable(data)
    (data / name).write_text(whole)
    assert LexicalScreen(data).check("a photo of a lighthouse").allowed


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("en.toml", 'language = "en"', 'language = "es"'),
        ("en.toml", "match = ", "matsch = "),
        ("en.toml", '"N year old !thing"', '"N yaer old !thing"'),
        ("en.toml", '"0 zero"', '"nil zero"'),
        ("en.toml", "complete = true", "complete = false"),
        ("en.toml", "words = ", "werds = "),
        ("en.toml", "toddler", "toddler \u200b"),
        ("policy.toml", 'version = "', 'wersion = "'),
        ("policy.toml", '"de", ', ""),
        ("policy.toml", 'z = "', 'z = "а'),
        ("unicode.toml", "complete = true", "complete = false"),
        ("unicode.toml", "0378-0379", "0378-"),
        ("unicode.toml", "0378-0379", "0379-0378"),
    ],
)
def test_wrong_data_fails_closed(data: Path, name: str, old: str, new: str) -> None:
    text = (data / name).read_text()
    assert old in text
    (data / name).write_text(text.replace(old, new, 1))
    unavailable(data)


def test_repaired_data_is_loaded_again(data: Path) -> None:
    (data / "en.toml").rename(data / "en.away")
    screen = LexicalScreen(data)
    with pytest.raises(ScreenUnavailable):
        screen.check("a lighthouse")
    (data / "en.away").rename(data / "en.toml")
    assert screen.check("a lighthouse").allowed


def test_the_policy_version_identifies_the_data(data: Path) -> None:
    assert load_rules(data).policy_version == RULES.policy_version
    (data / "en.toml").write_text((data / "en.toml").read_text().replace("toddler", "toddler tiddler", 1))
    assert load_rules(data).policy_version != RULES.policy_version
    assert load_rules(data).policy_version.startswith(POLICY["version"] + "+")


def test_every_word_class_is_used_by_a_pattern() -> None:
    used = {item.strip("!") for p in (*RULES.patterns, *RULES.harmless) for item in p.items}
    named = {f"{code}.{name}" for code, file in LANGUAGES.items() for name in file["classes"]}
    assert {n for n in named - used if not n.endswith((".tens", ".teens", ".times", ".and"))} == set()


def test_an_overlong_text_gets_no_verdict() -> None:
    with pytest.raises(ScreenUnavailable):
        SCREEN.check("a" * (MAX_TEXT + 1))


@pytest.mark.parametrize("text", [None, b"a lighthouse", 17])
def test_non_text_gets_no_verdict(text: object) -> None:
    with pytest.raises(ScreenUnavailable):
        SCREEN.check(text)  # type: ignore[arg-type]


class Screen:
    def __init__(self, answer: Callable[[], object]) -> None:
        self.answer = answer

    def check(self, text: str) -> Verdict:
        return self.answer()  # type: ignore[return-value]


def throw(error: BaseException) -> object:
    raise error


@pytest.mark.parametrize(
    "answer",
    [
        lambda: None,
        lambda: True,
        lambda: "allowed",
        lambda: Verdict(True, ""),
        lambda: Verdict(True, "1", "minors"),
        lambda: Verdict(False, "1"),
        lambda: Verdict("no", "1", None),  # type: ignore[arg-type]
        lambda: throw(ScreenUnavailable("a lighthouse")),
        lambda: throw(RuntimeError("a lighthouse")),
        lambda: throw(MemoryError()),
        lambda: throw(SystemExit(0)),
    ],
)
def test_a_guarded_screen_fails_closed(answer: Callable[[], object]) -> None:
    with pytest.raises(ScreenUnavailable) as raised:
        guarded_check(Screen(answer), "a lighthouse")
    assert "lighthouse" not in str(raised.value) and raised.value.__cause__ is None and raised.value.__context__ is None


def test_a_hung_guarded_screen_is_abandoned() -> None:
    release = threading.Event()
    with pytest.raises(ScreenUnavailable, match="no answer within"):
        guarded_check(Screen(lambda: release.wait(LIMIT)), "a lighthouse", timeout_s=0.05)
    release.set()


def test_a_guarded_screen_returns_its_verdicts() -> None:
    assert guarded_check(SCREEN, "a lighthouse").allowed
    assert not guarded_check(SCREEN, "a photo of a toddler").allowed


# --- linear time

ADVERSARIAL = {
    "prose": "a woman in a red dress on a rooftop at dusk ",
    "letters": "t e ",
    "dots": "t.e.",
    "one word": "te",
    "same letter": "e",
    "digits": "1",
    "parted digits": "1 ",
    "numbers": "twenty one ",
    "thousands": "1,000,",
    "leet": "t3",
    "symbols": "!@",
    "stars": "a*",
    "almost": "toddle toddle",
    "young": "young pretty ",
    "classes": "no minor no one under ",
    "years": "17 year ",
    "Chinese": "小女",
    "numerals": "十六",
    "marks": "e\u0301\u0301",
    "expands": "\ufdfa",
    "zero width": "\u200b",
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_checking_time_is_linear_in_length(name: str) -> None:
    def seconds(length: int) -> float:
        text = (ADVERSARIAL[name] * length)[:length]
        start = time.process_time()
        SCREEN.check(text)
        return time.process_time() - start

    # Eight times the length: a quadratic step would take 64 times as long. The constant is for coarse clocks.
    most = 24 * min(seconds(500) for _ in range(3)) + 0.05
    assert any(seconds(4_000) < most for _ in range(3))


def test_squeezed_shortens_repeated_letters() -> None:
    assert squeezed("teen") == ["teen"]
    assert squeezed("teeeen") == ["teeeen", "ten", "teen"]
    assert squeezed("ookkk") == ["ookkk", "ook", "ookk"]
