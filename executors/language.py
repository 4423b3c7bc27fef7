"""Check if a text is in the requested language, and if it is in one that the lexical screen knows: by script, then by py3langid's n-grams
(offline, under a millisecond per text).

Prompts are hard for any detector: short, lists of phrases, half of them names. So the check is not which language is likeliest, but whether
another one is far likelier. Over the table of tests/models/test_language.py, English is at worst 30 times less likely than the best other
language for English texts, and at least 3,000 times less likely for the others; `FAR` lies between the two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import cache
from itertools import groupby

from py3langid.langid import MODEL_FILE, LanguageIdentifier

FAR = 300.0  # times as likely
# Share of the letters: a sign in the scene may read 営業中, a sentence may not. (Qwen's most common slip is into Chinese.)
FOREIGN_SHARE = 0.1
SCRIPTS = {"en": "LATIN"}

# Languages that people write prompts in. With all 100 that the model knows, lists of names match the rare ones.
LANGUAGES = "ar bg bn cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv ms nl no pl pt ro ru sk sl sr sv sw th tl tr uk ur vi zh"


# Over the harmless prompts of the tests, a language without a table is at most 2.6 times as likely as the best one with a table; over
# sentences in 24 languages without a table (tests/security/test_unknown_language.py), at least 7 times.
UNKNOWN = 4.5
OTHERS = (
    "af am as az be br bs ca cy eo eu ga gd gl gu ha ht hy ig is jv ka kk km kn ku ky la lg ln lo mg mk ml mn mr mt my ne om or pa ps qu rw"
    " si sn so sq st ta te tg tk tt ug uz xh yo zu"
)
LETTERS = 12  # fewer say nothing about a language
# Scripts of the languages that have a table, as prefixes of Unicode character names.
TABLED = "LATIN CYRILLIC GREEK ARABIC HEBREW DEVANAGARI BENGALI THAI CJK HIRAGANA KATAKANA HANGUL"


@cache
def _identifier(languages: str) -> LanguageIdentifier:
    # Normalised by the text's length, so that a ratio means the same for a line as for a page.
    made = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    made.set_languages(languages.split())
    return made


def ready() -> None:
    """Load the language model, which unpacks a file of some MB: at an executor's start, not in its first job."""
    _identifier(f"{LANGUAGES} {OTHERS}")


def unknown(text: str, tabled: Collection[str]) -> str:
    """Return why no table of terms covers `text`, for an error message; empty if one does. `tabled`: the languages of the tables.

    Checks the whole text and each of its sentences: a sentence in another language could hide in a long text. Closely related languages
    (Norwegian and Swedish, Malay and Indonesian) pass as each other: the table mostly fits.
    """
    scripts = tuple(TABLED.split())
    for is_word, characters in groupby(unicodedata.normalize("NFKC", text), lambda c: unicodedata.category(c)[0] in "LM"):
        letters = [c for c in characters if c.isalpha()] if is_word else []
        if len(letters) > 1 and not any(unicodedata.name(letter, "").startswith(scripts) for letter in letters):
            return "a word is in a script that no table has"
    for part in (text, *re.split(r"[.!?\n]", text)):
        if sum(map(str.isalpha, part)) < LETTERS:
            continue
        likely = dict(_identifier(f"{LANGUAGES} {OTHERS}").rank(part))
        known = max(chance for name, chance in likely.items() if name in tabled)
        name, chance = max(likely.items(), key=lambda pair: pair[1] * (pair[0] not in tabled))
        if chance > UNKNOWN * known:
            return f"it reads as {name}"
    return ""


def far_from(text: str, language: str) -> str:
    """Return why `text` is not in `language` (a key of `SCRIPTS`), for an error message; empty if it may be."""
    letters = [character for character in text if character.isalpha()]
    foreign = sum(SCRIPTS[language] not in unicodedata.name(letter, "") for letter in letters)
    if foreign > FOREIGN_SHARE * len(letters):
        return f"{foreign} of its {len(letters)} letters are of another script"
    likely = dict(_identifier(LANGUAGES).rank(text))
    best = max(likely, key=lambda name: likely[name])
    return f"it reads as {best}" if likely[best] > FAR * likely[language] else ""
