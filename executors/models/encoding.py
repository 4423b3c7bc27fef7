"""Last check before a text is encoded: the encoder must read exactly the text that was screened."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from executors.errors import TextUnreadable
from state.canonical import CONTROL_TOKENS


def check_encoding(text: str, tokenizer: Any, clean: Callable[[str], str] = lambda text: text) -> None:
    """Raise `TextUnreadable` if this tokenizer, or the pipeline before it (`clean`), would change the text. The last line of defence, for a
    pipeline or tokenizer with unknown cleaning."""
    if clean(text) != text:
        raise TextUnreadable("The model's pipeline would change the text after it was screened.")
    if CONTROL_TOKENS.search(text) or any(token and token.strip("!") and token in text for token in tokenizer.all_special_tokens):
        raise TextUnreadable("The text holds a control token of the model.")
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    if normalizer is not None and _seen(normalizer.normalize_str(text)) != _seen(text):
        raise TextUnreadable("The model's tokenizer would change the text after it was screened.")


def _seen(text: str) -> str:
    """Fold case, compatibility forms and white space, as the screens do: texts with equal results are the same to them."""
    return re.sub(r"[\s\u2581]+", "", unicodedata.normalize("NFKC", text).casefold())
