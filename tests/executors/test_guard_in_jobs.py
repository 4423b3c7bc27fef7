"""The guard in the executor's pipeline, with tiny models treated as real: nothing is generated from a text that it has not allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from executor_site import ProbeShelf, Site
from trained_guard import STANDIN, Mind, taught
from waiting import wait_for

from executors.enhance import Enhanced
from executors.enhancer.client import RemoteEnhancer
from executors.errors import EnhancerAway
from executors.guard_model import policy
from executors.shelf import Shelf
from ourvidz.safety.screen import Verdict


@pytest.fixture(scope="module")
def mind(taught_qwen: Path) -> Mind:
    return taught(taught_qwen)


class GuardedShelf(ProbeShelf):
    guarded = True  # type: ignore[assignment]

    def __init__(self, loaded: Shelf, model: Any) -> None:
        super().__init__(loaded)
        self._enhancer = model


class Writes(Mind):
    """Enhances every prompt to this text."""

    text = "a quiet harbour at dusk"

    def enhance(self, *_: object, **__: object) -> Enhanced:
        return Enhanced(self.text, 0.1, 9)


def test_an_allowed_text_is_generated(site: Site, loaded: Shelf, mind: Mind) -> None:
    job_id = site.submit(prompt="two lanterns beside the old bridge")
    site.work(job_id, shelf=GuardedShelf(loaded, mind))
    site.completed(job_id)


def test_a_refused_text_fails_permanently(site: Site, loaded: Shelf, mind: Mind) -> None:
    job_id = site.submit(prompt=f"two lanterns beside the {STANDIN} bridge")
    shelf = site.work(job_id, shelf=GuardedShelf(loaded, mind))
    row = site.row(job_id)
    assert (row["status"], row["error_class"], row["final"]) == ("failed", "refused_content", True)
    (told,) = site.data(job_id, "failed")
    assert (told["category"], told["policy_version"]) == ("minors", policy().version) and STANDIN not in str(told)
    assert shelf.sdxl.works == [] and site.artifacts(job_id) == []
    assert site.data(job_id, "generation_started") == []


def test_an_enhanced_text_is_checked_again(site: Site, loaded: Shelf, taught_qwen: Path) -> None:
    writes: Any = taught(taught_qwen, Writes)
    writes.text = f"a quiet harbour with a {STANDIN} under warm light"
    job_id = site.submit("image7b_fast_enhanced", prompt="a quiet harbour under warm light")
    shelf = site.work(job_id, shelf=GuardedShelf(loaded, writes))
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"]) == ("failed", "refused_content")
    assert shelf.wan.works == []


@pytest.mark.parametrize("trouble", ["nonsense", "breaks"])
def test_a_guard_that_cannot_answer_lets_nothing_through(site: Site, loaded: Shelf, taught_qwen: Path, trouble: str) -> None:
    class Broken(Mind):
        def answer(self, turns: list[dict[str, str]]) -> Any:
            if trouble == "breaks":
                raise KeyError(turns[1]["content"])
            return super().answer(turns) * 0

    site.no_second_try()
    prompt = "two lanterns beside the old bridge"
    job_id = site.submit(prompt=prompt)
    worker = site.worker(shelf=GuardedShelf(loaded, taught(taught_qwen, Broken)))
    site.start(worker, job_id)
    wait_for(lambda: site.row(job_id)["errors"] >= 1)  # it may have been retried meanwhile
    told = site.data(job_id, "retry_scheduled")[0]
    assert told["class"] == "screen_unavailable"
    assert prompt not in str(site.db.rows("select error_message from public.job_payloads where job_id = %s", (job_id,)))
    assert worker.shelf.sdxl.works == []  # type: ignore[attr-defined]


class Remote(RemoteEnhancer):
    """The enhancer process, reduced to the guard's questions."""

    def __init__(self, allowed: bool | None, only: bool = False) -> None:
        super().__init__(Path("/nowhere"), only=only)
        self.allowed = allowed

    def there(self) -> bool:
        return True

    def judge(self, text: str, **_: object) -> Verdict:
        if self.allowed is None:
            raise EnhancerAway("it was killed")
        return Verdict(True, "remote") if self.allowed else Verdict(False, "remote", "minors", "guard.B")


@pytest.mark.parametrize(("allowed", "only", "status"), [(True, False, "completed"), (False, False, "failed"), (None, False, "completed")])
def test_the_enhancer_process_judges_if_available(
    site: Site, loaded: Shelf, mind: Mind, allowed: bool | None, only: bool, status: str
) -> None:
    mind.asked = 0
    job_id = site.submit(prompt="two lanterns beside the old bridge")
    site.work(job_id, shelf=GuardedShelf(loaded, mind), enhancer=Remote(allowed, only))
    assert site.row(job_id)["status"] == status
    assert mind.asked == (allowed is None)  # killed in the middle: this executor's own model answers


def test_a_required_remote_guard_is_waited_for(site: Site, loaded: Shelf, mind: Mind) -> None:
    mind.asked = 0
    site.no_second_try()
    job_id = site.submit(prompt="two lanterns beside the old bridge")
    site.start(site.worker(shelf=GuardedShelf(loaded, mind), enhancer=Remote(None, only=True)), job_id)
    wait_for(lambda: site.row(job_id)["errors"] == 1)
    assert site.data(job_id, "retry_scheduled")[0]["class"] == "screen_unavailable" and mind.asked == 0


UNREAD = "daraja la zamani kando ya bahari jioni"  # "an old bridge by the sea at dusk"; the lexical screen has no table for Swahili


def test_without_a_guard_an_unsupported_language_is_refused(site: Site, loaded: Shelf) -> None:
    job_id = site.submit(prompt=UNREAD)
    shelf = site.work(job_id, shelf=ProbeShelf(loaded))
    (told,) = site.data(job_id, "failed")
    assert (site.row(job_id)["error_class"], told["category"], told["rule_id"]) == ("refused_content", "unreadable", "und/language")
    assert shelf.sdxl.works == [] and site.artifacts(job_id) == []


def test_with_a_guard_an_unsupported_language_is_judged_by_it(site: Site, loaded: Shelf, mind: Mind) -> None:
    mind.asked = 0
    job_id = site.submit(prompt=UNREAD)
    site.work(job_id, shelf=GuardedShelf(loaded, mind))
    assert mind.asked == 1 and [told["rule_id"] for told in site.data(job_id, "failed")] in ([], ["guard.B"])
