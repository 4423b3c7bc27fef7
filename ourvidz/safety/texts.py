"""A job's text as screens see it: in canonical form, with its field."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ourvidz.safety.negative import NegativeScreen, without_kept_out
from ourvidz.safety.screen import PromptScreen, Verdict, guarded_check
from state.canonical import canonical, canonical_negative, plain, texts_in

NAMES = {
    "prompt": "prompt",
    "enhanced": "enhanced prompt",
    "negative": "negative prompt",
    "title": "title",
    "character": "character",
    "metadata": "metadata",
}
"""Each field's display name. The keys are the stages of a refusal (ourvidz.screenings)."""


@dataclass(frozen=True)
class Text:
    """`text`: what a model reads. `readings`: what is screened for it: the text itself, without weight syntax, and as written."""

    field: str
    text: str
    readings: tuple[str, ...]

    @property
    def negative(self) -> bool:
        return self.field == "negative"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def read(field: str, written: str, clean: Callable[[str], str] = lambda text: text) -> Text:
    """Canonicalise a text. Raises `state.canonical.Unreadable`, and `ScreenUnavailable` if a negative prompt's terms cannot be read."""
    if field == "negative":
        text = without_kept_out(canonical_negative(written, clean))
        return Text(field, text, _different(text, plain(text)))
    text = canonical(written, clean)
    return Text(field, text, _different(text, plain(text), written))


def others(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts in a job's metadata, by field. Raises `Unreadable`."""
    for name in ("negative_prompt", "negativePrompt"):
        if isinstance(metadata.get(name), str):
            yield "negative", metadata[name]
    yield from (
        ("metadata", text) for text in texts_in({k: v for k, v in metadata.items() if k not in ("negative_prompt", "negativePrompt")})
    )


def check(screen: PromptScreen, text: Text, timeout_s: float = 10.0) -> Verdict:
    """The first refusal among the verdicts on its readings, else an allowing one. Raises `ScreenUnavailable`."""
    asked = NegativeScreen(screen) if text.negative else screen
    verdict: Verdict | None = None
    for reading in text.readings or ("",):
        verdict = guarded_check(asked, reading, timeout_s)
        if not verdict.allowed:
            break
    assert verdict is not None
    return verdict


def _different(*readings: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reading for reading in readings if reading.strip()))


def distinct(texts: Iterable[Text]) -> tuple[Text, ...]:
    """Each text once, whatever its field; a negative prompt and another text with the same content are two."""
    return tuple({(text.negative, text.text): text for text in reversed(list(texts)) if text.readings}.values())[::-1]
