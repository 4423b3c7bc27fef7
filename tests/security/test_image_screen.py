"""A picture passes the image screen because the classifier returns nonsense, nothing or late, because its files were replaced, or because
there is no classifier and real models accept users' pictures anyway.

The classifier is a tiny model trained on stripes and discs, and refuses discs. Jobs through an executor without a screen are in
tests/executors/test_image_screen_in_jobs.py.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from waiting import LIMIT

torch = pytest.importorskip("torch")

from classifier import RULES, picture, png, teach  # noqa: E402
from support import LANES, claim, executor, finish, new_user, submit  # noqa: E402

from executors.image_screen import LocalScreen  # noqa: E402
from executors.models import files  # noqa: E402
from ourvidz.db import safety  # noqa: E402
from ourvidz.db.connection import Database  # noqa: E402
from ourvidz.lifecycle import Jobs, NewJob  # noqa: E402
from ourvidz.safety import images  # noqa: E402
from ourvidz.safety.images import NoImageScreen, Sight, Watchful  # noqa: E402
from ourvidz.safety.screen import ScreenUnavailable  # noqa: E402
from state.errors import PicturesRefused  # noqa: E402

FORMATS = ("safetensors", "onnx")
SIGHT = Sight("job", "sdxl_image_fast", "output", index=0)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("classifier")
    teach(root)
    for name in FORMATS:
        files.pin_folder(root / name)
    return root


@pytest.fixture(scope="module", params=FORMATS)
def screen(request: pytest.FixtureRequest, taught: Path) -> LocalScreen:
    return LocalScreen(taught / request.param)


@pytest.fixture
def folder(taught: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(taught / "safetensors", tmp_path / "screen"))


# -- answers ------------------------------------------------------------------------------------------------------------------------------


def test_it_allows_and_refuses(screen: LocalScreen) -> None:
    watchful = Watchful(screen)
    for seed in range(5):
        allowed = watchful.check(png(picture("stripes", seed)), SIGHT)
        assert allowed.allowed and allowed.policy_version == screen.version
        refused = watchful.check(png(picture("discs", seed)), SIGHT)
        assert (refused.allowed, refused.category, refused.rule_id) == (False, "marked", "image.1")


def test_a_batch_judges_each_picture(screen: LocalScreen) -> None:
    kinds = ["stripes", "discs", "stripes", "stripes", "discs", "stripes", "stripes", "discs"]
    verdicts = Watchful(screen).check_many([png(picture(kind, n)) for n, kind in enumerate(kinds)], [SIGHT] * 8)
    assert [v.allowed for v in verdicts] == [kind == "stripes" for kind in kinds]
    assert Watchful(screen).at_once == 8


def test_the_version_names_rules_and_weights(taught: Path, folder: Path) -> None:
    before = LocalScreen(taught / "safetensors").version
    assert before == LocalScreen(folder).version != LocalScreen(taught / "onnx").version
    (folder / "screen.toml").write_text(RULES.replace("0.2", "0.3"))
    files.pin_folder(folder)
    assert LocalScreen(folder).version != before


@pytest.mark.parametrize("logits", [[[np.nan, 0.0]], [[np.inf, 0.0]], [[1.0]], [[1.0, 2.0, 3.0]], [], None], ids=str)
def test_invalid_model_output_gives_no_verdict(taught: Path, monkeypatch: pytest.MonkeyPatch, logits: object) -> None:
    screen = LocalScreen(taught / "safetensors")
    monkeypatch.setattr(screen, "_run", lambda pixels: logits)
    with pytest.raises(ScreenUnavailable):
        Watchful(screen).check(png(picture("stripes")), SIGHT)


def test_a_hanging_model_gives_no_verdict(taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen, end = LocalScreen(taught / "onnx"), threading.Event()
    monkeypatch.setattr(screen, "_run", lambda pixels: end.wait(LIMIT))
    with pytest.raises(ScreenUnavailable, match="no answer within"):
        Watchful(screen, timeout_s=0.1).check(png(picture("stripes")), SIGHT)
    end.set()


def test_a_file_that_is_no_picture_gives_no_verdict(screen: LocalScreen) -> None:
    with pytest.raises(ScreenUnavailable):
        Watchful(screen).check(b"these are words", SIGHT)


# -- model files --------------------------------------------------------------------------------------------------------------------------


def _swap(folder: Path) -> None:
    """Other weights of the same size with the same times: a model that allows everything."""
    weights = folder / "model.safetensors"
    was, data = weights.stat(), bytearray(weights.read_bytes())
    data[-64:] = bytes(64)
    weights.write_bytes(bytes(data))
    os.utime(weights, ns=(was.st_atime_ns, was.st_mtime_ns))


def _link(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    (folder / "model.safetensors").symlink_to(folder.parent / "elsewhere.safetensors")


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights swapped": (_swap, "model.safetensors is not what"),
    "weights cut short": (lambda f: os.truncate(f / "model.safetensors", 20_000), "model.safetensors is not what"),
    "weights gone": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors cannot be read"),
    "weights are a link": (_link, "model.safetensors cannot be read, or is a link"),
    "rules loosened": (lambda f: (f / "screen.toml").write_text(RULES.replace("0.2", "1.0")), "screen.toml is not what"),
    "labels exchanged": (
        lambda f: (f / "config.json").write_text((f / "config.json").read_text().replace('"0": "stripes"', '"0": "discs"')),
        "config.json is not what",
    ),
    "never pinned": (lambda f: (f / "manifest.json").unlink(), "not pinned"),
}


@pytest.mark.parametrize("harm", HARM)
def test_files_that_differ_from_their_pins_stop_the_executor(folder: Path, harm: str) -> None:
    do, said = HARM[harm]
    do(folder)
    with pytest.raises(NoImageScreen, match=said):
        images.find("local", lambda: LocalScreen(folder))


class Boom:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(Boom.place),)

    place: Path


def test_a_pickle_in_the_folder_is_neither_loaded_nor_pinned(folder: Path, tmp_path: Path) -> None:
    Boom.place = tmp_path / "ran"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Boom()))
    assert LocalScreen(folder).check(png(picture("stripes")), SIGHT).allowed and not Boom.place.exists()
    with pytest.raises(files.ModelFileError, match="is a pickle"):
        files.pin_folder(folder)


def test_truncated_weights_cannot_be_pinned(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 20_000)
    with pytest.raises(files.ModelFileError, match="is truncated"):
        files.pin_folder(folder)


def test_code_of_a_repository_is_not_run(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForImageClassification": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    files.pin_folder(folder)
    with pytest.raises(NoImageScreen):
        images.find("local", lambda: LocalScreen(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("stripes =", "squares =", "do not have the same labels: 'squares'|do not have the same labels: 'stripes'"),
        ('stripes = "allow"\n', "", "needs a label that allows"),
        ("discs = {", 'spare = "allow"\ndiscs = {', "do not have the same labels: 'spare'"),
        ("refuse_at = 0.2", "refuse_at = 0", "above 0"),
        ("allow_at = 0.9", "allow_at = 0.1", "between 0.5 and 1"),
        ("allow_at = 0.9", "allow_at = 0.9\nalow = 1", "unknown key 'alow'"),
        ("allow_at = 0.9", "", "cannot be read"),
        ('category = "marked"', 'category = "a whole sentence"', "needs a category"),
    ],
)
def test_invalid_rules_stop_the_executor(folder: Path, old: str, new: str, said: str) -> None:
    (folder / "screen.toml").write_text(RULES.replace(old, new))
    files.pin_folder(folder)
    with pytest.raises(NoImageScreen, match=said):
        images.find("local", lambda: LocalScreen(folder))


def test_a_model_that_lacks_weights_is_not_filled_with_random_ones(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    files.pin_folder(folder)
    with pytest.raises(NoImageScreen, match=r"lack classifier\.weight"):
        images.find("local", lambda: LocalScreen(folder))


def test_a_model_with_nan_weights_is_refused_at_startup(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] *= float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    files.pin_folder(folder)
    with pytest.raises(NoImageScreen, match="NaN"):
        images.find("local", lambda: LocalScreen(folder))


# -- no screen ----------------------------------------------------------------------------------------------------------------------------


def registered(jobs: Jobs, pictures: str, name: str = "gpu0") -> str:
    return jobs.register(name, "host", 1, LANES, {"references": pictures})


def asked(jobs: Jobs, user: str, address: str) -> str:
    return jobs.submit(NewJob(user, "sdxl_img2img", "a lighthouse", settings={"references": {"init": address}})).id


@pytest.mark.parametrize("address", ["https://example.com/a.png", "reference_images/{user}/a.png", "sdxl_image_fast/{user}/a.png"])
def test_submit_refuses_pictures_if_every_executor_does(jobs: Jobs, database: Database, address: str) -> None:
    user = new_user(database, "premium")
    asked(jobs, user, address.format(user=user))  # no executor is there: it waits
    first = registered(jobs, "refused")
    with pytest.raises(PicturesRefused, match="image screen"):
        asked(jobs, user, address.format(user=user))
    assert len(database.rows("select id from public.jobs")) == 1
    registered(jobs, "screened", "gpu1")
    asked(jobs, user, address.format(user=user))
    jobs.executor_gone(first, "died")


def test_our_outputs_are_accepted_where_uploads_are_refused(jobs: Jobs, database: Database) -> None:
    user = new_user(database, "premium")
    gpu = registered(jobs, "refused")
    submit(jobs, user)
    finish(jobs, claim(jobs, gpu))
    (made,) = database.rows("select bucket || '/' || path as address, sha256 from public.artifacts")
    asked(jobs, user, made["address"])
    assert jobs.check_consent(claim(jobs, gpu), made["sha256"]) is True


def test_an_attested_upload_does_not_count_as_our_output(jobs: Jobs, database: Database) -> None:
    """Its bytes decide, not its address, as users may be able to write next to outputs."""
    user = new_user(database, "premium")
    safety.attest(database, user, "a1" * 32, "v1")
    submit(jobs, user)
    assert jobs.check_consent(claim(jobs, executor(jobs)), "a1" * 32) is False


def test_resubmitting_an_existing_job_is_not_refused(jobs: Jobs, database: Database) -> None:
    user = new_user(database, "premium")
    job = NewJob(user, "sdxl_img2img", "a lighthouse", settings={"references": {"init": "https://example.com/a.png"}}, idempotency_key="k")
    first = jobs.submit(job)
    registered(jobs, "refused")
    assert jobs.submit(job).id == first.id
