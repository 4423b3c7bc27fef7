"""Residency: never over budget, nothing in use is evicted, and outputs do not depend on it."""

from __future__ import annotations

import random
import resource
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import Measured
from PIL import Image
from sizes import size

from executors.books import Books, Item, TooBig
from executors.errors import ModelFileError
from executors.models.base import Clip, References, Work
from executors.residency import Residency
from executors.shelf import Shelf

# A cache of five components: c shares one tensor with a and one with b.
TENSORS = {
    "a": {"x": 1, "y": 2},
    "b": {"x": 3},
    "c": {"x": 1, "z": 4},
    "d": {"x": 5, "y": 6},
    "e": {"x": 7},
}
ELEMENTS = {1: 100, 2: 50, 3: 200, 4: 30, 5: 400, 6: 20, 7: 120}  # elements by the tensor's content
LIKE = {"c": "a"}
WIDTH = 4


def module(name: str) -> torch.nn.Module:
    made = torch.nn.Module()
    for key, content in TENSORS[name].items():
        made.register_parameter(key, torch.nn.Parameter(torch.full((ELEMENTS[content],), float(content)), requires_grad=False))
    return made


def filled(budget: int, ram: int | None = None) -> Measured:
    residency = Measured(budget, ram)
    for name in TENSORS:
        residency.add(name, lambda name=name: module(name), LIKE.get(name))
    return residency


def bytes_of(names: set[str], wide: frozenset[str] = frozenset()) -> int:
    """Bytes that these need at once, counted from the tensors' contents."""
    contents = {(content, name in wide) for name in names for content in TENSORS[name].values()}
    return sum(ELEMENTS[content] * WIDTH * (2 if widened else 1) for content, widened in contents)


holds = st.tuples(st.sets(st.sampled_from(sorted(TENSORS)), min_size=1, max_size=3), st.integers(0, 1500), st.booleans())
operations = st.lists(st.one_of(holds, st.integers(0, 3), st.just("clear"), st.sampled_from(sorted(TENSORS))), max_size=25)


@pytest.mark.sized
@settings(max_examples=size(60, 300))
@given(budget=st.integers(1000, 6000), todo=operations)
def test_any_sequence_of_holds_stays_within_the_budget(budget: int, todo: list[Any]) -> None:
    residency = filled(budget)
    held: list[tuple[ExitStack, set[str], int, bool]] = []

    def check() -> None:
        assert residency.live <= budget - sum(working for _, _, working, _ in held)
        assert residency.live == residency.placed.used  # the bookkeeping is right; shared tensors count once
        for _, names, _, wide in held:
            for name in names:
                for key, tensor in residency.load(name).named_parameters():
                    assert tensor.data_ptr() in residency.addresses, f"{name} is in use, and not on the device"
                    assert tensor.dtype == (torch.float64 if wide else torch.float32)
                    assert bool((tensor == TENSORS[name][key]).all())

    for step in todo:
        if isinstance(step, int):
            if held:
                held.pop(step % len(held))[0].close()
        elif step == "clear":
            residency.clear()
            assert residency.live == bytes_of_held(held)
        elif isinstance(step, str):
            residency.load(step)
        else:
            names, working, wide = step
            if any(names & other and wide != otherwise for _, other, _, otherwise in held):
                continue
            stack = ExitStack()
            fits = bytes_of_held([*held, (stack, names, working, wide)]) + working + sum(w for _, _, w, _ in held) <= budget
            if fits:
                stack.enter_context(residency.hold(*sorted(names), working=working, dtype=torch.float64 if wide else None))
                held.append((stack, names, working, wide))
            else:
                with pytest.raises(TooBig, match=r"at once, and .* is allowed.*OURVIDZ_VRAM_BUDGET"):
                    stack.enter_context(residency.hold(*sorted(names), working=working, dtype=torch.float64 if wide else None))
        check()
    while held:
        held.pop()[0].close()
    residency.clear()
    assert (residency.live, residency.placed.working, +residency.placed.locks) == (0, 0, {})
    assert all(tensor.dtype == torch.float32 for name in TENSORS for tensor in residency.load(name).parameters())


def bytes_of_held(held: list[tuple[ExitStack, set[str], int, bool]]) -> int:
    wide = frozenset(name for _, names, _, w in held if w for name in names)
    return bytes_of({name for _, names, _, _ in held for name in names}, wide)


def test_shared_tensors_are_copied_once_and_freed_with_the_last_user() -> None:
    residency = filled(10_000)
    with residency.hold("a"), residency.hold("c"):
        assert residency.live == bytes_of({"a", "c"}) < bytes_of({"a"}) + bytes_of({"c"})
        first, second = residency.load("a"), residency.load("c")
        assert first.x.data_ptr() == second.x.data_ptr()
    residency.remove("a")
    assert residency.live == bytes_of({"c"})
    assert bool((second.x == 1).all())
    residency.remove("c")
    assert residency.live == 0


def test_widened_copies_are_freed_with_their_job() -> None:
    residency = filled(10_000)
    with residency.hold("b"):
        pass
    with residency.hold("b", dtype=torch.float64):
        assert residency.live == 2 * bytes_of({"b"})
    assert (residency.live, residency.load("b").x.dtype) == (0, torch.float32)
    with residency.hold("b"), pytest.raises(ValueError, match="b: in use"), residency.hold("b", dtype=torch.float64):
        pytest.fail("its precision changed under the one who held it")


def test_a_hold_that_ran_out_of_memory_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    residency = filled(10_000)
    real, calls = residency.copy, []

    def run_out(master: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        calls.append(master)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return real(master, dtype)

    monkeypatch.setattr(residency, "copy", run_out)
    with pytest.raises(torch.OutOfMemoryError), residency.hold("d"):
        pytest.fail("it was held")
    assert (residency.live, residency.on_device("d")) == (0, False)
    assert all(t.data_ptr() not in residency.addresses for t in residency.load("d").parameters())
    with residency.hold("d"):
        assert residency.live == bytes_of({"d"})


def test_eviction_follows_greedydual_size() -> None:
    """GreedyDual-Size by hand: an item's worth is its cost per byte above a floor, and the floor rises to the worth of the evicted."""
    books = Books(100)
    for name, bytes_, cost in (("cheap", 40, 0.4), ("dear", 40, 4.0), ("small", 10, 0.5)):
        books.enter(Item(name, {name: bytes_}, cost))
    assert books.victims([Item("new", {"new": 30}, 0.3)]) == ["cheap"]
    books.leave("cheap")
    books.enter(Item("new", {"new": 30}, 0.3))
    assert books.victims([Item("newer", {"newer": 45}, 0.45)]) == ["new"]
    books.leave("new")
    # "dear" (0.1 per byte) is not requested while the floor rises past it (by at least 0.01 each time): finally it goes before newcomers.
    for turn in range(20):
        books.enter(Item(f"n{turn}", {turn: 50}, 0.5))
        gone = books.victims([Item("next", {"next": 50}, 0.5)])
        for name in gone:
            books.leave(name)
        if "dear" in gone:
            break
    assert "dear" in gone and turn > 3


def test_items_in_use_are_named_when_something_does_not_fit() -> None:
    residency = filled(2600)
    with residency.hold("d", working=200):
        with pytest.raises(TooBig) as error, residency.hold("b", working=100):
            pytest.fail("it was held")
    told = "has to be on the GPU at once, and 0.0026 MB is allowed: b 0.0008 MB, d 0.00168 MB (in use), 0.0003 MB to work in."
    assert told in str(error.value)
    assert residency.live == bytes_of({"d"})


# Master copies


def test_masters_over_budget_are_reloaded_into_the_same_module() -> None:
    reads: list[str] = []
    residency = Measured(10_000, ram=bytes_of({"d"}) + 200)
    for name in TENSORS:
        residency.add(name, lambda name=name: reads.append(name) or module(name))
    kept = residency.load("b")
    for name in ("d", "b", "d", "b"):
        with residency.hold(name):
            assert residency.masters.used <= bytes_of({"d"}) + 200
            assert all(bool((t == TENSORS[name][key]).all()) for key, t in residency.load(name).named_parameters())
    assert reads == ["b", "d", "b", "d", "b"]
    assert residency.load("b") is kept
    with pytest.raises(TooBig, match=r"RAM at once.*OURVIDZ_RAM_BUDGET"), residency.hold("b", "d"):
        pytest.fail("both were held")
    with residency.hold("b"):
        assert bool((kept.x == 3).all())


def test_a_file_damaged_later_is_reported_and_others_stay() -> None:
    residency = Measured(10_000, ram=bytes_of({"d"}) + 200)
    trouble: list[Exception] = []

    def build() -> torch.nn.Module:
        if trouble:
            raise trouble[0]
        return module("b")

    residency.add("b", build)
    residency.add("d", lambda: module("d"))
    residency.load("b")
    residency.load("d")
    trouble.append(ModelFileError("the disk went away"))
    with pytest.raises(ModelFileError), residency.hold("b"):
        pytest.fail("it was held")
    with residency.hold("d"):
        assert residency.live == bytes_of({"d"})
    trouble.clear()
    with residency.hold("b"):
        assert bool((residency.load("b").x == 3).all())


def test_on_a_cpu_without_a_budget_nothing_is_copied() -> None:
    residency = Residency(torch.device("cpu"))
    residency.add("a", lambda: module("a"))
    before = residency.load("a").x.data_ptr()
    with residency.hold("a", working=10**15):
        assert residency.load("a").x.data_ptr() == before and residency.on_device("a")
    with residency.hold("a", dtype=torch.float64):
        assert residency.load("a").x.dtype == torch.float64
    assert residency.load("a").x.data_ptr() == before


# Families


def picture(colour: tuple[int, int, int]) -> Image.Image:
    made = Image.new("RGB", (96, 128), colour)
    made.paste((255, 255, 255), (20, 20, 50, 90))
    return made


SDXL = Work("job", "sdxl_image_fast", "a red cat on a mat", "ugly", 512, 512, steps=2, guidance=6.0, seeds=(7,))
WAN = Work("job", "image_fast", "a woman walking", "blurry", 480, 832, steps=2, guidance=6.0, seeds=(7,))
JOBS: dict[str, tuple[str, Work | str]] = {
    "plain": ("sdxl", SDXL),
    "three": ("sdxl", replace(SDXL, seeds=(1, 2, 3))),
    "img2img": ("sdxl", replace(SDXL, strength=0.6, references=References(init=picture((200, 30, 30))))),
    "style": ("sdxl_ip", replace(SDXL, reference_type="style", references=References(style=picture((200, 30, 30))))),
    "character": ("sdxl_ip", replace(SDXL, reference_type="character", references=References(style=picture((30, 30, 200))))),
    "image": ("wan", WAN),
    "video": ("wan", replace(WAN, frames=5)),
    "single": ("wan_vace", replace(WAN, references=References(single=picture((30, 200, 30))))),
    "start": ("wan_vace", replace(WAN, frames=5, references=References(first_frame=picture((200, 30, 30))))),
    "enhance": ("", "a lighthouse at dusk"),
}


def run(shelf: Shelf, kind: str, **changes: Any) -> Any:
    """The job's outputs in a form that `==` compares to the bit."""
    lane, work = JOBS[kind]
    if isinstance(work, str):
        return shelf.enhancer().enhance(work, "wan", deadline_s=60, should_stop=lambda: None).text
    made = []
    for output in shelf.family(lane).generate(replace(work, **changes), lambda done, total: None):
        frames = output.frames if isinstance(output, Clip) else [output.image]
        made.append((output.seed, [np.asarray(frame).tobytes() for frame in frames]))
    return made


@pytest.fixture(scope="module")
def unlimited(tiny_root: Path) -> dict[str, Any]:
    """Each kind of job on a shelf that keeps everything, without copies."""
    shelf = Shelf(tiny_root)
    return {kind: run(shelf, kind) for kind in JOBS}


def measured(root: Path, budget: int) -> tuple[Shelf, Measured]:
    shelf = Shelf(root)
    shelf._residency = residency = Measured(budget)
    return shelf, residency


@pytest.fixture(scope="module")
def least(tiny_root: Path) -> int:
    """The smallest budget for every job: the maximum that any stage holds."""
    shelf, residency = measured(tiny_root, 10**12)
    for kind in JOBS:
        run(shelf, kind)
    assert residency.live == residency.placed.used > residency.needed  # together they need more
    return residency.needed


@pytest.mark.sized
def test_mixed_jobs_on_a_small_budget_give_the_same_outputs(tiny_root: Path, least: int, unlimited: dict[str, Any]) -> None:
    shelf, residency = measured(tiny_root, least)
    queue = [kind for kind in JOBS for _ in range(size(6, 12))]
    random.Random(4).shuffle(queue)
    for number, kind in enumerate(queue):
        assert run(shelf, kind) == unlimited[kind], f"job {number}, {kind}"
        assert residency.live <= least
    assert residency.peak <= least
    assert residency.moved > 3 * least  # otherwise the budget had no effect
    whole = residency.live
    residency.clear()
    assert residency.live == 0 < whole


def test_the_shelf_reports_resident_lanes(tiny_root: Path, least: int) -> None:
    shelf, residency = measured(tiny_root, least)
    assert shelf.resident == []
    run(shelf, "image")
    assert shelf.resident == ["wan"]
    run(shelf, "plain")
    residency.clear()
    assert shelf.resident == ["sdxl", "sdxl_ip"]  # wherever the last job's is, the next one's will be
    run(shelf, "start")
    assert "wan_vace" in shelf.resident and "sdxl" not in shelf.resident


@pytest.mark.parametrize("kind", ["plain", "img2img", "style", "image", "single"])
def test_higher_precision_is_made_from_the_masters_within_the_budget(tiny_root: Path, kind: str) -> None:
    """As on a GPU, where the models run in bf16: once in fp32, and then as before."""
    lane, _ = JOBS[kind]
    shelf, residency = measured(tiny_root, 10**12)
    family = shelf.family(lane)
    family.unload()
    family.dtype = torch.bfloat16  # type: ignore[attr-defined]
    usual = run(shelf, kind)
    peak = residency.peak
    precise = run(shelf, kind, precise=True)
    assert precise != usual
    assert run(shelf, kind, precise=True) == precise
    assert run(shelf, kind) == usual
    assert residency.peak > peak
    residency.clear()
    assert residency.live == 0


@pytest.mark.sized
@pytest.mark.parametrize("sizes", [(size(20, 30), size(30, 170))])
def test_many_jobs_leave_nothing_behind(tiny_root: Path, least: int, sizes: tuple[int, int]) -> None:
    shelf, residency = measured(tiny_root, least)
    kinds = random.Random(5).choices([kind for kind in JOBS if kind != "enhance"], k=sum(sizes))
    for kind in kinds[: sizes[0]]:
        run(shelf, kind, steps=2)
    before = resident_bytes()
    for kind in kinds[sizes[0] :]:
        run(shelf, kind, steps=2)
    grown = resident_bytes() - before
    # A job that leaked its activations would leave some 300 kB; one that leaked its weights, megabytes.
    assert grown < 25e6, f"{grown / 1e6:.1f} MB more after {sizes[1]} jobs"
    assert residency.peak <= least


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize()
