"""Everything running together as deployed: a project with its buckets, an executor on tiny models, the deliverer and the intake; and a
front end that has nothing but a user's token."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from stack_fixtures import Project, User
from waiting import wait_for

from executors.shelf import Shelf
from executors.worker import Worker
from ourvidz.bootstrap import App
from ourvidz.config import Config
from ourvidz.delivery.deliverer import Deliverer
from ourvidz.delivery.receivers import follow_environment
from ourvidz.delivery.sending import Keyring
from ourvidz.intake.drain import Drainer
from ourvidz.intake.message import QUEUES
from ourvidz.intake.upstash import Upstash
from ourvidz.storage.buckets import bring, compare
from ourvidz.storage.supabase import SupabaseStorage
from state.catalog import BUCKETS

Rows = list[dict[str, Any]]


class FrontEnd:
    """A browser: supabase-js's requests with one user's token."""

    def __init__(self, project: Project, user: User) -> None:
        self.user, self._http = user, project.client(user)

    def __enter__(self) -> FrontEnd:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Rows:
        answer = self._http.get(f"/rest/v1/{path}")
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    def one(self, path: str) -> dict[str, Any]:
        (found,) = self.get(path)
        return found

    def insert(self, table: str, **row: Any) -> dict[str, Any]:
        answer = self._http.post(f"/rest/v1/{table}", json=row, headers={"Prefer": "return=representation"})
        assert answer.status_code == 201, answer.text
        (made,) = answer.json()
        return dict(made)

    def rpc(self, verb: str, **named: Any) -> dict[str, Any]:
        answer = self._http.post(f"/rest/v1/rpc/{verb}", json=named)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def queue(self, job_type: str, ids: Mapping[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
        """Call queue-job and return its whole answer."""
        answer = self._http.post("/functions/v1/queue-job", json={"jobType": job_type, "metadata": metadata, **(ids or {})})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def download(self, bucket: str, path: str) -> httpx.Response:
        return self._http.get(f"/storage/v1/object/authenticated/{bucket}/{path}")

    def status(self, job_id: str) -> dict[str, Any]:
        return self.rpc("job_status", job_id=job_id)

    def wait(self, job_id: str, word: str = "completed") -> dict[str, Any]:
        """Poll, like a front end without Realtime."""
        told = wait_for(lambda: (s := self.status(job_id))["word"] in ("completed", "failed") and s, f"for {job_id}")
        assert told["word"] == word, told
        return dict(told)

    @property
    def tokens(self) -> int:
        return int(self.one("profiles?select=token_balance")["token_balance"])


class Deployment:
    def __init__(self, project: Project, app: App, redis: Upstash) -> None:
        self.project, self.app = project, app
        self.drainer = Drainer(app.database, redis, QUEUES)
        self.heard: Rows = []

    def front_end(self, plan: str = "premium", **more: Any) -> FrontEnd:
        return FrontEnd(self.project, self.project.user(plan, **more))

    def push(self, message: Mapping[str, Any]) -> None:
        """Push as the deployed edge function does: REST path style, the key in the path and the message as the body."""
        queue = "sdxl_queue" if str(message["type"]).startswith("sdxl") else "wan_queue"
        environment = self.project.environment
        answer = httpx.post(
            f"{environment['UPSTASH_REDIS_REST_URL']}/lpush/{queue}",
            content=json.dumps(message),
            headers={"Authorization": f"Bearer {environment['UPSTASH_REDIS_REST_TOKEN']}", "Content-Type": "application/json"},
        )
        assert answer.status_code == 200 and answer.json()["result"] >= 1, answer.text

    def drain(self) -> dict[str, int]:
        """Drain the intake and return the counts by result."""
        self.drainer.totals = {}
        while self.drainer.once():
            pass
        return self.drainer.totals

    def delivered(self, job_id: str) -> dict[str, Any]:
        """The body of the message about the job's end, once job-callback has received it."""
        sql = """select o.attempts, o.last_status, ourvidz.outbox_body(o) as body from ourvidz.outbox as o
                 where o.job_id = %s and o.delivered_at is not null"""
        (told,) = wait_for(lambda: self.project.database.rows(sql, (job_id,)), f"for job-callback to hear of {job_id}")
        assert (told["attempts"], told["last_status"]) == (1, 200), told
        return dict(told["body"])


@contextmanager
def deployed(project: Project, home: Path, models: Path) -> Iterator[Deployment]:
    """Run until the end of `with`, on that folder's tiny models. Assembled by the program's own `App`."""
    names = {"database_url": project.database.url, "ourvidz_home": home}
    app = App(Config(**names, **{name.lower(): value for name, value in project.environment.items()}))  # type: ignore[arg-type]
    assert isinstance(app.store, SupabaseStorage)
    for row in compare(app.store.api, BUCKETS):
        bring(app.store.api, row)
    ring = Keyring(project.environment, project.url, project.service_key)
    assert follow_environment(app.database, project.url, signs=True)
    deliverer = Deliverer(app.database, ring)
    worker = Worker(app.jobs, app.store, Shelf(models), home, name="deployed")
    with ExitStack() as opened:
        redis = Upstash(project.upstash.url, project.upstash.token)
        opened.callback(redis.close)
        for run, stop in ((worker.run, worker.stop), (deliverer.run, deliverer.stop)):
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            opened.callback(thread.join, 30)
            opened.callback(stop)
        yield Deployment(project, app, redis)


def message(user: User, job_type: str, prompt: str, job_id: str = "", **config: Any) -> dict[str, Any]:
    """The deployed function's message (SPEC §6), with few steps: they are not under test."""
    sdxl = job_type.startswith("sdxl")
    video = job_type.startswith("video")
    sdxl_config = {"width": 1024, "height": 1024, "num_inference_steps": 2, "guidance_scale": 7.5, "scheduler": "EulerDiscreteScheduler",
                   "num_images": 1, "expected_time": 30}  # fmt: skip
    wan_config = {"size": "480*832", "sample_steps": 2, "sample_guide_scale": 6.5, "sample_solver": "unipc", "sample_shift": 5.0,
                  "frame_num": 83 if video else 1, "enhance_prompt": "enhanced" in job_type}  # fmt: skip
    kind = {"content_type": "video/mp4", "file_extension": "mp4"} if video else {"content_type": "image/png", "file_extension": "png"}
    return {
        "id": job_id or str(uuid.uuid4()), "type": job_type, "prompt": prompt, "user_id": user.id, "created_at": "2025-07-07T12:00:00.000Z",
        "config": (sdxl_config if sdxl else wan_config) | kind | config, "negative_prompt": "fog", "video_id": None, "image_id": None,
        "character_id": None, "model_variant": "lustify_sdxl" if sdxl else "wan_2_1_1_3b", "bucket": job_type,
        "metadata": {"prompt": prompt},
    }  # fmt: skip
