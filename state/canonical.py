"""Canonical form of user-written text: cleaned until no text encoder's own cleaning changes it further (docs/decisions/0036).

It is computed once, screened and passed on, so that the screen and the model read the same characters. The steps are those that any of our
pipelines applies by itself: HTML character references (Wan's pipeline resolves them, twice), terminal escapes and control characters, NFKC
and invisible characters (SentencePiece's `nmt_nfkc`), the tokenizers' own control tokens (`</s>`, `<|im_end|>`), runs of white space.
`supabase/functions/_shared/screen/canonical.ts` is the same function for the edge.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

ROUNDS: Final = 8
"""Passes after which the text must be stable. Each resolves two levels of `&amp;`; sixteen levels only serve to hide something."""

CONTROL_TOKENS: Final = re.compile(
    r"<\|[^|>]{0,40}\|>|</?s>|<(?:pad|unk|mask|extra_id_[0-9]+|/?tool_call|/?tool_response|/?think)>", re.IGNORECASE
)
"""Control tokens of CLIP, UMT5 and Qwen. No text may contain them: they end a turn, or end what the encoder reads of a prompt."""

_ENDLESS = re.compile("&#[xX]?[0-9a-fA-F]{1000}")
_TERMINAL = re.compile("\x1b\\[[0-9;]*[a-zA-Z]")
# SentencePiece and people read these as a space; U+2581 is SentencePiece's own marker for one.
_SPACES = "\u200b\u200e\u200f\u2028\u2029\u2581\ufeff\ufffd"
# Invisible characters, which a tokenizer drops or reads as noise inside a word. Joiners stay: Persian, Hindi and emoji need them.
_INVISIBLE = (
    *range(0x09), 0x0B, *range(0x0E, 0x20), *range(0x7F, 0x85), *range(0x86, 0xA0), 0xAD, 0x34F, 0x61C, 0x180E, *range(0x202A, 0x202F),
    *range(0x2060, 0x2070), *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080),
)  # fmt: skip
CHARACTERS: Final[dict[int, str]] = dict.fromkeys(_INVISIBLE, "") | dict.fromkeys(map(ord, _SPACES), " ")


LONGEST: Final = 20_000
"""Maximum characters of a canonical text: NFKC expands one to up to 18, and no screen accepts more (`ourvidz.safety.lexical.MAX_TEXT`)."""


WEIGHTS: Final = re.compile(r"\\?[()\[\]{}]|(?<=[)])(?:[+]+|-+|[0-9.]+)|:\s*[0-9.]+\s*(?=[)])|(?<=[^\W\d_])(?:[+]+|--+)(?=[\s,.;)]|$)")
"""Weight syntax of compel and of the web UIs. Wider than `executors.prompts.parse_weights`, which is exact."""


class Unreadable(ValueError):
    """The text has no canonical form: it is not text, or each pass changes it again. The message never quotes it."""


def canonical(text: str, clean: Callable[[str], str] = lambda text: text) -> str:
    """Return the canonical form of `text` (idempotent). `clean` is a pipeline's additional cleaning (executors: ftfy).

    Raises `Unreadable` if the text is not stable after `ROUNDS` passes.
    """
    for _ in range(ROUNDS):
        before = text
        try:
            text = _pass(clean(text))
        except (ValueError, RecursionError):  # a lone surrogate, a number of thousands of digits
            break
        if len(text) > LONGEST:
            raise Unreadable(f"it is longer than {LONGEST:,} characters once it is decoded")
        if text == before:
            return text
    raise Unreadable("it is encoded so often, or in such a way, that what it says cannot be read")


def _pass(text: str) -> str:
    text.encode()  # raises for a lone surrogate
    text = _unescaped(_unescaped(_TERMINAL.sub("", text)))
    text = unicodedata.normalize("NFKC", text.translate(CHARACTERS))
    return " ".join(CONTROL_TOKENS.sub(" ", text).split())


def plain(text: str) -> str:
    """Remove weight signs from a canonical text: an encoder does not read them, and they could split a word."""
    return " ".join(WEIGHTS.sub("", text).split())


def canonical_negative(text: str, clean: Callable[[str], str] = lambda text: text) -> str:
    """Return the canonical form of a negative prompt, where line breaks separate terms as commas do. Raises `Unreadable`."""
    return canonical(", ".join(line for line in text.splitlines() if line.strip()), clean)


def _unescaped(text: str) -> str:
    if _ENDLESS.search(text):  # Python parses no number of over 4,300 digits, and JavaScript's limit differs
        raise ValueError("a number of a character with over a thousand digits")
    return html.unescape(text)


def texts_in(value: Any, depth: int = 33) -> list[str]:
    """Return every text inside a JSON value that a user may have written: all strings (except keys, which nobody is shown) that have
    letters and are more than an address, an id or a timestamp. Raises `Unreadable` for nesting deeper than `depth`."""
    found: list[str] = []
    level = [value]
    for _ in range(depth):
        found += [one for one in level if isinstance(one, str) and _written(one)]
        level = [each for one in level if isinstance(one, dict | list) for each in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return list(dict.fromkeys(found))
    raise Unreadable("it is nested too deep")


NO_TEXT = re.compile(
    r"(?:blob:)?https?://[!-~]+"  # URLs: their content is screened as a picture
    r"|data:(?:image|video)/[\w.+-]{1,40};base64,[\w+/=]*"
    r"|(?:[\w-]{1,40}/)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:/[\w.%~-]{1,200}){0,4}"  # ids, and objects in a user's folder
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z-]{1,30}",
    re.ASCII | re.IGNORECASE,
)


def _written(text: str) -> bool:
    return any(map(str.isalpha, text)) and not NO_TEXT.fullmatch(text)
