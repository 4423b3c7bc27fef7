"""A job whose reference is a URL: what the fetcher says decides, and nothing of a signed URL is told to anyone."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from site_of import Site

from executors.errors import BadReference
from executors.room import Room, Run
from ourvidz.db import ages
from ourvidz.fetch import FetchRefused, FetchUnavailable

SIGNED = "https://abc.supabase.co/storage/v1/object/sign/character-images/someone/a.png?token=hush-hush"


def picture() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((96, 96), 60).save(out, "PNG")
    return out.getvalue()


PICTURE = picture()


class Elsewhere:
    """Answers in turn with bytes or an error, and remembers what it was asked for."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers, self.asked = list(answers), []  # type: ignore[var-annotated]

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def outcome(site: Site, job_id: str) -> tuple[str, str | None, int]:
    row = site.row(job_id)
    return row["status"], row["error_class"], row["attempts"]


@pytest.fixture(autouse=True)
def attested(site: Site) -> None:
    for data in (PICTURE, b"these are words"):
        site.attest(data)


@pytest.fixture(autouse=True)
def nothing_told(site: Site, caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG)
    yield
    told = str(site.db.rows("select error_message from public.job_payloads")) + str(site.db.rows("select data from public.job_events"))
    assert "hush" not in told + caplog.text


def test_a_picture_from_elsewhere_is_used(site: Site) -> None:
    elsewhere = Elsewhere(PICTURE)
    job_id = site.submit("image_fast", references={"single": SIGNED})
    shelf = site.work(job_id, fetch=elsewhere)
    site.completed(job_id)
    assert elsewhere.asked == [SIGNED]
    assert shelf.wan.works[0].references.single.size == (96, 96)


@pytest.mark.parametrize("answer", [FetchRefused("abc.supabase.co answered 400."), b"these are words"], ids=["refused", "no picture"])
def test_what_will_not_change_fails_at_once(site: Site, answer: bytes | Exception) -> None:
    job_id = site.submit("image_fast", references={"single": SIGNED})
    shelf = site.work(job_id, fetch=Elsewhere(answer))
    assert outcome(site, job_id) == ("failed", "bad_reference", 1)
    assert shelf.wan.works == []


def test_what_may_pass_is_tried_again(site: Site) -> None:
    job_id = site.submit("image_fast", references={"single": SIGNED}, reference_fallback=True)
    shelf = site.work(job_id, fetch=Elsewhere(FetchUnavailable("abc.supabase.co answered 503."), PICTURE))
    site.completed(job_id)
    assert site.data(job_id, "retry_scheduled")[0]["class"] == "reference_away"
    assert shelf.wan.works[0].references.wan_mode == "single"


def test_until_attempts_are_spent(site: Site) -> None:
    away = [FetchUnavailable("abc.supabase.co was silent for too long.") for _ in range(3)]
    job_id = site.submit("image_fast", references={"single": SIGNED})
    site.work(job_id, fetch=Elsewhere(*away))
    assert outcome(site, job_id) == ("failed", "reference_away", 3)
    assert "reference single could not be fetched: abc.supabase.co was silent" in site.said(job_id)


def test_then_it_is_left_out_where_the_job_said_so(site: Site) -> None:
    away = [FetchUnavailable("abc.supabase.co was silent for too long.") for _ in range(3)]
    job_id = site.submit("image_fast", references={"single": SIGNED}, reference_fallback=True)
    shelf = site.work(job_id, fetch=Elsewhere(*away))
    site.completed(job_id)
    assert site.data(job_id, "reference_skipped") == [{"reference": "single", "reason": "reference_away"}]
    assert shelf.wan.works[0].references.wan_mode == "none"


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/a.png", "https://localhost/a.png?token=hush", "https://[::1]/", "https://a@b.example/x"]
)
def test_an_executor_has_the_real_fetcher(site: Site, url: str) -> None:
    job_id = site.submit("image_fast", references={"single": url})
    site.work(job_id)
    assert outcome(site, job_id) == ("failed", "bad_reference", 1)
    assert site.said(job_id).startswith("reference single is not fetched: ")


def consenting(monkeypatch: pytest.MonkeyPatch, consent: Callable[[Run, str, str], None]) -> None:
    made = Room.__init__

    def with_consent(room: Room, *args: Any, **more: Any) -> None:
        made(room, *args, **{"consent": consent, **more})

    monkeypatch.setattr(Room, "__init__", with_consent)


def test_consent_is_asked_of_the_very_bytes_before_a_model_sees_them(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    consenting(monkeypatch, lambda run, slot, sha256: asked.append((slot, sha256)))
    data = PICTURE
    job_id = site.submit("image_fast", references={"single": SIGNED})
    site.work(job_id, fetch=Elsewhere(data))
    site.completed(job_id)
    assert asked == [("single", hashlib.sha256(data).hexdigest())]


def test_without_consent_no_model_sees_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: Run, slot: str, sha256: str) -> None:
        raise BadReference("no consent is attested")

    consenting(monkeypatch, refuse)
    job_id = site.submit("image_fast", references={"single": SIGNED})
    shelf = site.work(job_id, fetch=Elsewhere(PICTURE))
    assert outcome(site, job_id) == ("failed", "bad_reference", 1)
    assert shelf.wan.works == []


def test_a_picture_that_nobody_attested_is_seen_by_no_model(site: Site) -> None:
    data = picture()
    ages.follow_project(site.db, "https://abc.supabase.co")
    job_id = site.submit("image_fast", references={"single": SIGNED})
    shelf = site.work(job_id, fetch=Elsewhere(data))
    assert outcome(site, job_id) == ("failed", "no_consent", 1) and not site.row(job_id)["final"]
    assert shelf.wan.works == [] and "reference single: No consent is attested" in site.said(job_id)
    assert "then retry the job: https://abc.supabase.co/functions/v1/verify#pictures" in site.said(job_id), "a person is told where to"
    site.attest(data)
    site.jobs.retry(job_id)
    site.work(job_id, fetch=Elsewhere(data))
    site.completed(job_id)


def test_or_is_left_out_where_the_job_said_so(site: Site) -> None:
    job_id = site.submit("image_fast", references={"single": SIGNED}, reference_fallback=True)
    shelf = site.work(job_id, fetch=Elsewhere(picture()))
    site.completed(job_id)
    assert site.data(job_id, "reference_skipped") == [{"reference": "single", "reason": "no_consent"}]
    assert shelf.wan.works[0].references.wan_mode == "none"
