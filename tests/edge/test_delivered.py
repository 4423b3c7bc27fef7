"""From the outbox to the project's own function: the deliverer, a real gateway, job-callback in Deno."""

from __future__ import annotations

from stack_fixtures import Project
from support import Permissive, claim, executor, finish, submit

from ourvidz.db import outbox
from ourvidz.delivery.deliverer import Deliverer
from ourvidz.delivery.receivers import follow_environment
from ourvidz.delivery.sending import Keyring
from ourvidz.lifecycle import Jobs


def test_job_callback_accepts_the_deliverers_messages(project: Project) -> None:
    db = project.database
    follow_environment(db, project.url, signs=True)
    outbox.receiver_set(db, "job-callback", events=["processing", "completed", "failed", "cancelled"])
    here = Jobs(db, Permissive())
    gpu, owner = executor(here, lanes=["wan"]), project.user().id
    done = submit(here, owner, "image_high")
    finish(here, claim(here, gpu))
    here.cancel(submit(here, owner, "image_high"))
    environment = project.environment
    ring = Keyring(environment, project.url, environment["SUPABASE_SERVICE_KEY"])
    Deliverer(db, ring).run(once=True)
    told = outbox.messages(db, receiver="job-callback")
    assert sorted((r["status"], r["state"], r["last_status"], r["last_error"]) for r in told) == [
        ("cancelled", "delivered", 200, None), ("completed", "delivered", 200, None), ("processing", "delivered", 200, None),
    ]  # fmt: skip
    assert done in {str(r["job_id"]) for r in told}
