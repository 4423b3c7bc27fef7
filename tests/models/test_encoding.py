"""The screened text is the tokenised text, for any text and model family: tokenizers get the screened text, and their ids decode to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ftfy
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as some
from sizes import size
from transformers import PreTrainedTokenizerBase

from executors.enhance import Enhancer
from executors.errors import TextUnreadable
from executors.models.base import ModelPaths
from executors.models.encoding import _seen, check_encoding
from executors.models.sdxl import Sdxl
from executors.models.wan import Wan
from executors.models.wan_prompt import PromptCache
from executors.prompts import build_negative, unweighted
from executors.texts import read
from ourvidz.safety.texts import Text
from state.canonical import CONTROL_TOKENS, canonical

CPU = torch.device("cpu")
PIECES = some.sampled_from([
    "&", "&amp;", "#", "122", ";", "&#122;", "&#x7a", "&lt", "&shy;", "<", "|", ">", "<|", "|>", "</s>", "<pad>",
    "<|endoftext|>", "<|im_end|>",     "<extra_id_0>", "＆", "＃", "ｚ", "ﬁ", "½", "é", "Ã©", "â€œ",
    "“", "\u200b", "\u00ad", "\u2581", "\x1b[31m", "\ufffd", "İ",
    "ß", "Σ", "\n",     "(", ")", ":1.2", "1.3", "++", "-", "\\", ", ", " ", "cat", "Dog", "!", "é", "日", "😀", "\u200d",
])  # fmt: skip
TEXTS = some.lists(PIECES | some.text(max_size=3), max_size=16).map("".join)
ANY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much])


@contextmanager
def heard() -> Iterator[list[tuple[PreTrainedTokenizerBase, str]]]:
    """Each text passed to a tokenizer within the `with` block."""
    seen: list[tuple[PreTrainedTokenizerBase, str]] = []
    real = PreTrainedTokenizerBase.__call__

    def call(self: Any, text: Any = None, *args: Any, **more: Any) -> Any:
        seen.extend((self, one) for one in ([text] if isinstance(text, str) else text or []))
        return real(self, text, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreTrainedTokenizerBase, "__call__", call)
        yield seen


def screened(written: str, field: str = "prompt") -> Text:
    try:
        return read(field, written)
    except TextUnreadable:
        assume(False)
        raise


def said(tokenizer: Any, text: str) -> str | None:
    """The text that its ids decode to; None if it does not know all characters, and so reads less than the screen."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert not set(ids) & {i for i in tokenizer.all_special_ids if i != tokenizer.convert_tokens_to_ids("!")} - {tokenizer.unk_token_id}
    return None if tokenizer.unk_token_id in ids and tokenizer.unk_token != tokenizer.eos_token else _seen(tokenizer.decode(ids))


@pytest.fixture(scope="module")
def wan(tiny_root: Path) -> Wan:
    wan = Wan(ModelPaths(tiny_root), device=CPU)
    wan.load()
    return wan


@pytest.fixture(scope="module")
def sdxl(tiny_root: Path) -> Sdxl:
    sdxl = Sdxl(ModelPaths(tiny_root), device=CPU)
    sdxl.load()
    return sdxl


@pytest.mark.parametrize("mode", ["t2v", "vace"])
@ANY
@given(written=TEXTS)
def test_umt5_tokenises_the_screened_text(wan: Wan, mode: str, written: str) -> None:
    text = screened(written)
    with heard() as seen:
        PromptCache().encode(wan._pipes[mode], text.text, CPU)
    assert [one for _, one in seen] == [text.text] and text.text in {*text.readings, ""}
    assert said(wan._tokenizer, text.text) in (None, _seen(text.text))


@ANY
@given(written=TEXTS)
def test_clip_and_compel_tokenise_the_screened_text(sdxl: Sdxl, written: str) -> None:
    text = screened(written)
    sdxl._prompts._known.clear()
    with heard() as seen:
        sdxl._prompts.encode(text.text, "fog", sdxl.dtype, nullcontext)
    bare = unweighted(text.text)
    assert {text.text, bare} <= {*text.readings, ""}
    for tokenizer, one in seen:
        # The whole text, or a part that compel encodes separately, of one of the readings.
        assert any(_seen(one) in _seen(reading) for reading in (text.text, bare, "fog", "!")), ascii(one)
        assert said(tokenizer, one) in (None, _seen(one))


@ANY
@given(written=TEXTS)
def test_a_negative_prompt_contains_only_our_terms_and_screened_ones(wan: Wan, written: str) -> None:
    text = screened(written, "negative")
    ours = {"", *build_negative("wan", "image").text.split(", ")}
    try:
        with heard() as seen:
            made = build_negative("wan", "image", text.text)
            PromptCache().encode(wan._pipes["t2v"], made.text, CPU)
    except TextUnreadable:
        return  # joined to ours, it would read as another text
    assert [one for _, one in seen] == [made.text]
    theirs = [term for term in made.text.split(", ") if term not in ours]
    assert all(any(term in reading for reading in text.readings) for term in theirs)


@pytest.mark.parametrize("style", ["wan", "sdxl"])
@pytest.mark.sized
@settings(ANY, max_examples=size(25, 40))
@given(written=TEXTS)
def test_the_enhancer_gets_the_screened_text(enhancer: Enhancer, style: str, written: str) -> None:
    from executors.talk import styles

    text = screened(written)
    tokenizer = enhancer._tokenizer
    asked = tokenizer.apply_chat_template(enhancer.turns(text.text, styles()[style]), add_generation_prompt=True, tokenize=False)
    plain = tokenizer.apply_chat_template(enhancer.turns("", styles()[style]), add_generation_prompt=True, tokenize=False)
    before, after = plain.rsplit("<|im_end|>", 1)
    assert asked == f"{before}{text.text}<|im_end|>{after}"
    assert said(tokenizer, text.text) == _seen(text.text)


@pytest.fixture(scope="module")
def enhancer(tiny_root: Path) -> Enhancer:
    made = Enhancer(ModelPaths(tiny_root), device=CPU)
    made.load()
    return made


@pytest.mark.sized
@settings(max_examples=size(60, 300), deadline=None)
@given(TEXTS)
def test_canonicalisation_is_idempotent(written: str) -> None:
    text = screened(written).text
    assert canonical(text, ftfy.fix_text) == canonical(text) == text


@pytest.mark.parametrize("odd", ["a &#122;ebra", "a  cat", "caf\u00c3\u00a9", "“a”", "a</s>b"])
def test_text_that_a_pipeline_would_change_is_refused(wan: Wan, odd: str) -> None:
    with heard() as seen, pytest.raises(TextUnreadable):
        PromptCache().encode(wan._pipes["t2v"], odd, CPU)
    assert seen == []


@pytest.mark.parametrize("where", [0, 1])
def test_a_control_token_reaches_no_encoder(sdxl: Sdxl, where: int) -> None:
    texts = ["a cat", "fog"]
    texts[where] += " <|end(of:1.1)text|>"
    with heard() as seen, pytest.raises(TextUnreadable):
        sdxl._prompts.encode(*texts, sdxl.dtype, nullcontext)  # type: ignore[call-arg]
    assert seen == []


def test_a_tokenizer_that_changes_the_text_is_detected() -> None:
    """For example one that resolves character references: a model file must not be able to introduce that."""
    from tokenizers import Tokenizer, models, normalizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    backend.normalizer = normalizers.Replace("%7a", "z")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="?")
    check_encoding("a CAT  ", tokenizer)
    with pytest.raises(TextUnreadable):
        check_encoding("a %7aebra", tokenizer)


def test_no_special_token_of_any_model_stays_in_a_text(wan: Wan, sdxl: Sdxl, enhancer: Enhancer) -> None:
    known = {
        token
        for tokenizer in (wan._tokenizer, sdxl._pipe.tokenizer, sdxl._pipe.tokenizer_2, enhancer._tokenizer)
        for token in (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab())
    }
    real = {
        "<|object_ref_start|>",
        "<|vision_pad|>",
        "<tool_call>",
        "</tool_call>",
        "<|fim_prefix|>",
        "<|repo_name|>",
        "<extra_id_299>",
        "<s>",
    }
    assert [token for token in (known | real) - {"!"} if not CONTROL_TOKENS.fullmatch(token) or canonical(f"a{token}b") != "a b"] == []
