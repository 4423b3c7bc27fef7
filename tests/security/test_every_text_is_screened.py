"""Text that bypasses the screens.

The attacker puts it where only the prompt was checked: in the negative prompt (which also works in reverse: a picture that must not show
adults), in a message's weights, in a character's description, in a title, in the metadata that titles are made from; and in the same places
of a request to the edge function. "zebra" stands for the word; for the edge function a clinical term of the term lists does.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from executor_site import ProbeShelf, Site
from stack_fixtures import Project
from support import Permissive
from trained_guard import STANDIN, Mind, taught

from executors.shelf import Shelf
from ourvidz.lifecycle import Jobs, NewJob
from ourvidz.safety.lexical import LexicalScreen
from ourvidz.safety.screen import Verdict
from state.errors import RefusedContent

WORD = "schoolgirl"


class Refusing:
    def check(self, text: str) -> Verdict:
        return Verdict(False, "rules-7", "minors", "m1") if STANDIN in text.lower() else Verdict(True, "rules-7")


def queue(site: Site, **more: Any) -> str:
    job = {"user_id": site.user, "job_type": "image_fast", "prompt": "a pier", "settings": {"steps": 1, "seed": 4711}} | more
    return str(site.db.rows("select job_id from ourvidz.submit_batch(%s)", (json.dumps([job]),))[0]["job_id"])


def own(site: Site, table: str, **columns: Any) -> str:
    names = ", ".join(["user_id", *columns])
    sql = f"insert into public.{table} ({names}) values ({', '.join(['%s'] * (len(columns) + 1))}) returning id"
    return str(site.db.rows(sql, (site.user, *columns.values()))[0]["id"])


def with_character(site: Site, **columns: Any) -> dict[str, Any]:
    return {"metadata": {"character_id": own(site, "characters", name=columns.pop("name", "Ada"), **columns)}}


PLACES: dict[str, Any] = {
    "negative": ("negative", lambda site: {"negative_prompt": f"fog, {STANDIN}"}),
    "negative in the metadata": ("negative", lambda site: {"negative_prompt": "fog", "metadata": {"negative_prompt": STANDIN}}),
    "negative, weighted": ("negative", lambda site: {"negative_prompt": "fog, (ze(bra:1.2):1.1)"}),
    "a character's name": ("character", lambda site: with_character(site, name=STANDIN)),
    "a character's description": ("character", lambda site: with_character(site, description=f"looks like a {STANDIN}")),
    "a character's traits": ("character", lambda site: with_character(site, traits=f"kind, {STANDIN}")),
    "a character's tags": ("character", lambda site: with_character(site, appearance_tags=["tall", *"abcdefgh" * 9, STANDIN])),
    "the project's character": (
        "character",
        lambda site: {"project_id": own(site, "projects", character_id=own(site, "characters", name="Ada", description=STANDIN))},
    ),
    "the project's title": ("title", lambda site: {"project_id": own(site, "projects", title=f"My {STANDIN}")}),
    "the video's title": ("title", lambda site: {"video_id": own(site, "videos", title=f"My {STANDIN}"), "job_type": "video_fast"}),
    "the image's title": ("title", lambda site: {"image_id": own(site, "images", title=f"My {STANDIN}")}),
    "metadata": ("metadata", lambda site: {"metadata": {"test": [{"notes": f"a &#122;ebra, no: a {STANDIN}"}]}}),
    "a title in the metadata": ("metadata", lambda site: {"metadata": {"title": "my &#122;ebra"}}),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_refused_text_in_any_field_runs_no_model(site: Site, place: str) -> None:
    stage, more = PLACES[place]
    job = queue(site, **more(site))
    shelf = site.work(job, screen=Refusing())
    row = site.row(job)
    assert (row["status"], row["error_class"], row["final"]) == ("failed", "refused_content", True)
    assert site.data(job, "failed")[0]["stage"] == stage
    assert shelf.wan.works == shelf.sdxl.works == [] and STANDIN not in site.said(job)
    kept = site.db.rows("select stage from ourvidz.screenings where job_id = %s", (job,))
    assert kept == [{"stage": stage}]


def test_harmless_texts_pass_unchanged(site: Site) -> None:
    project = own(site, "projects", title="Harbour", character_id=own(site, "characters", name="Ada", description="tall, kind"))
    job = queue(
        site, project_id=project, negative_prompt="fog\nrain, (blur:1.2)", metadata={"title": "Dusk", "url": f"https://x.test/{STANDIN}"}
    )
    shelf = site.work(job, screen=Refusing())
    site.completed(job)
    assert "fog, rain, (blur:1.2)" in shelf.wan.works[0].negative_prompt


def test_a_negative_prompt_may_exclude_minors_but_not_adults(site: Site) -> None:
    """Terms that exclude minors are added by us: those from users are removed, so the screen need not allow any."""
    good = queue(site, negative_prompt="ugly, (child:1.3), Teenager, loli")
    bad = [
        queue(site, negative_prompt=text)
        for text in ("ugly, adult", "(a d u l t)1.2", "over 18", "30 years old", "взрослая", WORD, "my kid")
    ]
    shelf = site.work(good, *bad, screen=LexicalScreen())
    site.completed(good)
    assert {site.row(job)["error_class"] for job in bad} == {"refused_content"}
    assert {site.data(job, "failed")[0]["stage"] for job in bad} == {"negative"}
    (work,) = shelf.wan.works
    assert work.negative_prompt.startswith("child, minor, underage, teen, childlike, ") and ", ugly, " in work.negative_prompt
    assert "(child" not in work.negative_prompt and "Teenager" not in work.negative_prompt and "loli" not in work.negative_prompt


@pytest.mark.parametrize("field", ["negative", "metadata"])
def test_cli_and_python_refuse_the_text_before_queueing(site: Site, field: str) -> None:
    said: dict[str, Any] = {"negative_prompt": f"fog, {WORD}"} if field == "negative" else {"metadata": {"title": WORD}}
    with pytest.raises(RefusedContent, match="negative prompt" if field == "negative" else "metadata"):
        Jobs(site.db, LexicalScreen()).submit(NewJob(site.user, "image_fast", "a pier", **said))


def test_weights_of_a_message_are_screened_with_the_prompt(site: Site) -> None:
    message = {"id": str(uuid.uuid4()), "type": "sdxl_image_fast", "prompt": "a pier, ze", "user_id": site.user, "metadata": {},
               "config": {"num_inference_steps": 1}, "compel_enabled": True, "compel_weights": "(&#122;ebra:1.3)"}  # fmt: skip
    site.db.rows("select ourvidz.submit(%s::jsonb, 'redis')", (json.dumps(message),))
    shelf = site.work(message["id"], screen=Refusing())
    assert site.row(message["id"])["error_class"] == "refused_content" and shelf.sdxl.works == []


# -- the guard ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mind(taught_qwen: Path) -> Mind:
    return taught(taught_qwen)


class GuardedShelf(ProbeShelf):
    guarded = True  # type: ignore[assignment]

    def __init__(self, loaded: Shelf, model: Any) -> None:
        super().__init__(loaded)
        self._enhancer = model


@pytest.mark.parametrize("place", ["negative", "a character's description", "the project's title", "metadata"])
def test_the_guard_checks_every_text(site: Site, loaded: Shelf, mind: Mind, place: str) -> None:
    stage, more = PLACES[place]
    job = queue(site, prompt="two lanterns beside the old bridge", **more(site))
    shelf = site.work(job, shelf=GuardedShelf(loaded, mind), screen=Permissive())
    assert (site.row(job)["status"], site.row(job)["error_class"]) == ("failed", "refused_content")
    assert site.data(job, "failed")[0]["stage"] == stage
    assert shelf.wan.works == [] and site.data(job, "generation_started") == []


def test_the_guard_has_a_separate_question_for_negative_prompts(taught_qwen: Path) -> None:
    from executors.guard_model import Guard, policy

    asked: list[str] = []

    class Hears(Mind):
        def answer(self, turns: list[dict[str, str]]) -> Any:
            asked.append(turns[1]["content"])
            return super().answer(turns)

    guard = Guard(taught(taught_qwen, Hears))
    guard.check("fog", negative=True)
    assert "negative prompt" in policy().negative and "{text}" in policy().negative and "negative prompt" not in policy().question
    assert asked == [policy().negative.format(text="fog")]


# -- the edge function --------------------------------------------------------------------------------------------------------------------


def asked(project: Project, user: Any, function: str = "queue-job", **body: Any) -> tuple[int, str]:
    with project.client(user) as client:
        answer = client.post(f"/functions/v1/{function}", json=body)
    assert WORD not in answer.text
    return answer.status_code, answer.json().get("code", "")


def test_queue_job_screens_every_text(project: Project) -> None:
    user = project.user()

    def own(table: str, **columns: Any) -> str:
        sql = f"insert into public.{table} (user_id, {', '.join(columns)}) values (%s{', %s' * len(columns)}) returning id"
        return str(project.database.rows(sql, (user.id, *columns.values()))[0]["id"])

    pier = {"prompt": "a pier"}
    places: list[dict[str, Any]] = [
        {"metadata": {"prompt": "a &#115;choolgirl"}},
        {"metadata": {"prompt": "a &amp;#115choolgirl".replace("115c", "115;c")}},
        {"metadata": {"prompt": "a ＆＃１１５；choolgirl"}},
        {"metadata": {"prompt": "a scho(olgi:1.2)rl"}},
        {"metadata": pier | {"negative_prompt": "&#115;choolgirl"}},
        {"metadata": pier | {"negativePrompt": "ugly, (adult:1.2)"}},
        {"metadata": pier | {"compel_enabled": True, "compel_weights": f"({WORD}:1.3)"}},
        {"metadata": {"prompt": "a pier, school", "compel_enabled": True, "compel_weights": "girl"}},
        {"metadata": pier | {"title": WORD}},
        {"metadata": pier | {"prompt_test_metadata": [{"notes": WORD}]}},
        {"metadata": pier | {"character_id": own("characters", name="Ada", description=f"a {WORD}")}},
        {"metadata": pier | {"character_id": own("characters", name="Ada", appearance_tags=["tall", WORD])}},
        {"metadata": pier, "projectId": own("projects", title=WORD)},
        {"metadata": pier, "projectId": own("projects", character_id=own("characters", name=WORD))},
        {"metadata": pier, "videoId": own("videos", title=WORD)},
        {"metadata": pier, "imageId": own("images", title=WORD)},
    ]
    through = [place for place in places if asked(project, user, jobType="sdxl_image_fast", **place) != (422, "OV013")]
    assert through == []
    assert asked(project, user, "enhance-prompt", prompt="a &#115;choolgirl", jobType="video_fast") == (422, "OV013")
    assert project.database.rows("select count(*)::int as n from public.jobs where user_id = %s", (user.id,)) == [{"n": 0}]


def test_queue_job_names_an_unreadable_field_and_accepts_others(project: Project) -> None:
    user = project.user("premium")
    for more, field in (
        ({"prompt": "a &" + "amp;" * 60 + "#115;"}, "prompt"),
        ({"prompt": "a pier", "negative_prompt": "&" + "amp;" * 60 + "#115;"}, "negative_prompt"),
        ({"prompt": "a pier", "notes": "&" + "amp;" * 60 + "#115;"}, "metadata"),
    ):
        with project.client(user) as client:
            answer = client.post("/functions/v1/queue-job", json={"jobType": "image_fast", "metadata": more})
        assert (answer.status_code, answer.json()["field"]) == (400, field)
    good = {"prompt": "Tom &amp; Jerry", "negative_prompt": "ugly, child, (teen:1.3)", "reference_image_url": f"https://x.test/{WORD}.png"}
    assert asked(project, user, jobType="image_fast", metadata={k: v for k, v in good.items() if k != "reference_image_url"}) == (200, "")
