"""Run one claim: take its job through the steps (`executors.steps`), and report the outcome.

Each job runs in a thread of its own, so one uploads while the next is on the device and a third is prepared. They share only the device,
which takes them one by one (`executors.device`). `attempt` is the single place that catches errors and passes them to policy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from executors.context import ExecutorContext, JobRun
from executors.errors import Cancelled, ExecutorError, LeaseLost, ModelFileError, Refused
from executors.heartbeat import Drained, Hold
from executors.places import EnhancerProcess
from executors.steps import STEPS
from executors.steps.upload import delete_leftovers, withdraw
from ourvidz.db.connection import DatabaseAway
from ourvidz.progress import Progress
from ourvidz.safety.screen import ScreenUnavailable
from ourvidz.storage.base import StorageError
from state.errors import ExecutorGone, NotAgeVerified, StaleClaim, Suspended

log = logging.getLogger("ourvidz.run")


def attempt(context: ExecutorContext, hold: Hold) -> str:
    """Run one claim to its end. Returns the outcome: completed, cancelled, snoozed, policy's answer to a failure, lost (another claim has
    the job), or unknown (this claim may still have it, but the outcome could not be written)."""
    claim = hold.claim
    try:
        _run_steps(context, hold)
        context.jobs.complete(claim)
        context.spool.drop(claim.job_id)
        if claim.claim_no > 1:
            delete_leftovers(context, claim)
        return "completed"
    except StaleClaim:
        delete_leftovers(context, claim)
        return "lost"
    except LeaseLost:
        return "lost" if hold.lost else "unknown"  # another claim has the job, or may have it by now: write nothing
    except (ExecutorGone, DatabaseAway):
        return "unknown"
    except (Cancelled, NotAgeVerified, Suspended):
        return _quietly(lambda: context.jobs.honour_cancel(claim), "cancelled")
    except (Drained, KeyboardInterrupt):
        return _quietly(lambda: context.jobs.snooze(claim, "drain"), "snoozed")
    except ModelFileError:
        return _quietly(lambda: context.jobs.snooze(claim, "model_file", 1.0), "snoozed")
    except Refused as refusal:
        said, verdict = str(refusal), refusal.verdict
        word = _quietly(lambda: context.jobs.fail(claim, "refused_content", said, final=True, verdict=verdict), "failed")
        if word == "failed":
            context.spool.drop(claim.job_id)
            withdraw(context, claim)
        return word
    except Exception as error:
        name, retryable = classify(error)
        log.log(logging.WARNING if retryable else logging.ERROR, "Job %s: %s", claim.job_id, error, exc_info=name == "unexpected")
        said = str(error) or type(error).__name__
        final = isinstance(error, ExecutorError) and error.final
        return _quietly(lambda: context.jobs.fail(claim, name, said, retryable=retryable, final=final), "failed")


def _run_steps(context: ExecutorContext, hold: Hold) -> None:
    claim = hold.claim

    def show(stage: str) -> None:
        context.observe(Progress(claim.job_id, claim.job_type, stage))

    run = JobRun(context, hold, EnhancerProcess(context.enhancer, hold, context.policy, show), claim.prompt)
    for step in STEPS:
        run = step(run)


def classify(error: Exception) -> tuple[str, bool]:
    """Return the error class for the event, and whether a retry may help."""
    if isinstance(error, ExecutorError | StorageError | ScreenUnavailable):
        return error.error_class, error.retryable
    return "unexpected", True


def _quietly(report: Callable[[], str | None], word: str) -> str:
    try:
        return report() or word
    except StaleClaim:
        return "lost"
    except (ExecutorGone, DatabaseAway):
        return "unknown"
