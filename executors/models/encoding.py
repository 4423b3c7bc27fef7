"""The last look at a text, where it is encoded: what the encoder is about to read is what was screened, or nothing is made."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from executors.errors import TextUnreadable
from state.canonical import CONTROL_TOKENS


def check_encoding(text: str, tokenizer: Any, clean: Callable[[str], str] = lambda text: text) -> None:
    """Raises `TextUnreadable` where this tokenizer, or the pipeline before it (`clean`), would read another text than this one: the last
    line, for a pipeline or a tokenizer that cleans in a way that we do not know of."""
    if clean(text) != text:
        raise TextUnreadable("The model's pipeline would change the text after it was screened.")
    if CONTROL_TOKENS.search(text) or any(token and token.strip("!") and token in text for token in tokenizer.all_special_tokens):
        raise TextUnreadable("The text holds a control token of the model.")
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    if normalizer is not None and _seen(normalizer.normalize_str(text)) != _seen(text):
        raise TextUnreadable("The model's tokenizer would change the text after it was screened.")


def _seen(text: str) -> str:
    """What two texts have in common that the screens read alike: they fold case, compatibility forms and white space themselves."""
    return re.sub(r"[\s\u2581]+", "", unicodedata.normalize("NFKC", text).casefold())
