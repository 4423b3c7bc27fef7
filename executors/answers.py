"""Extract a scene description from a chat model's answer: `clean` strips what is around it, `check` validates the rest.

Each sentence is judged by its subject, not by how the answer begins (`executors.talk`): a description is about what is seen; a refusal, a
question or a comment is about the request, the text or the model itself, or addresses the user.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from executors.clip_bpe import token_ids
from executors.errors import EnhancementFailed
from executors.language import far_from
from executors.talk import Style, data, echoes, sentences, talk, words_of

ENOUGH = 40  # characters: a shorter text does not yet count as a description
WRAPPING = 1 / 3  # maximum share of the words that may be talk around a description
LOOPED = 1 / 3  # minimum share of the words that must be left when repetitions are removed
PER_WORD = 2.0  # maximum CLIP tokens per word on average: English has 1.1 to 1.75 (a list of names), random letters 2.1 and more
LONGEST = 40  # letters of a word

# -- cleaning ---------------------------------------------------------------------------------------------------------------------------


def clean(answer: str, cut_short: bool = False) -> str:
    """Return the description inside a chat model's answer: one line, without thoughts, introduction, labels, quotation marks, markup,
    data, further versions, repetitions or closing remarks. What is not certainly one of these stays, also a refusal: `check` judges it.

    `cut_short`: the answer reached its token limit; its unfinished last sentence is dropped.
    """
    text = "".join(c for c in html.unescape(answer) if unicodedata.category(c) != "Cf")
    text = re.split(r"<\|(?:im_end|endoftext)\|>", text.rpartition("<|message|>")[2])[0]
    text = re.sub(r"<\|im_start\|>\w*|<\|[^|>]{0,40}\|>", " ", _without_thoughts(text))
    text = _without_markup(_without_data(text))
    text = _of_paragraphs(text)
    text = _unquoted(_COUNT.sub("", _FLAGS.sub("", " ".join(text.split()))).strip())
    text = _COUNT.sub("", _without_remarks(text)).strip()
    if cut_short:
        text = _finished(text)
    return _once(_unquoted(text))


_COUNT = re.compile(
    r"\s*[(\[{—–~-]{0,4}\s*(?:(?:total|word count|words|length|approx\w*|about)\W{0,3}){0,4}\d{1,3}\s*words?(?: in total)?\s*[)\]}]?[.\s]*$"
    r"|\s*[(\[]?(?:total )?(?:word|character)s?(?: count)?\s?[:=–-]\s?\d{1,4}(?: words)?[)\]]?[.\s]*$"
    r"|^[(\[]\W?\d{1,3} words[)\]]\s*",
    re.IGNORECASE,
)
_FLAGS = re.compile(r"(?:\s+--[a-z]+(?: [\w:.]+)?)+$")  # flags that other programs take after a prompt


@cache
def _thought_tags() -> re.Pattern[str]:
    names = "|".join(data()["words"]["thought"])
    mark = r"(?P<close>/|end_of_|end_|end )|(?P<open>begin_of_|start_of_|begin_|start_|start )"
    return re.compile(rf"[<\[【◁]\|?\s*(?:{mark})?(?:\w+:)?(?:{names})\s*\|?[>\]】▷]", re.IGNORECASE)


def _without_thoughts(text: str) -> str:
    """Remove text between the tags of a thought; also everything before an unmatched closing tag, and after an unmatched opening tag."""
    kept: list[str] = []
    depth = at = 0
    for tag in _thought_tags().finditer(text):
        if tag["close"]:
            kept = kept if depth else []
            depth = max(0, depth - 1)
        else:
            if not depth:
                kept.append(text[at : tag.start()])
            depth += 1
        at = tag.end()
    return " ".join(kept) if depth else " ".join([*kept, text[at:]])


def _without_data(text: str) -> str:
    """Remove JSON objects, except for a description inside one of them."""
    found: list[str] = []
    rest, at = "", 0
    for start in (m.start() for m in re.finditer(r"[{\[]\s*[{\"]", text)):
        if start < at:
            continue
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(text, start)
        except (ValueError, RecursionError):
            if not re.match(r"\{\s*\"[^\"\n]{1,60}\"\s*:", text[start:]):
                continue
            value, end = None, len(text)  # unterminated: cut by the token limit
        rest, at = rest + text[at:start], end
        found += _described(value)
    if at == 0:
        return text
    rest += text[at:]
    inside = max(found, key=len, default="")
    return inside if len(inside) > len(re.sub(r"```\w*", "", rest).strip()) else rest


def _described(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value[:1]:
            yield from _described(item)
    elif isinstance(value, dict):
        known = {str(key).lower().replace(" ", "_").replace("-", "_"): inner for key, inner in value.items()}
        for key in data()["words"]["keys"]:
            yield from _described(known.get(key))


def _without_markup(text: str) -> str:
    text = "\n".join(line.strip() for line in re.sub(r"(?:```|~~~)\w*", "\n", text).split("\n") if line.strip())
    text = re.sub(r"\\(?:boxed|text)\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"^[ \t]*\|?(?:[ \t]*:?-{3,}:?[ \t]*\|)+[ \t]*$|^[ \t]*\|[ \t]*|(?<!\s)[ \t]*\|[ \t]*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"</?[a-zA-Z][^<>\n]{0,200}>", " ", text)
    text = re.sub(r"^[ \t]*(?:[-*_=~][ \t]*){3,}$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^[ \t]*(?:>[ \t]*)+", "", text, flags=re.MULTILINE)
    text = re.sub(r"\*\*|__|~~|`|(?<!\w)[*_](?=\w)|(?<=[\w.!?,])[*_](?!\w)", "", text)
    return text.strip()


@cache
def _labels() -> dict[str, re.Pattern[str]]:
    words = {name: f"(?:{'|'.join(ways)})" for name, ways in data()["labels"].items()}
    words["description"] = f"(?:{words['lead']} ){{0,5}}{words['description']}"

    def label(name: str, end: str) -> re.Pattern[str]:
        return re.compile(rf"^\W*{words[name]}\s*(?:\([^)\n]{{0,40}}\))?\s*{end}", re.IGNORECASE)

    colon = r"[\"”]?(?:[:：]|\s[-–—]\s|-{2,}|\s*[=-]>|\s*→)\s*"
    numbered = r"(?:[:：.)]|\s[-–—]\s|$)\s*"
    return {
        "alone": label("description", r"[:：]?\s*[>|]?-?$"),
        **{name: label(name, colon) for name in ("description", "echo", "after")},
        **{name: label(name, numbered) for name in ("first", "next")},
    }


_SEVERAL = re.compile(
    r"^.{0,80}\b(?:versions|variations|variants|options|alternatives|(?:two|three|several|some|few|\d) (?:\w+ )?(?:prompts|descriptions))\b"
    r"[^\n]{0,80}:\s*\n",
    re.IGNORECASE,
)
_ITEM = re.compile(r"^\W*([1-9])[.)]\s+", re.MULTILINE)


def _of_paragraphs(text: str) -> str:
    """Return the lines of an answer that are its description, joined."""
    labels, kept = _labels(), list[str]()
    if _SEVERAL.search(text):
        text = _ITEM.sub(r"Option \1: ", text)
    for raw in text.split("\n"):
        line = re.sub(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+(?=\S)", "", raw).strip()
        heading, line = line.startswith("#"), line.lstrip("# ").strip()
        so_far = " ".join(kept)
        if not line or labels["alone"].match(line) or (heading and not line.endswith((".", "!", "?"))):
            continue
        if len(so_far) >= ENOUGH and (labels["next"].match(line) or labels["after"].match(line)):
            break
        if first := labels["first"].match(line):
            kept, line = [], line[first.end() :]
        if labels["echo"].match(line) and len(so_far) < ENOUGH:
            continue
        kept.append(_without_lead(line) if len(so_far) < ENOUGH else line)
    return " ".join(part for part in kept if part)


def _without_lead(line: str) -> str:
    """Remove leads like "Sure!", "Here's your prompt:", "Prompt:"."""
    words, labels = data()["words"]["interjections"], _labels()
    for _ in range(4):  # "Sure! Here is the prompt: Prompt: …"
        before = line
        line = re.sub(rf"^\W*(?:{'|'.join(words)})\s*[!.:,]\s*(?=\S|$)", "", line, flags=re.IGNORECASE)
        line = labels["description"].sub("", line)
        lead = re.match(r"[^:：\n]{1,200}[:：]\s*", line)
        if lead and len(words_of(lead[0])) > 1 and talk(lead[0].strip()) == (True, False):
            line = line[lead.end() :]
        if line == before:
            break
    return line


def _without_remarks(text: str) -> str:
    """Remove echoed instructions, and the talk before and after a description. Keeps talk that refuses: then the description is not what
    was asked for."""
    said = [sentence for sentence in sentences(text) if not echoes(sentence)]
    text = " ".join(said) or text
    start, end = 0, len(said)
    while start < end and talk(said[start]) == (True, False):
        start += 1
    while end > start and talk(said[end - 1]) == (True, False):
        end -= 1
    left = " ".join(said[start:end])
    return left if len(words_of(left)) >= (1 - WRAPPING) * len(words_of(text)) else text


_PAIRS = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»", "「": "」", "`": "`"}


def _unquoted(text: str) -> str:
    """Remove quotation marks around the whole text; one that begins with a quotation and ends with another keeps both."""
    text = text.replace("„", "“", 1).removesuffix("“") + "”" if text[:1] == "„" and text.endswith("“") else text
    while len(text) > 1 and (closing := _PAIRS.get(text[0])) and text[-1] in (closing, "."):
        inside = text[1 : -1 if text[-1] == closing else -2]
        if text[-1] == "." and text[-2:-1] != closing:
            break
        at = inside.find(closing)
        if at > 0 and not inside[at - 1].isspace() and closing != "'":
            break
        text = inside.strip()
    return text


def _finished(text: str) -> str:
    """Cut after the last complete sentence; a list of phrases, at the last comma."""
    if text.endswith((".", "!", "?", "。", '."', ".”")):
        return text
    ends = [m.end() for m in re.finditer(r"[.!?。][\"”’)]*(?=\s)", text)]
    if ends:
        return text[: ends[-1]]
    return text[: text.rfind(",")] if "," in text else text


def _once(text: str) -> str:
    """Remove repeated sentences, and repeated phrases of a list, as a looping model writes them."""
    said = sentences(text)
    kept = list({sentence.casefold().strip(): sentence for sentence in reversed(said)}.values())[::-1]
    left = " ".join(map(_phrases_once, kept))
    return left if len(words_of(left)) >= LOOPED * len(words_of(text)) else text


def _phrases_once(sentence: str) -> str:
    phrases = [phrase.strip() for phrase in sentence.split(",")]
    different = list({phrase.casefold().rstrip("."): phrase for phrase in reversed(phrases)}.values())[::-1]
    looped = len(phrases) - len(different) > 3 or (len(phrases) > 3 and len(phrases) >= 2 * len(different))
    if not looped:
        return sentence
    return ", ".join(different).removesuffix(".") + "." * sentence.endswith(".")


# -- checking ---------------------------------------------------------------------------------------------------------------------------


def check(text: str, style: Style, prompt: str = "") -> None:
    """Raise `EnhancementFailed` unless a cleaned `text` is usable as the description for `prompt`. The message never quotes it."""
    if any(refuses for _, refuses in map(talk, sentences(text))):
        raise EnhancementFailed("the model refused", "model_refused")
    if why := _no_description(text, style, prompt):
        raise EnhancementFailed(why, "no_description")
    if why := far_from(text, style.language):
        raise EnhancementFailed(f"the answer is not in the language asked for ({style.language}): {why}", "other_language")
    if not _known(words_of(text)):
        raise EnhancementFailed("the answer is not made of known words", "no_description")
    if len({begin for word in words_of(text) if (begin := _seen(word))}) < data()["picture_min"]:
        raise EnhancementFailed("the answer describes nothing that could be seen", "no_description")


def _seen(word: str) -> str:
    """Return the entry of the word list `picture` that equals `word`, or, if over 3 letters long, that `word` begins with."""
    return next((begin for begin in data()["words"]["picture"] if word == begin or (len(begin) > 3 and word.startswith(begin))), "")


def _no_description(text: str, style: Style, prompt: str) -> str:
    words = words_of(text)
    if not text:
        return "the model answered nothing"
    if any(is_talk for is_talk, _ in map(talk, sentences(text))):
        return "the answer is talk, not a description"
    if words == words_of(prompt):
        return "the answer is the prompt as it was"
    if not style.min_chars <= len(text) <= style.max_chars:
        return f"the answer has {len(text)} characters; {style.min_chars} to {style.max_chars} will do"
    if "�" in text or not text.isprintable():
        return "the answer holds what cannot be printed"
    if sum(character.isalpha() or character.isspace() for character in text) < 0.7 * len(text):
        return "the answer is not made of words"
    return "the answer repeats itself" if _loops(words) else ""


def _loops(words: list[str]) -> bool:
    """Check if more than a third of the three-word runs are repeated, or hardly any word is new."""
    runs = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    if len(runs) > 8 and len(set(runs)) < (1 - LOOPED) * len(runs):
        return True
    return len(words) > 30 and len(set(words)) < 0.3 * len(words)


def _known(words: list[str]) -> bool:
    if any(len(word) > LONGEST for word in words):
        return False
    long = [word for word in words if len(word) > 2 and word.isascii()]
    return sum(len(token_ids(word)) for word in long) <= PER_WORD * len(long)
