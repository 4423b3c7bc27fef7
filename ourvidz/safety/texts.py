"""A text of a job as screens see it: in canonical form, with what it is to the job."""

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
"""Of each field, its name for people. The keys are the stages of a refusal (ourvidz.screenings)."""


@dataclass(frozen=True)
class Text:
    """`text` is what a model reads. `readings` are what is screened for it: as it is, without the signs of weights, as it was written."""

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
    """Raises `state.canonical.Unreadable`; `ScreenUnavailable` where it is negative and the terms cannot be read."""
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
    """Each text once, whatever it is to the job; a negative one and another that reads the same are two."""
    return tuple({(text.negative, text.text): text for text in reversed(list(texts)) if text.readings}.values())[::-1]
