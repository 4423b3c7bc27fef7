"""CLIP's tokenizer in pure Python, to count SDXL's tokens without loading a model or torch.

The ids equal those of transformers' `CLIPTokenizer` (checked by a test). The steps, in order: the two special tokens are cut out of the
raw text; then NFC, runs of white space to one space, lower case; then split into contractions, runs of letters, single digits, runs of
anything else; then byte-level BPE with the 48,894 merges of OpenAI's CLIP (`data/bpe_simple_vocab_16e6.txt.gz`, licence beside it).
"""

from __future__ import annotations

import gzip
import re
import unicodedata
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path

VOCABULARY = Path(__file__).parent / "data" / "bpe_simple_vocab_16e6.txt.gz"
MERGES = 49152 - 256 - 2  # the file has more; CLIP uses the first 48,894 (clip/simple_tokenizer.py)
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
WINDOW = 77  # tokens per pass of CLIP's text encoder, BOS and EOS included

_SPECIAL = re.compile(r"(<\|startoftext\|>|<\|endoftext\|>)")
_CONTRACTION = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d")
_LOWERED = re.compile(r"(<\|)(startoftext|endoftext)(\|>)")  # a special token written in capitals becomes three words when lowercased


@lru_cache(1)
def byte_letters() -> dict[int, str]:
    """Byte → printable character, in the vocabulary's order."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [b for b in range(256) if b not in shown]
    return {b: chr(b) for b in shown} | {b: chr(256 + i) for i, b in enumerate(hidden)}


@lru_cache(1)
def merges() -> tuple[tuple[str, str], ...]:
    """The merges, best first."""
    with gzip.open(VOCABULARY, "rt", encoding="utf-8") as lines:
        pairs = (line.split() for line in islice(lines, 1, MERGES + 1))  # the first line is a version
        return tuple((a, b) for a, b in pairs)


@lru_cache(1)
def vocabulary() -> dict[str, int]:
    """Token to id, 49,408 of them: bytes, bytes that end a word, merges, BOS, EOS."""
    letters = list(byte_letters().values())
    tokens = [*letters, *(c + "</w>" for c in letters), *(a + b for a, b in merges()), BOS, EOS]
    return {token: i for i, token in enumerate(tokens)}


@lru_cache(1)
def _ranks() -> dict[tuple[str, str], int]:
    return {pair: i for i, pair in enumerate(merges())}


def _kind(c: str) -> str:
    """Classify as letter, number, white space or other, like the Unicode classes of the tokenizer's regular expression."""
    category = unicodedata.category(c)
    if category[0] in "LN":
        return category[0]
    return "Z" if category[0] == "Z" or c in "\t\n\v\f\r\x85" else "?"


def _words(text: str) -> list[str]:
    found, i = [], 0
    while i < len(text):
        if contraction := _CONTRACTION.match(text, i):
            found.append(contraction[0])
            i = contraction.end()
            continue
        if lowered := _LOWERED.match(text, i):
            found += lowered.groups()
            i = lowered.end()
            continue
        kind, j = _kind(text[i]), i + 1
        while kind in "L?" and j < len(text) and _kind(text[j]) == kind:
            j += 1
        if kind != "Z":
            found.append(text[i:j])
        i = j
    return found


@lru_cache(20_000)
def _bpe(word: str) -> tuple[str, ...]:
    letters, ranks = byte_letters(), _ranks()
    parts = [letters[b] for b in word.encode()]
    parts[-1] += "</w>"
    while len(parts) > 1:
        best = min(pairwise(parts), key=lambda pair: ranks.get(pair, MERGES))
        if best not in ranks:
            break
        merged, i = [], 0
        while i < len(parts):
            if i + 1 < len(parts) and (parts[i], parts[i + 1]) == best:
                merged.append(parts[i] + parts[i + 1])
                i += 2
            else:
                merged.append(parts[i])
                i += 1
        parts = merged
    return tuple(parts)


def _normal(text: str) -> str:
    spaced = "".join(" " if _kind(c) == "Z" else c for c in unicodedata.normalize("NFC", text))
    # One character at a time, as the tokenizer does: str.lower() on the whole text lowercases a final capital sigma differently.
    return "".join(c.lower() for c in spaced)


def token_ids(text: str) -> list[int]:
    """Ids without BOS and EOS around them, untruncated."""
    ids, known = [], vocabulary()
    for piece in _SPECIAL.split(text):
        if piece in (BOS, EOS):
            ids.append(known[piece])
        else:
            ids += [known[part] for word in _words(_normal(piece)) for part in _bpe(word)]
    return ids


@lru_cache(2_000)
def clip_token_count(text: str) -> int:
    """Tokens of `text` for SDXL's first text encoder, BOS and EOS included: at most `WINDOW` fit in one pass."""
    return len(token_ids(text)) + 2


def sdxl_token_count(text: str) -> int:
    """Tokens of `text` for the greedier of SDXL's two tokenizers, BOS and EOS included.

    The second one pads with "!", so there every "!" is a token of its own and splits the text around it.
    """
    return max(clip_token_count(text), sum(len(token_ids(piece)) for piece in text.split("!")) + text.count("!") + 2)
