"""Background compilation: eager until it is ready, then compiled, with the same images up to rounding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from waiting import LIMIT

from executors.models import regional
from executors.models.regional import TRIES, Regional


class Backend:
    """Stands in for inductor: counts the graphs it gets, and runs them unchanged."""

    def __init__(self) -> None:
        self.graphs, self.threads = 0, set[str]()
        self.gate = threading.Event()
        self.gate.set()
        self.trouble: Callable[[], None] = lambda: None

    def __call__(self, graph: Any, inputs: Any) -> Any:
        assert self.gate.wait(LIMIT)
        self.trouble()
        self.graphs += 1
        self.threads.add(threading.current_thread().name)
        return graph.forward


@pytest.fixture
def backend() -> Iterator[Backend]:
    torch._dynamo.reset()
    made = Backend()
    yield made
    made.gate.set()
    assert regional.wait(LIMIT)
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    torch.manual_seed(1)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    ).eval()


@torch.no_grad()
def run(unet: UNet2DConditionModel, size: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return unet(torch.randn(1, 4, size, size, generator=generator), 500, torch.randn(1, 7, 8, generator=generator)).sample


def test_a_shape_runs_eagerly_until_its_compilation_is_ready(unet: UNet2DConditionModel, backend: Backend) -> None:
    plain, blocks = run(unet), Regional(unet, backend)  # type: ignore[arg-type]
    backend.gate.clear()
    with blocks.during(8) as compiled:
        assert not compiled
        assert torch.equal(run(unet), plain)
    with blocks.during(8) as compiled:  # compiling in the background, without blocking
        assert not compiled
        assert torch.equal(run(unet), plain)
    backend.gate.set()
    assert regional.wait(LIMIT)
    before = backend.graphs
    assert before >= 1
    for _ in range(2):
        with blocks.during(8) as compiled:
            assert compiled
            assert torch.allclose(run(unet), plain, atol=1e-5)
    assert backend.graphs == before, "compiled in the job's own time"
    assert threading.current_thread().name not in backend.threads
    assert torch.equal(run(unet), plain)  # outside of `during` it is eager as before


def test_another_shape_is_compiled_for_itself(unet: UNet2DConditionModel, backend: Backend) -> None:
    blocks = Regional(unet, backend)  # type: ignore[arg-type]
    seen = []
    for size in (8, 16, 8, 16):
        with blocks.during(size) as compiled:
            run(unet, size)
        seen.append(compiled)
        assert regional.wait(LIMIT)
    assert seen == [False, False, True, True]
    assert threading.current_thread().name not in backend.threads


def test_a_failing_compiler_is_retried_a_few_times(unet: UNet2DConditionModel, backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    plain, blocks, tries = run(unet), Regional(unet, backend), []  # type: ignore[arg-type]

    def fail() -> None:
        tries.append(1)
        raise RuntimeError("no kernel for this")

    backend.trouble = fail
    for _ in range(TRIES + 2):
        with blocks.during(8) as compiled:
            assert not compiled
            assert torch.equal(run(unet), plain)
        assert regional.wait(LIMIT)
        torch._dynamo.reset()
    assert len(tries) == TRIES
    said = [record.getMessage() for record in caplog.records if record.name == "ourvidz.compile"]
    assert [", to be tried again: " in line for line in said] == [True] * (TRIES - 1) + [False]


def test_after_compiled_code_fails_the_next_attempt_is_eager(unet: UNet2DConditionModel, backend: Backend) -> None:
    plain, blocks = run(unet), Regional(unet, backend)  # type: ignore[arg-type]
    with blocks.during("a shape that says too little"):
        run(unet, 8)
    assert regional.wait(LIMIT)

    def fail() -> None:
        raise RuntimeError("no kernel for this")

    backend.trouble = fail
    with pytest.raises(torch._dynamo.exc.TorchDynamoException), blocks.during("a shape that says too little"):
        run(unet, 16)
    with blocks.during("a shape that says too little") as compiled:
        assert not compiled
        assert torch.equal(run(unet), plain)


def test_a_cancelled_job_leaves_nothing_behind(unet: UNet2DConditionModel, backend: Backend) -> None:
    plain, blocks = run(unet), Regional(unet, backend)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), blocks.during(8):
            run(unet)
            raise KeyboardInterrupt
        assert regional.wait(LIMIT)
        assert torch.equal(run(unet), plain)
    assert all(not block._forward_pre_hooks and block._compiled_call_impl is None for block in unet.modules())
