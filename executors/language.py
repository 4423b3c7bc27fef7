"""Whether a text is in the language that was asked for: its script, then py3langid's n-grams (offline, under a millisecond a text).

A prompt is a hard text for any detector: short, a list of phrases, half of it names. So the question is not which language it is in, but
whether another one is far likelier. Over the table of tests/models/test_language.py, English is at worst 30 times less likely than the
best other language, and a text in another one at least 3,000 times; `FAR` lies between the two.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

FAR = 300.0  # times as likely
# Of the letters: a sign in the scene may read 営業中, a sentence may not. (Qwen slips into Chinese before any other.)
FOREIGN_SHARE = 0.1
SCRIPTS = {"en": "LATIN"}

# Those that people write prompts in. Of all 100 that the model knows, the small ones catch lists of names.
LANGUAGES = "ar bg bn cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv ms nl no pl pt ro ru sk sl sr sv sw th tl tr uk ur vi zh"


@cache
def _identifier() -> LanguageIdentifier:
    # Scaled by the text's length, so that a ratio means the same for a line as for a page.
    made = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    made.set_languages(LANGUAGES.split())
    return made


def far_from(text: str, language: str) -> str:
    """Why `text` cannot pass for `language` (a key of `SCRIPTS`), as words for an error; empty when it can."""
    letters = [character for character in text if character.isalpha()]
    foreign = sum(SCRIPTS[language] not in unicodedata.name(letter, "") for letter in letters)
    if foreign > FOREIGN_SHARE * len(letters):
        return f"{foreign} of its {len(letters)} letters are of another script"
    likely = dict(_identifier().rank(text))
    best = max(likely, key=lambda name: likely[name])
    return f"it reads as {best}" if likely[best] > FAR * likely[language] else ""
