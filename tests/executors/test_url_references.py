"""A job whose reference is a URL: the fetcher's answer decides, and nothing of a signed URL is revealed."""

from __future__ import annotations

import hashlib
import io
import logging
from typing import Any

import pytest
from executor_site import Site
from PIL import Image

from executors.context import JobRun
from executors.errors import BadReference
from ourvidz.db import ages
from ourvidz.fetch import FetchRefused, FetchUnavailable

SIGNED = "https://abc.supabase.co/storage/v1/object/sign/character-images/someone/a.png?token=hush-hush"


def picture() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((96, 96), 60).save(out, "PNG")
    return out.getvalue()


PICTURE = picture()


class Elsewhere:
    """Answers in turn with bytes or an error, and records the URLs."""

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


def test_an_image_from_a_url_is_used(site: Site) -> None:
    elsewhere = Elsewhere(PICTURE)
    job_id = site.submit("image_fast", references={"single": SIGNED})
    shelf = site.work(job_id, fetch=elsewhere)
    site.completed(job_id)
    assert elsewhere.asked == [SIGNED]
    assert shelf.wan.works[0].references.single.size == (96, 96)


@pytest.mark.parametrize("answer", [FetchRefused("abc.supabase.co answered 400."), b"these are words"], ids=["refused", "no picture"])
def test_a_permanent_fetch_error_fails_the_job(site: Site, answer: bytes | Exception) -> None:
    job_id = site.submit("image_fast", references={"single": SIGNED})
    shelf = site.work(job_id, fetch=Elsewhere(answer))
    assert outcome(site, job_id) == ("failed", "bad_reference", 1)
    assert shelf.wan.works == []


def test_a_temporary_fetch_error_is_retried(site: Site) -> None:
    job_id = site.submit("image_fast", references={"single": SIGNED}, reference_fallback=True)
    shelf = site.work(job_id, fetch=Elsewhere(FetchUnavailable("abc.supabase.co answered 503."), PICTURE))
    site.completed(job_id)
    assert site.data(job_id, "retry_scheduled")[0]["class"] == "reference_away"
    assert shelf.wan.works[0].references.wan_mode == "single"


def test_a_lasting_fetch_error_fails_after_the_last_attempt(site: Site) -> None:
    away = [FetchUnavailable("abc.supabase.co was silent for too long.") for _ in range(3)]
    job_id = site.submit("image_fast", references={"single": SIGNED})
    site.work(job_id, fetch=Elsewhere(*away))
    assert outcome(site, job_id) == ("failed", "reference_away", 3)
    assert "reference single could not be fetched: abc.supabase.co was silent" in site.said(job_id)


def test_after_the_last_attempt_it_is_skipped_if_the_job_allows(site: Site) -> None:
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


def test_consent_is_checked_for_the_fetched_bytes_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr("executors.steps.references.attested", lambda run, slot, sha256: asked.append((slot, sha256)))
    data = PICTURE
    job_id = site.submit("image_fast", references={"single": SIGNED})
    site.work(job_id, fetch=Elsewhere(data))
    site.completed(job_id)
    assert asked == [("single", hashlib.sha256(data).hexdigest())]


def test_without_consent_the_image_reaches_no_model(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: JobRun, slot: str, sha256: str) -> None:
        raise BadReference("no consent is attested")

    monkeypatch.setattr("executors.steps.references.attested", refuse)
    job_id = site.submit("image_fast", references={"single": SIGNED})
    shelf = site.work(job_id, fetch=Elsewhere(PICTURE))
    assert outcome(site, job_id) == ("failed", "bad_reference", 1)
    assert shelf.wan.works == []


def test_an_unattested_image_reaches_no_model(site: Site) -> None:
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


def test_an_unattested_image_is_skipped_if_the_job_allows(site: Site) -> None:
    job_id = site.submit("image_fast", references={"single": SIGNED}, reference_fallback=True)
    shelf = site.work(job_id, fetch=Elsewhere(picture()))
    site.completed(job_id)
    assert site.data(job_id, "reference_skipped") == [{"reference": "single", "reason": "no_consent"}]
    assert shelf.wan.works[0].references.wan_mode == "none"
