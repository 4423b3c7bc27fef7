"""The prompt dialog from the edge function to a real (tiny) Qwen and back: enhance-prompt in Deno, the database, the enhancer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from enhancer_site import PROMPT, SLOW, Served, nothing
from executor_site import Site, Zygote
from stack_fixtures import Project, User
from waiting import LIMIT, wait_for

from executors.shelf import Shelf
from ourvidz.db import enhancement
from ourvidz.db.connection import Database

KEYS = {"original_length", "enhanced_length", "expansion_percentage", "enhancement_strategy"}


def ask(project: Project, user: User | None, prompt: Any = PROMPT, **more: Any) -> httpx.Response:
    body = {"prompt": prompt, "jobType": "video_fast", "format": "video", "quality": "fast"} | more
    with project.client(user) as client:
        return client.post("/functions/v1/enhance-prompt", json=body)


@pytest.fixture
def start(enhancer_folder: Path, zygote: Zygote, project: Project) -> Iterator[Callable[[str], Served]]:
    """Start an enhancer that answers this project's dialog."""
    made: list[Served] = []

    def one(name: str) -> Served:
        made.append(Served(zygote, enhancer_folder / f"{name}.sock", url=project.database.url))
        made[-1].wait("ready")
        alive = "select count(*) as n from ourvidz.enhancers where beat_at > now() - interval '1 s'"
        wait_for(lambda: project.database.rows(alive)[0]["n"], "for the enhancer to look for prompts")
        return made[-1]

    yield one
    for each in made:
        each.end()
    project.database.rows("delete from ourvidz.enhancers")


def test_without_an_enhancer_it_fails_at_once(project: Project) -> None:
    answer = ask(project, project.user())
    said = answer.json()
    assert (answer.status_code, said["success"], said["code"]) == (503, False, "OV030") and "No enhancer" in said["details"]


def test_the_answer_has_the_dialogs_fields_and_the_models_text(project: Project, start: Callable[[str], Served], loaded: Shelf) -> None:
    start("a")
    answer = ask(project, project.user())
    said = answer.json()
    assert answer.status_code == 200, answer.text
    text = loaded.enhancer().enhance(PROMPT, "wan", deadline_s=60, should_stop=nothing).text
    assert (said["success"], said["original_prompt"], said["enhanced_prompt"]) == (True, PROMPT, text)
    about = said["enhancement_metadata"]
    assert about.keys() >= KEYS
    assert (about["original_length"], about["enhanced_length"]) == (len(PROMPT), len(text))
    assert about["expansion_percentage"] == round((len(text) - len(PROMPT)) / len(PROMPT) * 100)
    assert about["enhancement_strategy"] == "qwen_wan" and "tiny model" in about["note"]


def test_a_killed_enhancers_prompt_is_answered_by_another(project: Project, start: Callable[[str], Served]) -> None:
    first = start("a")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, project, project.user(), SLOW)
        first.wait("token")
        first.signal(signal.SIGKILL)
        first.exit_code()
        start("b")
        answer = asking.result(LIMIT)
    assert answer.status_code == 200 and answer.json()["original_prompt"] == SLOW, answer.text
    (row,) = project.database.rows("select claim_no from ourvidz.enhancement_requests where prompt = %s", (SLOW,))
    assert row["claim_no"] == 2


def test_a_stopped_enhancer_gives_back_its_prompt(project: Project, start: Callable[[str], Served]) -> None:
    first = start("a")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, project, project.user(), SLOW)
        first.wait("token")
        second = start("b")
        first.signal(signal.SIGTERM)
        wait_for(lambda: not first.socket.exists(), "for it to be told once")
        first.signal(signal.SIGTERM)
        assert first.exit_code() == 0
        second.wait("token")
        assert asking.result(LIMIT).status_code == 200


def test_a_refused_text_never_reaches_the_browser(project: Project) -> None:
    """Both the prompt, before any model sees it, and the enhancer's text."""
    word, user = "schoolgirl", project.user()  # from the term lists: a neutral word by itself
    enhancement.take(project.database, "test")
    answer = ask(project, user, word)
    assert (answer.status_code, answer.json()["code"]) == (422, "OV013") and word not in answer.text
    assert enhancement.take(project.database, "test") is None

    done = threading.Event()

    def answers() -> None:
        while not done.wait(0.05):
            if (taken := enhancement.take(project.database, "test")) is not None:
                enhancement.answer(project.database, taken, f"a {word} at dusk", {})

    thread = threading.Thread(target=answers)
    thread.start()
    try:
        answer = ask(project, user)
    finally:
        done.set()
        thread.join(LIMIT)
    assert (answer.status_code, answer.json()["code"]) == (422, "OV013") and word not in answer.text


@pytest.mark.parametrize("prompt", [None, 5, "", " ", "x" * 4001, ["a"]])
def test_bad_prompts_are_refused_by_name(project: Project, prompt: Any) -> None:
    answer = ask(project, project.user(), prompt)
    assert (answer.status_code, answer.json()["field"]) == (400, "prompt")


def test_unauthorised_users_are_refused(project: Project) -> None:
    assert ask(project, None).status_code == 401
    enhancement.take(project.database, "test")
    refused = ask(project, project.user(verified=False))
    assert (refused.status_code, refused.json()["code"]) == (403, "OV010")


def queued(db: Database, user: str, prompt: str) -> str:
    """Queue a request as the rpc does."""
    enhancement.take(db, "test")
    sql = """with claims as materialized (select set_config('request.jwt.claims', %s, true))
             select ourvidz.api_ask_enhancement(jsonb_build_object('prompt', %s::text))->>'request_id' as id from claims"""
    return str(db.rows(sql, (f'{{"role": "authenticated", "sub": "{user}"}}', prompt))[0]["id"])


def outcome(db: Database, request: str) -> dict[str, Any]:
    return db.rows("select enhanced, failed, figures from ourvidz.enhancement_requests where id = %s", (request,))[0]


def test_without_an_enhancer_process_an_idle_executor_answers(site: Site) -> None:
    request = queued(site.db, site.user, PROMPT)
    worker = site.worker()
    thread = site.start(worker)
    try:
        wait_for(lambda: outcome(site.db, request)["enhanced"], "for the executor's own model")
    finally:
        worker.stop()
        thread.join(LIMIT)
    text = site.loaded.enhancer().enhance(PROMPT, "sdxl", deadline_s=60, should_stop=nothing).text
    assert outcome(site.db, request)["enhanced"] == text


def test_the_enhancer_applies_the_screen(site: Site) -> None:
    """A user's JWT suffices to call the rpc without the edge function."""
    from executors.dialog import of_shelf
    from ourvidz.lifecycle import Jobs
    from ourvidz.safety.lexical import LexicalScreen

    request = queued(site.db, site.user, "schoolgirl")
    dialog = of_shelf(Jobs(site.db, LexicalScreen()), site.loaded)
    assert dialog is not None and dialog.once()
    assert outcome(site.db, request) == {"enhanced": None, "failed": "refused", "figures": {}}
