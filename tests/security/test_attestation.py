"""A picture whose consent was withdrawn stays in use through outputs made from it.

The attacker attests a picture, makes outputs from it, and withdraws the attestation, or is made to withdraw it. Then they use the outputs
as references: directly, at any depth, through a scene's preview, as another user, with an attestation of the output's own bytes; or they
withdraw while the job waits or runs.
"""

from __future__ import annotations

import itertools
import json

import pytest
from support import Clock, artifact, claim, executor, new_user, submit

from ourvidz.db import safety
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs, NewJob
from state.errors import NoConsent

PICTURE, OTHER = "a1" * 32, "b2" * 32
_numbers = itertools.count()


class Studio:
    """One user, and an executor that asks for consent to each reference as `executors.steps.references` does."""

    def __init__(self, jobs: Jobs, user: str, gpu: str) -> None:
        self.jobs, self.db, self.user, self.gpu = jobs, jobs.db, user, gpu

    def attest(self, sha256: str) -> None:
        safety.attest(self.db, self.user, sha256, "v1")

    def withdraw(self, sha256: str) -> None:
        assert self.db.rows("select ourvidz.withdraw(%s, %s) as done", (self.user, sha256))[0]["done"]

    def begin(self, *pictures: str) -> Claim:
        """A claimed job with consent checked for its references."""
        submit(self.jobs, self.user, prompt=f"a lighthouse, {next(_numbers)}")
        held = claim(self.jobs, self.gpu)
        for sha256 in pictures:
            self.jobs.check_consent(held, sha256)
        return held

    def make(self, *pictures: str) -> str:
        """Complete an output made from these pictures; returns its SHA-256."""
        held = self.begin(*pictures)
        self.jobs.advance(held, "generation_started")
        made = artifact(held)
        self.jobs.artifact_generated(held, made)
        self.jobs.advance(held, "upload_started")
        self.jobs.artifact_uploaded(held, "image", 0, made["sha256"])
        self.jobs.complete(held)
        return str(made["sha256"])

    def refused(self, sha256: str) -> None:
        held = self.begin()
        with pytest.raises(NoConsent, match="withdrawn"):
            self.jobs.check_consent(held, sha256)
        self.jobs.fail(held, "no_consent", "No.", retryable=False)

    def chain(self, depth: int) -> str:
        """The last of `depth` outputs, each made from the previous one, the first from the attested picture."""
        self.attest(PICTURE)
        last = PICTURE
        for _ in range(depth):
            last = self.make(last)
        return last


@pytest.fixture
def studio(jobs: Jobs, database: Database) -> Studio:
    return Studio(jobs, new_user(database, "premium"), executor(jobs))


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_an_output_is_usable_only_while_the_attestation_holds(studio: Studio, depth: int) -> None:
    made = studio.chain(depth)
    studio.jobs.check_consent(studio.begin(), made)
    studio.withdraw(PICTURE)
    studio.refused(made)
    studio.attest(PICTURE)
    studio.jobs.check_consent(studio.begin(), made)


def test_one_withdrawn_source_blocks_the_output(studio: Studio) -> None:
    studio.attest(PICTURE)
    studio.attest(OTHER)
    made = studio.make(OTHER, PICTURE)
    studio.withdraw(PICTURE)
    studio.refused(made)


def test_outputs_of_other_pictures_stay_usable(studio: Studio) -> None:
    studio.attest(PICTURE)
    studio.attest(OTHER)
    studio.make(PICTURE)
    free, from_other = studio.make(), studio.make(OTHER)
    studio.withdraw(PICTURE)
    for picture in (free, from_other):
        studio.jobs.check_consent(studio.begin(), picture)


def test_attesting_the_output_itself_does_not_clear_it(studio: Studio) -> None:
    made = studio.chain(2)
    studio.withdraw(PICTURE)
    studio.attest(made)
    studio.refused(made)


def test_an_output_used_by_another_user_stays_blocked(studio: Studio) -> None:
    made = studio.chain(1)
    studio.withdraw(PICTURE)
    accomplice = Studio(studio.jobs, new_user(studio.db, "premium"), studio.gpu)
    accomplice.attest(made)
    accomplice.refused(made)


def test_another_users_withdrawal_does_not_affect_my_outputs(studio: Studio) -> None:
    made = studio.chain(1)
    other = Studio(studio.jobs, new_user(studio.db, "premium"), studio.gpu)
    other.attest(PICTURE)
    other.withdraw(PICTURE)
    studio.jobs.check_consent(studio.begin(), made)


def test_consent_withdrawn_before_generation_stops_the_job(studio: Studio) -> None:
    """After its first check the executor asks again before a model sees the picture, and before it publishes."""
    studio.attest(PICTURE)
    held = studio.begin(PICTURE)
    studio.jobs.check_consent(held)
    studio.withdraw(PICTURE)
    with pytest.raises(NoConsent, match="withdrawn"):
        studio.jobs.check_consent(held)


def test_submit_refuses_an_output_of_a_withdrawn_picture(studio: Studio) -> None:
    studio.attest(PICTURE)
    studio.make(PICTURE)
    studio.withdraw(PICTURE)
    (output,) = studio.db.rows("select bucket || '/' || path as address from public.artifacts")
    with pytest.raises(NoConsent, match="withdrawn"):
        studio.jobs.submit(NewJob(studio.user, "sdxl_img2img", "a lighthouse", settings={"references": {"init": output["address"]}}))
    assert studio.db.rows("select id from public.jobs where status = 'queued'") == []


def test_a_preview_made_from_a_withdrawn_picture_cannot_become_a_video(studio: Studio) -> None:
    scene = str(studio.db.rows("insert into public.videos (user_id) values (%s) returning id", (studio.user,))[0]["id"])
    studio.attest(PICTURE)
    studio.jobs.submit(NewJob(studio.user, "image_fast", "a lighthouse", video_id=scene))
    preview = claim(studio.jobs, studio.gpu)
    studio.jobs.check_consent(preview, PICTURE)
    studio.jobs.advance(preview, "generation_started")
    studio.jobs.artifact_generated(preview, made := artifact(preview))
    studio.jobs.advance(preview, "upload_started")
    studio.jobs.artifact_uploaded(preview, "image", 0, made["sha256"])
    studio.jobs.complete(preview)
    studio.withdraw(PICTURE)
    with pytest.raises(NoConsent, match="withdrawn"):
        studio.db.rows("select public.approve_preview(%s, charge => true)", (scene,))


def test_outputs_older_than_recorded_references_are_blocked_by_any_earlier_withdrawal(studio: Studio, clock: Clock) -> None:
    """The references of such a job are unknown: every attestation that its user made before it counts, later ones do not."""
    studio.attest(PICTURE)
    address = f"reference_images/{studio.user}/a.png"
    studio.jobs.submit(NewJob(studio.user, "sdxl_img2img", "a lighthouse", settings={"references": {"init": address}}))
    held = claim(studio.jobs, studio.gpu)
    studio.jobs.advance(held, "generation_started")
    studio.jobs.artifact_generated(held, made := artifact(held))
    studio.jobs.advance(held, "upload_started")
    studio.jobs.artifact_uploaded(held, "image", 0, made["sha256"])
    studio.jobs.complete(held)
    clock.advance(60)
    studio.attest(OTHER)
    studio.withdraw(OTHER)
    studio.jobs.check_consent(studio.begin(), made["sha256"])
    studio.withdraw(PICTURE)
    studio.refused(made["sha256"])


def test_too_many_ancestors_are_refused_cheaply(studio: Studio) -> None:
    """More ancestors than the limit of the search."""
    studio.attest(PICTURE)
    template = studio.make(PICTURE)
    # One job with 1,500 outputs, all of them also its references: each leads to all others.
    studio.db.rows(
        """with made as (select * from public.artifacts where sha256 = %s), shade as (
                  select n, encode(sha256(n::text::bytea), 'hex') as sha256 from generate_series(1, 1500) as n),
                more as (
                  insert into public.artifacts (job_id, index, kind, claim_no, bucket, path, media_type, width,
                                                height, bytes, sha256, created_at)
                  select job_id, n, 'thumbnail', claim_no, bucket, path || n, media_type, width, height, bytes, shade.sha256, created_at
                  from made, shade)
           insert into ourvidz.job_references (job_id, sha256, seen_at) select job_id, shade.sha256, ourvidz.now() from made, shade""",
        (template,),
    )
    held = studio.begin()
    with pytest.raises(NoConsent, match=r"1,000"):
        studio.jobs.check_consent(held, template)


def test_outputs_of_a_withdrawn_picture_are_listed(studio: Studio) -> None:
    first = studio.chain(1)
    second = studio.make(first)
    free = studio.make()
    shown = {row["sha256"]: row["why"] for row in safety.made_from(studio.db, PICTURE)}
    assert shown == {first: None, second: None}
    studio.withdraw(PICTURE)
    shown = {row["sha256"]: row["why"] for row in safety.made_from(studio.db, PICTURE, studio.user)}
    assert shown == {first: "withdrawn", second: "withdrawn"} and free not in shown
    (told,) = safety.consents(studio.db, withdrawn=True)
    assert (told["sha256"], told["jobs"]) == (PICTURE, 1)
    assert json.dumps(told, default=str)
