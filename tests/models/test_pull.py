"""Model files arrive complete and as listed, or not at all; an interrupted download resumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hub_server import Hub

from executors.errors import DiskFull, ModelFileError
from executors.models import files, hub, pull, sources
from executors.models.lock import LOCK, Lock, Refused

SHARD = "text_encoder/model.safetensors"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setattr(hub, "WAIT", 0.01)
        yield running


def weights(megabytes: float, fill: bytes = b"\1") -> bytes:
    """A valid .safetensors file with one tensor."""
    length = int(megabytes * 1e6)
    header = json.dumps({"w": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}).encode()
    return len(header).to_bytes(8, "little") + header + (fill * length)[:length]


def repo_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def with_marks(found: list[sources.Source]) -> list[sources.Source]:
    """Our own list plus the marker of tiny models, which no real repository has."""
    return [replace(s, files=(*s.files, "tiny.json", "*.jinja")) for s in found]


@pytest.fixture
def published(server: Hub, tiny_root: Path) -> Hub:
    """The tiny models under the real repositories' names."""
    for source in sources.read():
        server.publish(source.repo, repo_of(tiny_root / source.into))
    server.publish("someone/lustify", {"lustify.safetensors": (tiny_root / sources.SDXL_FILE).read_bytes(), "README.md": b"hello"})
    return server


LUSTIFY = "someone/lustify:lustify.safetensors"


def everything() -> list[sources.Source]:
    weights_of_sdxl = sources.sdxl_weights(LUSTIFY)
    assert isinstance(weights_of_sdxl, sources.Source)
    return [*with_marks(sources.read()), weights_of_sdxl]


def of(role: str) -> list[sources.Source]:
    return [s for s in everything() if s.role == role]


def got(root: Path, which: list[sources.Source], **options: bool) -> list[files.RoleStatus]:
    return pull.fetch(pull.plan(root, which, **options), lambda *_: None)


def test_pulled_models_pass_verify_and_run(published: Hub, tmp_path: Path) -> None:
    import torch

    from executors.models.base import ModelPaths, Picture, Work
    from executors.models.sdxl import Sdxl

    got(tmp_path, everything())
    found = files.verify(tmp_path, deep=True)
    assert [str(p) for s in found for p in s.problems] == []
    assert len(found) == len(files.ROLES)
    assert not any(s.tiny for s in found)  # the manifest records downloaded models as real
    sdxl = Sdxl(ModelPaths(tmp_path), torch.device("cpu"))
    job = Work("job", "sdxl_image_fast", "a red cat", "", 512, 512, steps=2, guidance=6.0, seeds=(7,))
    (picture,) = sdxl.generate(job, lambda *_: None)
    assert isinstance(picture, Picture)
    assert picture.image.size == (64, 64)


def test_pulling_again_fetches_nothing(published: Hub, tmp_path: Path) -> None:
    got(tmp_path, everything())
    published.seen.clear()
    assert {f.state for f in pull.plan(tmp_path, everything()).files} == {"there"}
    got(tmp_path, everything())
    assert [s.path for s in published.seen if "resolve" in s.path] == []


def test_equal_files_of_two_repositories_are_fetched_once(published: Hub, tmp_path: Path) -> None:
    got(tmp_path, of("wan") + of("vace"))
    ours, theirs = (tmp_path / folder / SHARD for folder in ("wan2.1-t2v-1.3b", "wan2.1-vace-1.3b"))
    assert ours.samefile(theirs)
    assert len(published.fetched(SHARD)) == 2  # the hub's redirect and the other server's bytes


def test_a_cut_download_resumes(server: Hub, tmp_path: Path) -> None:
    whole = weights(1)
    server.publish("a/b", {"x.safetensors": whole})
    server.cut["x.safetensors"] = 400_000
    part = tmp_path / "part"
    hub.fetch(f"{server.cdn}/{server.repos['a/b']['main']}/x.safetensors", part, len(whole), lambda _: None, of_hub=False)
    assert part.read_bytes() == whole
    assert [s.range for s in server.fetched("x.safetensors")] == ["", "bytes=400000-"]


def test_without_range_support_the_download_restarts(server: Hub, tmp_path: Path) -> None:
    whole, part = weights(1), tmp_path / "part"
    server.publish("a/b", {"x.safetensors": whole})
    server.ranges = False
    part.write_bytes(b"\7" * 1000)
    hub.fetch(f"{server.cdn}/{server.repos['a/b']['main']}/x.safetensors", part, len(whole), lambda _: None, of_hub=False)
    assert part.read_bytes() == whole


def test_an_overlong_partial_file_is_discarded(server: Hub, tmp_path: Path) -> None:
    whole, part = weights(1), tmp_path / "part"
    commit = server.publish("a/b", {"x.safetensors": whole})
    part.write_bytes(b"\7" * 2_000_000)
    hub.fetch(f"{server.cdn}/{commit}/x.safetensors", part, len(whole), lambda _: None, of_hub=False)
    assert part.read_bytes() == whole


def test_a_download_exceeding_its_size_is_refused(server: Hub, tmp_path: Path) -> None:
    commit = server.publish("a/b", {"x.safetensors": weights(1)})
    with pytest.raises(hub.FetchError, match="sent more than"):
        hub.fetch(f"{server.cdn}/{commit}/x.safetensors", tmp_path / "part", 1000, lambda _: None, of_hub=False)
    assert not (tmp_path / "part").exists()


def test_a_connection_without_progress_is_given_up(server: Hub, tmp_path: Path) -> None:
    commit = server.publish("a/b", {"x.safetensors": weights(1)})
    server.refuse["x.safetensors"] = 503
    waits: list[float] = []
    url = f"{server.cdn}/{commit}/x.safetensors?token=s3cret"
    with pytest.raises(hub.FetchError, match=r"answers 503.*goes on from there") as refused:
        hub.fetch(url, tmp_path / "part", None, lambda _: None, of_hub=False, sleep=waits.append)
    assert "s3cret" not in str(refused.value)
    assert waits == [hub.WAIT * 2**n for n in range(1, hub.TRIES)]


def test_retry_after_is_honoured(server: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """huggingface.co's rate limit: 429 with Retry-After, for the listing and for files alike."""
    commit = server.publish("a/b", {"x.safetensors": weights(1)})
    waits: list[float] = []
    server.later["api/models/a/b"] = 120
    assert hub.listing("a/b", "main", sleep=waits.append).commit == commit
    url = f"{server.cdn}/{commit}/x.safetensors"
    server.later["x.safetensors"] = 30
    assert hub.size_of(url, sleep=waits.append) == len(weights(1))
    server.later["x.safetensors"] = 60
    hub.fetch(url, tmp_path / "part", None, lambda _: None, of_hub=False, sleep=waits.append)
    assert waits == [120, 30, 60]
    assert "answers 429 and asks to wait 120 s" in caplog.text


def test_the_token_is_sent_only_to_the_hub(published: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    got(tmp_path, of("qwen"))
    tokens = {(s.server, s.token) for s in published.seen}
    assert tokens == {("hub", "Bearer hf_secret"), ("cdn", "")}
    kept = b"".join(p.read_bytes() for p in tmp_path.glob("*.json"))
    assert b"hf_secret" not in kept
    assert b"very-secret" not in kept


def test_a_file_with_a_wrong_hash_is_quarantined(published: Hub, tmp_path: Path) -> None:
    published.tamper.add("model.safetensors")
    status = next(s for s in got(tmp_path, of("qwen")) if s.role == "qwen")
    (problem,) = [p for p in status.problems if p.file.endswith("model.safetensors")]
    assert "came with sha256" in problem.what
    assert "quarantine/qwen2.5-7b-instruct/model.safetensors" in problem.todo
    assert not (tmp_path / problem.file).exists()
    assert (tmp_path / "quarantine" / problem.file).is_file()
    assert problem.file not in files.read_manifest(tmp_path)["files"]
    published.tamper.clear()
    assert [str(p) for s in got(tmp_path, of("qwen")) for p in s.problems] == []


def test_small_files_are_checked_by_git_hash(published: Hub, tmp_path: Path) -> None:
    published.tamper.add("generation_config.json")
    (problem,) = got(tmp_path, of("qwen"))[0].problems
    assert problem.file == "qwen2.5-7b-instruct/generation_config.json"


def test_a_moved_branch_is_refused(published: Hub, tmp_path: Path) -> None:
    (qwen,) = of("qwen")
    got(tmp_path, [qwen])
    before = published.commits[published.repos[qwen.repo]["main"]]
    old, new = (tmp_path / "qwen2.5-7b-instruct" / name for name in ("model.safetensors", "extra.json"))
    mine = old.read_bytes()
    changed = {k: v for k, v in before.items() if k != "generation_config.json"} | {"extra.json": b"{}"}
    published.publish(qwen.repo, changed)
    with pytest.raises(Refused, match=r"--update.*--locked"):
        pull.plan(tmp_path, [qwen])
    assert {f.state for f in pull.plan(tmp_path, [qwen], locked=True).files} == {"there"}
    assert not new.exists()

    assert [str(p) for s in got(tmp_path, [qwen], update=True) for p in s.problems] == []
    assert new.is_file()
    assert old.read_bytes() == mine
    assert not (tmp_path / "qwen2.5-7b-instruct" / "generation_config.json").exists()
    assert Lock(tmp_path).commit(qwen.key) == published.repos[qwen.repo]["main"]


def test_another_hash_for_the_same_commit_is_refused(published: Hub, tmp_path: Path) -> None:
    (qwen,) = of("qwen")
    got(tmp_path, [qwen])
    commit = published.repos[qwen.repo]["main"]
    published.commits[commit]["model.safetensors"] = weights(0.1)
    with pytest.raises(Refused, match="for the same revision"):
        pull.plan(tmp_path, [qwen])


def test_pinned_hashes_and_commits_must_match_the_hub(published: Hub, tmp_path: Path) -> None:
    (qwen,) = of("qwen")
    commit = published.repos[qwen.repo]["main"]
    with pytest.raises(Refused, match="is pinned"):
        pull.plan(tmp_path, [replace(qwen, sha256={"model.safetensors": "0" * 64})])
    published.publish(qwen.repo, {"config.json": b"{}"})  # the branch moves on; a pinned commit is unaffected
    assert [str(p) for s in got(tmp_path, [replace(qwen, revision=commit)]) for p in s.problems] == []
    published.answers[commit] = published.repos[qwen.repo]["main"]
    with pytest.raises(Refused, match="the hub answers with"):
        pull.plan(tmp_path, [replace(qwen, revision=commit)])
    with pytest.raises(hub.FetchError, match="no such revision"):
        pull.plan(tmp_path, [replace(qwen, revision="f" * 40)])


def test_a_custom_file_is_not_replaced(published: Hub, tmp_path: Path) -> None:
    mine = tmp_path / "qwen2.5-7b-instruct" / "config.json"
    mine.parent.mkdir()
    mine.write_text('{"mine": true}')
    with pytest.raises(Refused, match=r"qwen2.5-7b-instruct/config.json: lies there already"):
        pull.plan(tmp_path, of("qwen"))
    got(tmp_path, of("qwen"), update=True)
    assert (tmp_path / "quarantine/qwen2.5-7b-instruct/config.json").read_text() == '{"mine": true}'


def test_existing_matching_files_are_kept(published: Hub, tiny_root: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_root / "qwen2.5-7b-instruct", tmp_path / "qwen2.5-7b-instruct")
    published.seen.clear()
    assert [str(p) for s in got(tmp_path, of("qwen")) for p in s.problems] == []
    assert published.fetched("model.safetensors") == []


def test_damaged_files_are_downloaded_again(published: Hub, tmp_path: Path) -> None:
    got(tmp_path, of("qwen"))
    file = tmp_path / "qwen2.5-7b-instruct/model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert {f.state for f in pull.plan(tmp_path, of("qwen")).files} == {"there"}  # same length: only hashing detects it
    assert [str(p) for s in got(tmp_path, of("qwen"), deep=True) for p in s.problems] == []
    assert files.sha256(file) == files.read_manifest(tmp_path)["files"]["qwen2.5-7b-instruct/model.safetensors"]["sha256"]
    assert (tmp_path / "quarantine/qwen2.5-7b-instruct/model.safetensors").read_bytes() == data


def test_pulling_one_role_leaves_the_others_pins(published: Hub, tmp_path: Path) -> None:
    got(tmp_path, of("qwen"))
    before = files.read_manifest(tmp_path)["files"]
    (tmp_path / "qwen2.5-7b-instruct/model.safetensors").write_bytes(b"damaged")
    got(tmp_path, of("wan"))
    now = files.read_manifest(tmp_path)["files"]
    assert before.items() <= now.items()


def test_pickles_and_paths_outside_are_never_fetched(server: Hub, tmp_path: Path) -> None:
    everything_in = {
        "pytorch_model.bin": b"x",
        "a.ckpt": b"x",
        "model.safetensors": weights(0.1),
        "../evil.json": b"x",
        "sub/x.json": b"{}",
    }
    server.publish("a/b", everything_in)
    source = sources.Source("qwen", "a/b", "qwen2.5-7b-instruct", ("*", "../*"))
    assert [path for path in everything_in if source.takes(path)] == ["model.safetensors"]


def test_an_incomplete_repository_is_refused_before_downloading(server: Hub, tmp_path: Path) -> None:
    server.publish("Qwen/Qwen2.5-7B-Instruct", {"config.json": b"{}", "model.safetensors": weights(0.1)})
    with pytest.raises(hub.FetchError, match=r"tokenizer_config\.json"):
        pull.plan(tmp_path, of("qwen"))
    assert [s.path for s in server.seen if "resolve" in s.path] == []


def test_a_pull_larger_than_the_disk_is_refused(published: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=pull.SPARE + 1_000_000))
    with pytest.raises(DiskFull, match=r"to be fetched, and 1\.1 GB are free"):
        pull.plan(tmp_path / "not" / "made" / "yet", of("qwen"))
    assert not (tmp_path / "not").exists()


def test_tiny_models_and_real_ones_are_kept_apart(published: Hub, tiny_root: Path) -> None:
    with pytest.raises(ModelFileError, match="holds tiny models"):
        pull.plan(tiny_root, of("qwen"))


def test_a_second_pull_is_refused(published: Hub, tmp_path: Path) -> None:
    made = pull.plan(tmp_path, of("qwen"))
    with pull._alone(tmp_path), pytest.raises(ModelFileError, match="another pull runs"):
        pull.fetch(made, lambda *_: None)


def test_partial_files_of_other_roles_are_kept_and_orphans_swept(published: Hub, tmp_path: Path) -> None:
    made = pull.plan(tmp_path, of("wan"))
    part = tmp_path / next(f.part for f in made.files if f.name.endswith(SHARD))
    pull._accept(Lock(tmp_path), made.files)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    (part.parent / ("0" * 64)).write_bytes(b"of a commit that was given up")
    got(tmp_path, of("qwen"))
    assert [p.name for p in part.parent.iterdir()] == [part.name]


@pytest.mark.parametrize("kind", ["file", "url", "hub"])
def test_sdxl_weights_come_from_the_configured_source(
    published: Hub, tiny_root: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = published.repos["someone/lustify"]["main"]
    text = {"file": str(tiny_root / sources.SDXL_FILE), "url": f"{published.cdn}/{commit}/lustify.safetensors?token=s3cret", "hub": LUSTIFY}
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    named = sources.sdxl_weights(text[kind])
    which = [s for s in of("sdxl") if not s.saved_as]
    given = None
    if isinstance(named, sources.Given):
        given = named
    else:
        which.append(named)
    assert [str(p) for s in pull.fetch(pull.plan(tmp_path, which, given), lambda *_: None) for p in s.problems] == []
    assert (tmp_path / sources.SDXL_FILE).read_bytes() == (tiny_root / sources.SDXL_FILE).read_bytes()
    assert "s3cret" not in (tmp_path / LOCK).read_text() + repr(pull.plan(tmp_path, which, given))
    assert {s.token for s in published.seen if s.server == "cdn"} <= {""}
    if kind == "url":  # the same URL with other bytes is refused
        published.commits[commit]["lustify.safetensors"] = weights(1)
        (status,) = pull.fetch(pull.plan(tmp_path, which, given), lambda *_: None)
        assert "came with sha256" in str(status.problems[0])


def test_sdxl_weights_with_a_wrong_hash_are_quarantined(published: Hub, tiny_root: Path, tmp_path: Path) -> None:
    given = sources.sdxl_weights(str(tiny_root / sources.SDXL_FILE), "0" * 64)
    assert isinstance(given, sources.Given)
    (status,) = pull.fetch(pull.plan(tmp_path, [s for s in of("sdxl") if not s.saved_as], given), lambda *_: None)
    assert "came with sha256" in str(status.problems[0])
    assert not (tmp_path / sources.SDXL_FILE).exists()


def test_manually_placed_weights_are_pinned_on_request(published: Hub, tiny_root: Path, tmp_path: Path) -> None:
    mine = tmp_path / sources.SDXL_FILE
    mine.parent.mkdir()
    shutil.copyfile(tiny_root / sources.SDXL_FILE, mine)
    given = sources.sdxl_weights(str(mine))
    assert isinstance(given, sources.Given)
    (status,) = pull.fetch(pull.plan(tmp_path, [s for s in of("sdxl") if not s.saved_as], given), lambda *_: None)
    assert status.ok
    assert files.read_manifest(tmp_path)["files"][sources.SDXL_FILE]["sha256"] == files.sha256(mine)


def test_an_html_page_instead_of_a_model_is_quarantined(tmp_path: Path, server: Hub) -> None:
    commit = server.publish("a/b", {"x.safetensors": b"<!DOCTYPE html><html>Please log in</html>"})
    given = sources.sdxl_weights(f"{server.cdn}/{commit}/x.safetensors")
    assert isinstance(given, sources.Given)
    (tmp_path / "sdxl-lustify").mkdir()
    made = pull.Plan(tmp_path, (pull._given(given, ""),), ())
    (status,) = pull.fetch(made, lambda *_: None)
    assert "is no safetensors file" in str(status.problems[0])
    assert not (tmp_path / sources.SDXL_FILE).exists()


@pytest.mark.parametrize("text", ["nothing/here", "a/b:model.ckpt", "/no/such/file.safetensors", "ftp://x/y.safetensors"])
def test_invalid_sdxl_sources_are_refused(text: str) -> None:
    with pytest.raises(ModelFileError, match="is no file here"):
        sources.sdxl_weights(text)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('role = "sdx"', "names the role"),
        ('revision = "main"', "no commit hash"),
        ('into = "../elsewhere"', "leads out"),
        ('fils = ["x"]', "unknown key"),
        ("files = []", "lacks 'files'"),
    ],
)
def test_an_invalid_source_list_is_refused(tmp_path: Path, table: str, said: str) -> None:
    lines = {"role": 'role = "qwen"', "repo": 'repo = "a/b"', "into": 'into = "qwen2.5-7b-instruct"', "files": 'files = ["*"]'}
    lines[table.split()[0]] = table
    (tmp_path / "mine.toml").write_text("[[source]]\n" + "\n".join(lines.values()))
    with pytest.raises(ModelFileError, match=rf"mine\.toml: .*{said}"):
        sources.read(tmp_path / "mine.toml")


def test_our_list_fills_every_role() -> None:
    found = sources.read()
    assert {s.role for s in found} == {role.name for role in files.ROLES}
    for role in files.ROLES:
        for source in (s for s in found if s.role == role.name):
            assert source.into.split("/")[0] == role.folder
            assert source.licence
