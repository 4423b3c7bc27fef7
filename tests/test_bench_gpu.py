"""The GPU benchmark's arithmetic, and its full path at small size on the CPU, as it runs on a GPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from bench.gpu import weights  # noqa: E402  (needs torch)
from bench.gpu.cases import BY_NAME, CASES, DRY, PRODUCTION, STEADY, _of_forward, flops  # noqa: E402
from bench.gpu.command import main, measure  # noqa: E402
from bench.gpu.meter import DECODE, DENOISE, H200_BF16, Card, Meter  # noqa: E402
from bench.gpu.ours import Ours, Post  # noqa: E402
from bench.gpu.sizes import SMALL, TRUE  # noqa: E402
from executors.models import files  # noqa: E402
from executors.models.profiles import DEFAULT  # noqa: E402
from state.catalog import JOB_TYPES  # noqa: E402

CPU = Card(torch.device("cpu"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models") / "small"
    weights.make(root, SMALL, CPU.device, weights.FAMILIES, lambda _: None)
    return root


@pytest.fixture(scope="module")
def ours(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    meter = Meter(CPU)
    with meter.watching():
        yield Ours(CPU, DRY, models, Post(tmp_path_factory.mktemp("post"), 0.0), meter)


# As published on https://huggingface.co/<repository named in sizes.py>, "Safetensors · Model size", in millions.
@pytest.mark.parametrize(
    ("part", "millions"),
    [("unet", 2567), ("vae", 84), ("text_encoder", 123), ("text_encoder_2", 695), ("t2v", 1419), ("vace", 2154), ("wan_vae", 127),
     ("umt5", 5681), ("qwen", 7616)],
)  # fmt: skip
def test_true_sizes_have_the_published_numbers_of_parameters(part: str, millions: int) -> None:
    assert round(sum(p.numel() for p in weights.on_meta(TRUE, part).parameters()) / 1e6) == millions
    assert {*SMALL[part]} >= {*TRUE[part]} and weights.KINDS[part]


# Seconds of denoising on an H200 that the project's aims were derived from.
@pytest.mark.parametrize(
    ("case", "seconds"),
    [("sdxl-high-x6", 2.6), ("video-fast", 17.9), ("vace-high", 54.1)],
)
def test_the_floor_counts_the_flops_of_all_steps(case: str, seconds: float) -> None:
    denoise, decode = flops(BY_NAME[case], PRODUCTION)
    assert round(denoise / H200_BF16, 1) == seconds
    assert 0 < decode < denoise / 10


def test_wan_decoding_cost_is_linear_beyond_the_first_latents() -> None:
    counted = [_of_forward("wan_vae", True, (4, 4, latents)) for latents in range(STEADY - 1, STEADY + 2)]
    assert len({after - before for before, after in pairwise(counted)}) == 1 and counted[0] < counted[1]


def test_every_lane_has_a_case_with_the_catalogs_settings() -> None:
    assert {case.lane for case in CASES} == {"sdxl", "wan", "wan_vace", "qwen"}
    for case in CASES:
        work = PRODUCTION.work(case)
        kind = JOB_TYPES[case.job_type]
        assert (work.steps, work.guidance, (work.width, work.height), work.frames) == (
            kind.steps,
            kind.guidance,
            kind.sizes[0],
            kind.frames,
        )
        assert len(work.seeds) == case.images


def test_the_model_folder_passes_verify_and_is_written_once(models: Path) -> None:
    assert [s.role for s in files.verify(models) if s.ok] == ["sdxl", "wan", "vace", "qwen"]
    assert not files.read_manifest(models)["tiny"]
    shared = [(models / f"wan2.1-{kind}-1.3b/vae/diffusion_pytorch_model.safetensors").stat() for kind in ("t2v", "vace")]
    assert shared[0].st_ino == shared[1].st_ino
    said: list[str] = []
    weights.make(models, SMALL, CPU.device, weights.FAMILIES, said.append)
    assert said == []
    with pytest.raises(SystemExit, match="other sizes"):
        weights.make(models, TRUE, CPU.device, weights.FAMILIES, said.append)


def test_a_foreign_folder_is_left_untouched(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"theirs")
    with pytest.raises(SystemExit, match="not a folder that this benchmark made"):
        weights.make(tmp_path, SMALL, CPU.device, weights.FAMILIES, lambda _: None)
    assert [f.name for f in tmp_path.iterdir()] == ["model.safetensors"]


def test_large_parts_are_cut_into_shards_that_load_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import UMT5EncoderModel

    monkeypatch.setattr(weights, "SHARD", 20_000)
    weights._part(tmp_path, SMALL, "umt5", CPU.device, torch.float32)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    assert "encoder.embed_tokens.weight" not in index["weight_map"], "the same tensor as shared.weight, once is enough"
    loaded = UMT5EncoderModel.from_pretrained(tmp_path, local_files_only=True)
    assert torch.equal(loaded.shared.weight, dict(weights._filled(loaded, CPU.device, torch.float32, ["shared.weight"]))["shared.weight"])


@pytest.mark.parametrize("name", ["sdxl-fast-x6", "image-fast", "vace-fast"])
def test_a_jobs_time_is_the_sum_of_its_parts(ours: Ours, name: str) -> None:
    took = ours.job(BY_NAME[name])
    assert took.denoise > 0 and took.decode > 0 and took.denoise + took.decode < took.device <= took.whole
    assert 0 < took.outside < 1


def test_the_meter_includes_time_between_forwards_and_resets() -> None:
    meter = Meter(CPU)
    meter._marks = [(DENOISE, 1.0, 2.0), (DENOISE, 2.5, 3.0), (DECODE, 4.0, 4.5), (DENOISE, 6.0, 7.0)]
    assert meter.take() == {DENOISE: 3.0, DECODE: 0.5}
    assert meter.take() == {DENOISE: 0.0, DECODE: 0.0}


def test_each_run_uses_a_new_prompt(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached embedding would make the fixed cost look smaller than it is."""
    prompts: list[str] = []
    family = ours.shelf.family("wan")
    real = family.generate
    monkeypatch.setattr(family, "generate", lambda work, step: prompts.append(work.prompt) or real(work, step))
    ours.job(BY_NAME["image-fast"])
    ours.job(BY_NAME["image-fast"])
    assert len(set(prompts)) == 2


def test_ours_and_plain_side_by_side(models: Path) -> None:
    cases = [BY_NAME[name] for name in ("sdxl-fast-x6", "vace-fast", "enhancement")]
    profile = replace(DEFAULT, attention="slicing")
    figures = measure(CPU, DRY, models, cases, repeat=1, upload=0.0, plain=True, say=lambda _: None, profile=profile)
    assert [line.case for line in figures.lines] == cases
    for line in figures.lines:
        assert line.plain is not None and 0 < line.plain.load < line.plain.whole
        assert line.ours.device > 0 and line.floor > 0
    assert figures.lines[-1].ours.tokens == figures.lines[-1].plain.tokens > 0  # type: ignore[union-attr]
    assert {(a, b) for a, b, _ in figures.switches} == {(a.lane, b.lane) for a in cases for b in cases if a != b}
    tables = figures.tables(0.0)
    assert all(case.name in tables[0] for case in cases) and "≤ 35" in tables[1]
    assert tables[0].count("slicing") == 2, "of both denoisers; Qwen has none to choose"
    json.dumps(figures.as_dict())


def test_unavailable_attention_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        main(["--dry-run", "--attention", "xformers"])
    assert ended.value.code == 2 and "needs a CUDA GPU" in capsys.readouterr().err


def test_without_a_gpu_it_says_so_in_a_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    main([])
    assert capsys.readouterr().out.splitlines() == [
        "There is no CUDA device here, so nothing was measured; "
        "`python -m bench.gpu --dry-run` walks the same code with small models on the CPU."
    ]
