"""An executor that goes through the whole lifecycle and stores real objects, but makes its images instantly: a few pixels. An executor with
models is tested in a flow of its own (`flows/made.py`) and in tests/executors."""

from __future__ import annotations

import hashlib
import io
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from ourvidz.bootstrap import App
from ourvidz.config import config
from ourvidz.lifecycle import Claim, Jobs
from ourvidz.storage.base import ArtifactStore, object_path, thumbnail_path
from state.catalog import MP4, PNG, WEBP
from state.errors import ExecutorGone, StaleClaim

LANES = ("sdxl", "sdxl_ip", "wan", "wan_vace")


class Maker:
    def __init__(self, jobs: Jobs, store: ArtifactStore, name: str = "maker") -> None:
        self.jobs, self.store = jobs, store
        self.name = name

    def make(self, job_id: str, outputs: int | None = None) -> None:
        """Claim until it holds this job, and run everything claimed. `outputs`: fail the job after this many."""
        while True:
            claims = self.jobs.claim(self.executor())
            assert claims, f"job {job_id} cannot be claimed"
            for claim in claims:
                self.run(claim, outputs if claim.job_id == job_id else None)
            if job_id in {claim.job_id for claim in claims}:
                return

    def start(self, job_id: str) -> Claim:
        """Bring the job to `generating` and leave it there."""
        while True:
            (claim,) = self.jobs.claim(self.executor())
            if claim.job_id == job_id:
                self._generating(claim)
                return claim
            self.run(claim)

    def run(self, claim: Claim, outputs: int | None = None) -> None:
        self._generating(claim)
        made = self._make(claim, claim.settings.images if outputs is None else outputs)
        if outputs is not None:
            self.jobs.fail(claim, "model_file", "The device ran out of memory.", final=True)
            return
        self.jobs.advance(claim, "upload_started", outputs=len(made))
        for artifact, data in made:
            self._store(artifact, data)
            self.jobs.artifact_uploaded(claim, artifact["kind"], artifact["index"], artifact["sha256"])
        self.jobs.complete(claim)

    def executor(self) -> str:
        return self.jobs.register(self.name, "maker", 1, LANES)

    def _generating(self, claim: Claim) -> None:
        if claim.kind.enhance and claim.enhanced_prompt is None:
            self.jobs.advance(claim, "enhancement_started")
            self.jobs.enhanced(claim, f"{claim.prompt}, long exposure, soft light", seconds=0.1, tokens=9)
        self.jobs.advance(claim, "generation_started")

    def _make(self, claim: Claim, count: int) -> list[tuple[dict[str, Any], bytes]]:
        made: list[tuple[dict[str, Any], bytes]] = []
        there = {(a["kind"], a["index"]) for a in claim.artifacts if a["uploaded_at"]}  # uploaded by an interrupted attempt
        for index in range(count):
            for kind, bucket, path, media_type, data in self._files(claim, index):
                if (kind, index) in there:
                    continue
                artifact = {
                    "index": index, "kind": kind, "seed": claim.settings.seed + index, "bucket": bucket, "path": path,
                    "media_type": media_type, "width": 8, "height": 8, "frames": 81 if kind == "video" else None, "bytes": len(data),
                    "spool": "maker", "sha256": hashlib.sha256(data).hexdigest(),
                }  # fmt: skip
                self.jobs.artifact_generated(claim, artifact, seconds=0.1)
                made.append((artifact, data))
        return made

    def _files(self, claim: Claim, index: int) -> list[tuple[str, str, str, str, bytes]]:
        address = (claim.user_id, claim.job_id, claim.claim_no, index)
        if claim.kind.video:
            small = ("thumbnail", "video-thumbnails", thumbnail_path(*address), WEBP, picture("webp", claim.settings.seed))
            return [("video", claim.job_type, object_path(*address, "mp4"), MP4, b"\0\0\0 ftypisom" + claim.job_id.encode()), small]
        seed = claim.settings.seed + index
        small = ("thumbnail", claim.job_type, thumbnail_path(*address), WEBP, picture("webp", seed))
        return [("image", claim.job_type, object_path(*address, "png"), PNG, picture("png", seed)), small]

    def _store(self, artifact: dict[str, Any], data: bytes) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self.store.put(artifact["bucket"], artifact["path"], Path(file.name), artifact["media_type"])


def picture(kind: str, seed: int, side: int = 8) -> bytes:
    """A square image with this side in pixels, in the seed's colour."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), (seed % 251, seed // 251 % 251, 77)).save(out, kind)
    return out.getvalue()


def main(name: str) -> None:
    """An executor process configured by the environment: runs every job it can claim until killed."""
    app = App(config())
    maker, gpu, beat = Maker(app.jobs, app.store, name), "", 0.0
    while True:
        try:
            gpu = gpu or maker.executor()
            if time.monotonic() - beat > 0.5:
                app.jobs.heartbeat(gpu)
                beat = time.monotonic()
            found = app.jobs.claim(gpu)
            for claim in found:
                maker.run(claim)
            if not found:
                time.sleep(0.05)
        except (ExecutorGone, StaleClaim):  # too slow, its lease expired: start again, as any executor does
            gpu = ""
