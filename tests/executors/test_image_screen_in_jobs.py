"""The image screen in the executor's pipeline: every reference before a model sees it, every output before any of its job's is published.

The stub screens refuse a neutral marker; the images are the tiny models' noise and plain colours.
"""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from executor_site import PROMPT, ProbeShelf, Site
from PIL import Image
from support import Permissive
from waiting import LIMIT, wait_for

from executors.shelf import Shelf
from executors.steps.image_screen import sampled
from ourvidz.removals import Remover
from ourvidz.safety import images
from ourvidz.safety.images import NoImageScreen, Sight, Watchful
from ourvidz.safety.screen import ScreenUnavailable, Verdict
from ourvidz.storage.base import StorageUnavailable
from state.catalog import REFERENCE_BUCKET
from state.errors import FinalFailure

RED = (200, 10, 10)


class Refuses:
    """Refuses whatever `which` selects, and records everything it was shown."""

    def __init__(self, which: Callable[[Image.Image, Sight], bool] = lambda picture, sight: False) -> None:
        self.which = which
        self.shown: list[Sight] = []
        self.sizes: set[tuple[int, int]] = set()

    def check(self, picture: bytes, sight: Sight) -> Verdict:
        with Image.open(io.BytesIO(picture), formats=["PNG"]) as seen:
            self.shown.append(sight)
            self.last = hashlib.sha256(picture).digest()
            self.sizes.add(seen.size)
            refused = self.which(seen.convert("RGB"), sight)
        return Verdict(False, "sight-3", "marked") if refused else Verdict(True, "sight-3")


def published(site: Site, job_id: str) -> list[str]:
    return [path for bucket in site.store.buckets() for path in site.store.list(bucket, f"{site.user}/{job_id}")]


def refused(site: Site, job_id: str, screen: Refuses) -> None:
    row = site.row(job_id)
    assert (row["status"], row["error_class"], row["final"]) == ("failed", "refused_content", True), site.said(job_id)
    told = site.data(job_id, "failed")[-1]
    salt = site.db.rows("select salt from public.job_payloads where job_id = %s", (job_id,))[0]["salt"]
    assert told.pop("digest") == hashlib.sha256(bytes(salt) + screen.last).hexdigest()
    assert told.pop("stage") == screen.shown[-1].kind
    version = "image-" + hashlib.sha256(b"sight-3").hexdigest()[:8]  # hashed: a third-party screen may choose any name
    assert told == {"class": "refused_content", "final": True, "category": "image", "policy_version": version}
    assert published(site, job_id) == []
    assert not list(site.root.glob(f"*/spool/{job_id}"))
    site.intact(job_id)
    with pytest.raises(FinalFailure):
        site.jobs.retry(job_id)


def with_reference(site: Site, colour: tuple[int, int, int]) -> str:
    path = site.root / "reference.png"
    Image.new("RGB", (96, 96), colour).save(path)
    address = f"{site.user}/{colour[0]}.png"
    site.store.put(REFERENCE_BUCKET, address, path, "image/png")
    return f"{REFERENCE_BUCKET}/{address}"


@pytest.mark.parametrize(("frames", "looked_at"), [(81, [0, 16, 32, 40, 48, 64, 80]), (1, [0]), (2, [0, 1]), (17, [0, 8, 16])])
def test_first_last_middle_and_each_seconds_frame_are_screened(frames: int, looked_at: list[int]) -> None:
    assert sampled(frames) == looked_at


def test_every_image_is_screened_and_its_row_has_the_policy_version(site: Site) -> None:
    screen = Refuses()
    job_id = site.submit(images=3)
    site.work(job_id, image_screen=Watchful(screen))
    site.completed(job_id, images=3)
    assert [(s.kind, s.index, s.frame) for s in screen.shown] == [("output", n, None) for n in range(3)]
    for artifact in site.artifacts(job_id):
        assert artifact["metadata"]["screened"] == "sight-3"
        assert artifact["metadata"]["provenance"]["signed"] is True


def test_without_a_screen_the_row_records_that(site: Site) -> None:
    job_id = site.submit()
    site.work(job_id)
    assert [a["metadata"]["screened"] for a in site.artifacts(job_id)] == [None, None]


def test_one_refused_frame_refuses_the_video(site: Site) -> None:
    screen = Refuses(lambda picture, sight: sight.frame == 48)
    job_id = site.submit("video_fast")
    site.work(job_id, image_screen=Watchful(screen))
    refused(site, job_id, screen)
    assert [s.frame for s in screen.shown] == [0, 16, 32, 40, 48]


def test_one_refused_output_fails_the_job(site: Site) -> None:
    screen = Refuses(lambda picture, sight: sight.index == 2)
    job_id = site.submit(images=6)
    site.work(job_id, image_screen=Watchful(screen))
    refused(site, job_id, screen)
    assert site.store.puts == [] and [s.index for s in screen.shown] == [0, 1, 2]
    assert "output 2" in site.said(job_id) and PROMPT not in site.said(job_id)


def test_a_refused_reference_reaches_no_model(site: Site) -> None:
    screen = Refuses(lambda picture, sight: picture.getpixel((0, 0)) == RED)
    job_id = site.submit("sdxl_img2img", references={"init": with_reference(site, RED)}, strength=0.5, steps=4, reference_fallback=True)
    shelf = site.work(job_id, image_screen=Watchful(screen))
    refused(site, job_id, screen)
    assert [(s.kind, s.slot) for s in screen.shown] == [("reference", "init")]
    assert shelf.sdxl.works == []


def test_an_allowed_reference_is_used(site: Site) -> None:
    screen = Refuses(lambda picture, sight: picture.getpixel((0, 0)) == RED)
    job_id = site.submit("sdxl_img2img", references={"init": with_reference(site, (10, 200, 10))}, strength=0.5, steps=4)
    site.work(job_id, image_screen=Watchful(screen))
    site.completed(job_id)
    assert [s.kind for s in screen.shown] == ["reference", "output"]


# -- outputs of an earlier claim ---------------------------------------------------------------------------------------------------------


def half_uploaded(site: Site, job_type: str = "sdxl_image_fast", *, after: int, **settings: int) -> str:
    """A job whose first claim generated everything, unscreened, and lost its store after this many uploads."""
    job_id = site.submit(job_type, **settings)
    put: list[str] = []

    def trouble(path: str) -> None:
        if len(put) == after:
            raise OSError("the store is away")
        put.append(path)

    site.store.trouble = trouble
    worker = site.worker(home="host")
    thread = site.start(worker)
    wait_for(lambda: site.row(job_id)["errors"] >= 1)
    worker.stop()
    thread.join(LIMIT)
    site.store.trouble = lambda _: None
    assert len(published(site, job_id)) == after
    return job_id


@pytest.mark.parametrize("after", [0, 1])
def test_spooled_outputs_are_rescreened_and_uploaded_ones_withdrawn(site: Site, after: int) -> None:
    site.policy(backoff_base=0.5, backoff_max=0.5)  # time to drain the first worker before the next attempt
    job_id = half_uploaded(site, after=after, images=3)
    screen = Refuses(lambda picture, sight: sight.index == 1)
    shelf = site.work(job_id, home="host", image_screen=Watchful(screen))
    assert shelf.sdxl.works == []  # resumed
    refused(site, job_id, screen)


def test_a_spooled_video_is_rescreened(site: Site) -> None:
    site.policy(backoff_base=0.5, backoff_max=0.5)
    job_id = half_uploaded(site, "video_fast", after=0)
    screen = Refuses()
    shelf = site.work(job_id, home="host", image_screen=Watchful(screen))
    site.completed(job_id)
    assert shelf.wan.works == [] and [s.frame for s in screen.shown] == sampled(81)


def test_a_job_missing_a_withdrawn_object_fails(site: Site) -> None:
    site.policy(backoff_base=0.5, backoff_max=0.5)
    job_id = half_uploaded(site, after=1, images=3)
    (gone,) = published(site, job_id)
    site.store.delete("sdxl_image_fast", gone)
    site.work(job_id, home="host", image_screen=Watchful(Refuses()))
    assert site.row(job_id)["status"] == "failed" and "no longer in its bucket" in site.said(job_id)


def test_a_refusal_holds_if_the_store_is_unavailable(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal stands, its user may read none of it, and undeleted objects are deleted later."""
    site.policy(backoff_base=0.5, backoff_max=0.5)
    job_id = half_uploaded(site, after=1, images=3)
    delete, away = site.store.delete, []

    def once(bucket: str, path: str) -> bool:
        if not away:
            away.append(path)
            raise StorageUnavailable("the store is away")
        return delete(bucket, path)

    monkeypatch.setattr(site.store, "delete", once)
    screen = Refuses(lambda picture, sight: sight.index == 1)
    site.work(job_id, home="host", image_screen=Watchful(screen))
    assert away and site.row(job_id)["error_class"] == "refused_content"
    (left,) = published(site, job_id)
    assert site.db.rows("select ourvidz.readable('sdxl_image_fast', %s) as may", (left,)) == [{"may": False}]
    assert Remover(site.db, site.store, all_here=True).round() > 0
    refused(site, job_id, screen)


# -- a screen that fails ------------------------------------------------------------------------------------------------------------------


class Killed:
    """A screen in a separate process that is killed during a check."""

    def check(self, picture: bytes, sight: Sight) -> Verdict:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with process:
            os.kill(process.pid, signal.SIGKILL)
            assert process.stdout is not None
            return Verdict(process.stdout.readline() == "ok\n", "sight-3", process.stdout.readline()[:0] or None)


class Hangs:
    def __init__(self) -> None:
        self.end = threading.Event()

    def check(self, picture: bytes, sight: Sight) -> Verdict:
        self.end.wait(LIMIT)
        return Verdict(True, "late")


class Raises:
    def check(self, picture: bytes, sight: Sight) -> Verdict:
        raise MemoryError(PROMPT)


class Leaves:
    def check(self, picture: bytes, sight: Sight) -> Verdict:
        raise SystemExit(0)


class Answers:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def check(self, picture: bytes, sight: Sight) -> Verdict:
        return self.answer  # type: ignore[return-value]


NONSENSE = [
    None,
    True,
    "allowed",
    Verdict(True, ""),
    Verdict(False, "sight-3"),
    Verdict(True, "sight-3", "marked"),
    Verdict(1, "sight-3"),  # type: ignore[arg-type]
    Verdict(False, "sight-3", "a sentence about what was seen"),
    Verdict(False, "sight-3", ["marked"]),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("screen", [Killed, Hangs, Raises, Leaves], ids=lambda kind: kind.__name__)
def test_a_failing_screen_publishes_nothing_and_the_job_is_retried(site: Site, screen: type) -> None:
    made = screen()
    site.no_second_try()
    job_id = site.submit(images=3)
    site.start(site.worker(image_screen=Watchful(made, timeout_s=0.2)), job_id)
    wait_for(lambda: site.row(job_id)["errors"] == 1)
    told = site.data(job_id, "retry_scheduled")[0]
    assert told["class"] == "screen_unavailable"
    assert published(site, job_id) == [] and PROMPT not in site.said(job_id)
    assert {Hangs: "no answer within", Raises: "MemoryError", Leaves: "SystemExit"}.get(screen, "") in site.said(job_id)
    if isinstance(made, Hangs):
        made.end.set()


@pytest.mark.parametrize("answer", NONSENSE, ids=str)
def test_invalid_verdicts_are_rejected(answer: object) -> None:
    with pytest.raises(ScreenUnavailable):
        Watchful(Answers(answer)).check(b"", Sight("job", "sdxl_image_fast", "output", index=0))


def test_a_hung_screen_uses_a_bounded_number_of_threads() -> None:
    screen = Hangs()
    watchful, sight = Watchful(screen, timeout_s=0.01), Sight("job", "sdxl_image_fast", "output", index=0)
    before = threading.active_count()
    for _ in range(images.HANGING + 5):
        with pytest.raises(ScreenUnavailable):
            watchful.check(b"", sight)
    assert threading.active_count() - before <= images.HANGING
    screen.end.set()
    wait_for(lambda: threading.active_count() <= before)
    assert watchful.check(b"", sight).allowed


# -- real models without a screen ---------------------------------------------------------------------------------------------------------


class Real(ProbeShelf):
    """Tiny models treated as real."""

    guarded = True  # type: ignore[assignment]

    def guard(self) -> Permissive:  # type: ignore[override]
        return Permissive()


def unscreened(site: Site, job_id: str, shelf: ProbeShelf) -> None:
    row = site.row(job_id)
    assert (row["status"], row["error_class"], row["final"], row["attempts"]) == ("failed", "no_image_screen", True, 1), site.said(job_id)
    assert "OURVIDZ_IMAGE_SCREEN=local" in site.said(job_id)
    assert shelf.sdxl.works == [] and "generation_started" not in site.types(job_id)
    site.intact(job_id)


def redrawn(site: Site, address: str, **more: object) -> str:
    return site.submit("sdxl_img2img", references={"init": address}, strength=0.5, steps=4, **more)


def test_an_upload_is_refused_and_not_read(site: Site, loaded: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = redrawn(site, with_reference(site, RED))
    monkeypatch.setattr(site.store, "open", lambda *_: pytest.fail("it was read"))
    unscreened(site, job_id, site.work(job_id, shelf=Real(loaded)))


def test_a_url_is_refused_and_not_fetched(site: Site, loaded: Shelf) -> None:
    job_id = redrawn(site, "https://example.com/a.png", reference_fallback=True)
    unscreened(site, job_id, site.work(job_id, shelf=Real(loaded), fetch=lambda url: pytest.fail("it was fetched")))


def test_an_upload_in_an_output_bucket_is_refused(site: Site, loaded: Shelf) -> None:
    address = with_reference(site, RED)
    site.store.put("sdxl_image_fast", f"{site.user}/{site.user}/1-0.png", site.root / "reference.png", "image/png")
    assert address
    job_id = redrawn(site, f"sdxl_image_fast/{site.user}/{site.user}/1-0.png")
    unscreened(site, job_id, site.work(job_id, shelf=Real(loaded)))


def test_our_own_outputs_are_accepted_as_references(site: Site, loaded: Shelf) -> None:
    first = site.submit()
    site.work(first, shelf=Real(loaded))
    (made,) = [a for a in site.artifacts(first) if a["kind"] == "image"]
    job_id = redrawn(site, f"{made['bucket']}/{made['path']}")
    site.work(job_id, shelf=Real(loaded))
    site.completed(job_id)


@pytest.mark.parametrize("told", [{"no_image_screen": True}, {"image_screen": Watchful(Refuses())}], ids=["none", "a screen"])
def test_references_are_accepted_with_a_screen_or_an_explicit_none(site: Site, loaded: Shelf, told: dict[str, object]) -> None:
    job_id = redrawn(site, with_reference(site, RED))
    site.work(job_id, shelf=Real(loaded), **told)
    site.completed(job_id)


def test_the_executors_row_states_its_image_screening(site: Site, loaded: Shelf) -> None:
    for name, shelf, told in (("a", Real(loaded), {}), ("b", Real(loaded), {"no_image_screen": True}), ("c", ProbeShelf(loaded), {}),
                              ("d", ProbeShelf(loaded), {"image_screen": Watchful(Refuses())})):  # fmt: skip
        site.worker(name, shelf=shelf, **told).run(idle_exit=0.0)
    rows = site.db.rows("select name, reference_pictures as pictures from ourvidz.executors order by name")
    assert {row["name"]: row["pictures"] for row in rows} == {"a": "refused", "b": "unscreened", "c": "tiny", "d": "screened"}


def test_several_frames_are_screened_at_once_and_the_first_refusal_counts(site: Site) -> None:
    class Several(Refuses):
        at_once = 4
        passes: list[int]

        def check_many(self, pictures: list[bytes], sights: list[Sight]) -> list[Verdict]:
            self.passes.append(len(pictures))
            return [self.check(picture, sight) for picture, sight in zip(pictures, sights, strict=True)]

    screen = Several(lambda picture, sight: sight.frame == 64)
    screen.passes = []
    job_id = site.submit("video_fast")
    site.work(job_id, image_screen=Watchful(screen))
    assert (site.row(job_id)["error_class"], published(site, job_id)) == ("refused_content", [])
    assert screen.passes == [4, 3] and "frame 64" in site.said(job_id)


# -- entry points -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with entry points of the group, as installed by pip."""
    (tmp_path / "a_screen.py").write_text("class Broken:\n    def __init__(self): raise RuntimeError('no weights')\nclass Blind: pass\n")
    info = tmp_path / "a_screen-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-screen\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[ourvidz.image_screens]\nmarks = {__name__}:Refuses\nbroken = a_screen:Broken\nblind = a_screen:Blind\naway = nowhere:It\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_a_screen_is_found_by_its_name() -> None:
    found = images.find("marks")
    assert found is not None
    red = io.BytesIO()
    Image.new("RGB", (8, 8), RED).save(red, "PNG")
    assert found.check(red.getvalue(), Sight("job", "sdxl_image_fast", "output", index=0)) == Verdict(True, "sight-3")
    assert images.find(None) is None and images.find("none") is None


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "said"),
    [("other", r"Installed: away, blind, broken, marks"), ("broken", "no weights"), ("away", "nowhere"), ("blind", "no method")],
)
def test_a_configured_screen_that_cannot_be_loaded_is_an_error(name: str, said: str) -> None:
    with pytest.raises(NoImageScreen, match=said):
        images.find(name)
