"""A job's texts as its models read them (docs/decisions/0036): in canonical form, with ftfy's corrections, which Wan's pipeline makes too.

Computed once, before any screen; models get exactly the text that was screened, and an encoder refuses a text that cleaning would change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import ftfy

from executors.errors import TextUnreadable
from executors.prompts import unweighted
from ourvidz.lifecycle import Claim
from ourvidz.safety import texts
from ourvidz.safety.texts import Text
from state import catalog, schedulers
from state.canonical import Unreadable, canonical

FOR_GUARD = 4_000  # characters of titles and similar texts that the guard reads at once

_OURS = frozenset(
    word
    for kind in catalog.JOB_TYPES.values()
    for word in (kind.name, kind.family, kind.queue, "image", "video", "fast", "high", *schedulers.NAMES)
)
"""Words that programs put into a job's metadata: the guard need not read them."""


def read(field: str, written: str) -> Text:
    """Return the canonical text. Raises `TextUnreadable` if cleaning still changes it once weights are removed; `ScreenUnavailable`."""
    try:
        text = texts.read(field, written, ftfy.fix_text)
        bare = unweighted(text.text)  # exactly as compel's path reads it
        at_rest(bare)
    except Unreadable as error:
        raise TextUnreadable(f"The {texts.NAMES[field]} cannot be read: {error}. Write it plainly.") from None
    return replace(text, readings=tuple(dict.fromkeys((*text.readings, *([bare] if bare else [])))))


def at_rest(text: str) -> None:
    """Raise `Unreadable` if cleaning would change the text other than its white space."""
    if canonical(text, ftfy.fix_text) != " ".join(text.split()):
        raise Unreadable("it says something else once it is cleaned")


def of_claim(claim: Claim, shown: list[tuple[str, str]]) -> tuple[Text, Text | None, Text, tuple[Text, ...]]:
    """Return the prompt, an earlier attempt's enhanced prompt, the negative prompt, and all distinct texts to screen. `shown`: titles and
    similar texts. Raises `TextUnreadable`, `ScreenUnavailable`."""
    prompt, negative = read("prompt", claim.prompt), read("negative", claim.negative_prompt or "")
    if not prompt.text:
        raise TextUnreadable("The prompt says nothing once it is decoded.")
    enhanced = read("enhanced", claim.enhanced_prompt) if claim.enhanced_prompt is not None else None
    try:
        told = [*shown, *texts.others(claim.metadata)]
    except Unreadable as error:
        raise TextUnreadable(f"The metadata cannot be read: {error}.") from None
    every = [prompt, *([enhanced] if enhanced else []), negative, *(read(field, written) for field, written in told)]
    return prompt, enhanced, negative, texts.distinct(every)


def for_guard(given: tuple[Text, ...]) -> Iterator[tuple[tuple[Text, ...], str]]:
    """Yield what the guard reads of these texts: each prompt with and without weights, and titles and similar texts joined."""
    for field in texts.NAMES:
        these = [text for text in given if text.field == field]
        if field in ("prompt", "enhanced", "negative"):
            for text in these:
                for reading in dict.fromkeys((text.text, unweighted(text.text))):
                    yield (text,), reading
            continue
        shown = "\n".join(text.text for text in these if text.text not in _OURS)
        for start in range(0, len(shown), FOR_GUARD - 200):  # chunks overlap by 200 characters, for what spans a boundary
            yield tuple(these), shown[start : start + FOR_GUARD]
