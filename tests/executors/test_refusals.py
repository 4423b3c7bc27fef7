"""Unreadable references, failed enhancement, and texts that no model may see."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from typing import Any

import pytest
from executor_site import PROMPT, Breaks, ProbeShelf, Site
from PIL import Image
from support import new_user

from executors.enhance import Enhancer
from executors.errors import OutOfMemory
from ourvidz.lifecycle import NewJob
from ourvidz.safety.screen import Verdict
from state.catalog import JOB_TYPES
from state.errors import FinalFailure

# -- references ----------------------------------------------------------------------------------------------------------------------------


def picture(size: tuple[int, int] = (96, 96), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(out, "PNG")
    return out.getvalue()


def keep(site: Site, name: str, data: bytes, user: str = "") -> str:
    file = site.root / "store" / "character-images" / (user or site.user) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return f"character-images/{user or site.user}/{name}"


def bad_references(site: Site) -> dict[str, str]:
    flat = io.BytesIO()
    Image.new("1", (6000, 6000)).save(flat, "PNG")
    return {
        "missing": f"character-images/{site.user}/nowhere.png",
        "no picture": keep(site, "text.png", b"these are words"),
        "cut short": keep(site, "short.png", picture()[:500]),
        "too many pixels": keep(site, "bomb.png", flat.getvalue()),
        "too many bytes": keep(site, "heavy.png", picture() + bytes(20_000_000)),
        "another user's": keep(site, "theirs.png", picture(), user=new_user(site.db)),
        "up and over": f"character-images/{site.user}/../{new_user(site.db)}/theirs.png",
        "no such bucket": f"nowhere/{site.user}/a.png",
    }


BAD = ["missing", "no picture", "cut short", "too many pixels", "too many bytes", "another user's", "up and over", "no such bucket"]


def referring(site: Site, address: str, **more: Any) -> str:
    """A job with this reference, whoever owns it: submit refuses another user's, and so must the executor."""
    job_id = site.submit("image_fast", references={"single": f"character-images/{site.user}/own.png"}, **more)
    if (file := site.root / "store" / address).is_file():
        site.attest(file.read_bytes())
    sql = "update public.job_payloads set settings = jsonb_set(settings, '{references,single}', to_jsonb(%s::text)) where job_id = %s"
    site.db.rows(sql, (address, job_id))
    return job_id


@pytest.mark.parametrize("what", BAD)
def test_a_reference_that_cannot_be_read_fails_the_job(site: Site, what: str) -> None:
    job_id = referring(site, bad_references(site)[what])
    shelf = site.work(job_id)
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"], site.row(job_id)["attempts"]) == ("failed", "bad_reference", 1)
    assert site.said(job_id)
    assert shelf.wan.works == []
    site.intact(job_id)


@pytest.mark.parametrize("what", BAD)
def test_an_unreadable_reference_is_skipped_if_the_job_allows(site: Site, what: str) -> None:
    job_id = referring(site, bad_references(site)[what], reference_fallback=True)
    shelf = site.work(job_id)
    site.completed(job_id)
    assert site.data(job_id, "reference_skipped") == [{"reference": "single", "reason": "bad_reference"}]
    assert shelf.wan.works[0].references.wan_mode == "none"


def test_an_sdxl_jobs_reference_is_skipped_with_its_type(site: Site) -> None:
    address = bad_references(site)["missing"]
    job_id = site.submit("sdxl_image_fast", references={"style": address}, reference_type="style", reference_fallback=True)
    shelf = site.work(job_id)
    site.completed(job_id)
    assert shelf.sdxl.works[0].reference_type is None


def test_the_readable_one_of_two_references_is_used(site: Site) -> None:
    bad = bad_references(site)["no picture"]
    good = keep(site, "good.png", picture())
    job_id = site.submit("video_fast", references={"first_frame": good, "last_frame": bad}, reference_fallback=True)
    shelf = site.work(job_id)
    site.completed(job_id)
    assert shelf.wan.works[0].references.wan_mode == "start"


def test_an_initial_image_cannot_be_skipped(site: Site) -> None:
    job_id = site.submit("sdxl_img2img", steps=4, references={"init": bad_references(site)["missing"]}, reference_fallback=True)
    site.work(job_id)
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"]) == ("failed", "bad_reference")


def test_a_negative_prompt_over_one_window_is_cut_and_reported(site: Site) -> None:
    notes: list[str] = []
    long = ", ".join(f"thing number {n}" for n in range(60))
    job_id = site.jobs.submit(NewJob(site.user, "sdxl_image_fast", PROMPT, long, settings={"steps": 1, "seed": 4711})).id
    shelf = site.work(job_id, observe=lambda progress: notes.append(progress.note))
    site.completed(job_id)
    read = shelf.sdxl.works[0].negative_prompt
    assert read.startswith("child, ") and "missing limbs, thing number 0, thing number 1, " in read and "thing number 59" not in read
    assert [note for note in notes if "terms are left out" in note and "thing" not in note]


# -- enhancement ---------------------------------------------------------------------------------------------------------------------------


class Fails:
    def enhance(self, *_: object, **__: object) -> object:
        raise OutOfMemory("out of memory while enhancing")


def enhancing_with(site: Site, enhancer: object) -> ProbeShelf:
    shelf = ProbeShelf(site.loaded)
    shelf._enhancer = enhancer  # type: ignore[assignment]
    return shelf


@pytest.mark.parametrize(("enhancer", "reason"), [(Fails(), "out_of_memory"), (Breaks(), "unexpected")], ids=["fails", "breaks"])
def test_a_prompt_that_cannot_be_enhanced_is_used_as_written(site: Site, enhancer: object, reason: str) -> None:
    job_id = site.submit("image7b_fast_enhanced")
    shelf = site.work(job_id, shelf=enhancing_with(site, enhancer))
    site.completed(job_id)
    assert [d["reason"] for d in site.data(job_id, "enhancement_skipped")] == [reason]
    assert shelf.wan.works[0].prompt == PROMPT
    assert not site.row(job_id)["enhanced"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("I apologize, but I can't help with creating a description of that nature.", "model_refused"),
        ("An adult couple on a balcony at dusk, soft light. Unfortunately, I can't describe the rest of your prompt.", "model_refused"),
        ("Could you please tell me more about the scene that you have in mind?", "no_description"),
        ("<think>The user wants a lighthouse. I should add light and a camera", "no_description"),
        ("抱歉，我无法协助完成这个请求。如果您有其他场景需要描述，我很乐意帮忙。请告诉我更多的细节。", "other_language"),
    ],
    ids=["refusal", "late refusal", "question", "thoughts", "Chinese"],
)
def test_a_prompt_without_a_description_is_used_as_written_and_not_charged(
    site: Site, monkeypatch: pytest.MonkeyPatch, answer: str, reason: str
) -> None:
    monkeypatch.setattr(site.loaded.enhancer(), "_placed", lambda prompt, style, limits: (answer, 12))
    job_id = site.submit("image7b_fast_enhanced", steps=1)
    shelf = site.work(job_id)
    site.completed(job_id)
    assert [d["reason"] for d in site.data(job_id, "enhancement_skipped")] == [reason]
    assert shelf.wan.works[0].prompt == PROMPT
    (paid,) = site.db.rows("select sum(amount)::int as n from ourvidz.token_entries where job_id = %s and account = 'revenue'", (job_id,))
    assert paid["n"] == JOB_TYPES["image_fast"].price


def test_an_enhancement_over_its_time_limit_uses_the_prompt_as_written(site: Site) -> None:
    site.policy(enhance_limit=0.0)
    job_id = site.submit("image7b_fast_enhanced")
    site.work(job_id)
    site.completed(job_id)
    assert [d["reason"] for d in site.data(job_id, "enhancement_skipped")] == ["time_limit"]


@pytest.mark.parametrize("slow", [True, False])
def test_failed_enhancement_fails_a_job_that_requires_it(site: Site, slow: bool) -> None:
    site.policy(enhance_limit=0.0)
    job_id = site.submit("image7b_fast_enhanced", on_enhance_failure="fail")
    shelf = site.work(job_id, shelf=None if slow else enhancing_with(site, Breaks()))
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"], site.row(job_id)["attempts"]) == ("failed", "enhancement", 3)
    assert shelf.wan.works == []


def test_a_cancel_stops_enhancement_at_the_next_token(site: Site) -> None:
    job_id = site.submit("image7b_fast_enhanced")
    shelf = ProbeShelf(site.loaded)
    worker = site.worker(shelf=shelf)
    real: Enhancer = site.loaded.enhancer()
    tokens: list[int] = []

    class Asked:
        def enhance(self, *args: Any, should_stop: Any, **more: Any) -> object:
            def each() -> None:
                tokens.append(1)
                if len(tokens) == 3:
                    site.jobs.cancel(job_id)
                    worker.heartbeat._look()  # type: ignore[union-attr]
                should_stop()

            return real.enhance(*args, should_stop=each, **more)

    shelf._enhancer = Asked()  # type: ignore[assignment]
    worker.run(until=[job_id])
    assert site.row(job_id)["status"] == "cancelled"
    assert len(tokens) == 3


# -- screens -------------------------------------------------------------------------------------------------------------------------------


class Refusing:
    """Refuses `word`, and counts its checks."""

    def __init__(self, word: str = "") -> None:
        self.word, self.shown = word, 0

    def check(self, text: str) -> Verdict:
        self.shown += 1
        return Verdict(False, "rules-7", "minors", "m1") if self.word in text else Verdict(True, "rules-7")


class Crashing:
    def check(self, text: str) -> Verdict:
        raise MemoryError


def past_the_screen(site: Site, job_type: str = "sdxl_image_fast", prompt: str = PROMPT) -> str:
    """A job that bypassed the screen: inserted by SQL."""
    job = {"user_id": site.user, "job_type": job_type, "prompt": prompt, "settings": {"steps": 1, "seed": 4711}}
    return str(site.db.rows("select job_id from ourvidz.submit_batch(%s)", (json.dumps([job]),))[0]["job_id"])


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "image7b_fast_enhanced", "image_fast"])
def test_a_refused_prompt_fails_permanently_and_reaches_no_model(site: Site, job_type: str) -> None:
    job_id = past_the_screen(site, job_type)
    shelf = enhancing_with(site, None)  # an enhancer would be loaded, and noticed below
    site.work(job_id, shelf=shelf, screen=Refusing())
    row = site.row(job_id)
    assert (row["status"], row["error_class"], row["final"]) == ("failed", "refused_content", True)
    said = site.data(job_id, "failed")[0]
    assert len(said.pop("digest")) == 64  # salted: proves what was refused without revealing it
    assert (
        said
        == {
            "class": "refused_content",
            "final": True,
            "category": "minors",
            "policy_version": "image-" + hashlib.sha256(b"rules-7").hexdigest()[:8],  # hashed: a third-party screen may choose any name
            "stage": "prompt",
            "rule_id": "image-" + hashlib.sha256(b"m1").hexdigest()[:8],
        }
    )
    assert site.types(job_id) == ["submitted", "claimed", "failed"]
    assert shelf.sdxl.works == shelf.wan.works == [] and shelf._enhancer is None
    assert PROMPT not in site.said(job_id)
    with pytest.raises(FinalFailure):
        site.jobs.retry(job_id)
    site.intact(job_id)


def test_an_enhanced_text_that_is_refused_is_not_kept_or_used(site: Site) -> None:
    job_id = past_the_screen(site, "image7b_fast_enhanced")
    shelf = site.work(job_id, screen=Refusing("composition"))  # a word found only in the enhanced text
    assert (site.row(job_id)["status"], site.row(job_id)["final"]) == ("failed", True)
    assert shelf.wan.works == []
    assert site.db.rows("select enhanced_prompt from public.job_payloads where job_id = %s", (job_id,))[0]["enhanced_prompt"] is None


def test_an_enhanced_text_of_an_earlier_attempt_is_screened_again(site: Site) -> None:
    """The rules may have changed since, or that executor had others."""
    job_id = past_the_screen(site, "image7b_fast_enhanced")
    (claim,) = site.jobs.claim(site.jobs.register("earlier", "host", 1, ["wan"]))
    site.jobs.advance(claim, "enhancement_started")
    site.jobs.enhanced(claim, "a composition of forbidden things", seconds=1, tokens=5)
    site.jobs.snooze(claim, "drain")
    shelf = site.work(job_id, screen=Refusing("forbidden"))
    assert (site.row(job_id)["status"], site.row(job_id)["final"]) == ("failed", True)
    assert shelf.wan.works == []


def test_a_screen_that_cannot_answer_lets_nothing_through(site: Site) -> None:
    job_id = past_the_screen(site)
    shelf = site.work(job_id, screen=Crashing())
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"], site.row(job_id)["final"]) == (
        "failed",
        "screen_unavailable",
        False,
    )
    assert shelf.sdxl.works == []
    site.jobs.retry(job_id)
    site.work(job_id)
    site.completed(job_id)


def test_prompt_and_enhanced_text_are_both_screened(site: Site) -> None:
    job_id = site.jobs.submit(NewJob(site.user, "image7b_fast_enhanced", PROMPT, settings={"steps": 1, "seed": 4711})).id
    screen = Refusing("never there")
    site.work(job_id, screen=screen)
    site.completed(job_id)
    assert screen.shown == 2, (site.types(job_id), site.data(job_id, "enhancement_skipped"))


def test_weight_syntax_inside_a_word_does_not_hide_it(site: Site) -> None:
    """compel reads `forb(id:1.1)den` as the plain word; so must the screen."""
    job_id = past_the_screen(site, prompt="a forb(id:1.1)den thing")
    shelf = site.work(job_id, screen=Refusing("forbidden"))
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"]) == ("failed", "refused_content")
    assert shelf.sdxl.works == []


def message_with_weights(site: Site, weights: str) -> str:
    message = {"id": str(uuid.uuid4()), "type": "sdxl_image_fast", "prompt": PROMPT, "user_id": site.user, "metadata": {},
               "config": {"num_inference_steps": 1, "seed": 4711}, "compel_enabled": True, "compel_weights": weights}  # fmt: skip
    site.db.rows("select ourvidz.submit(%s::jsonb, 'redis')", (json.dumps(message),))
    return message["id"]


def test_a_messages_weights_are_screened_and_reach_the_encoder(site: Site) -> None:
    refused = message_with_weights(site, "(never there:1.3)")
    shelf = site.work(refused, screen=Refusing("never there"))
    assert (site.row(refused)["status"], site.row(refused)["error_class"]) == ("failed", "refused_content")
    assert shelf.sdxl.works == []
    job_id = message_with_weights(site, "(mist:1.3)")
    shelf = site.work(job_id, screen=Refusing("never there"))
    site.completed(job_id)
    assert shelf.sdxl.works[0].prompt == f"{PROMPT}, (mist:1.3)"
