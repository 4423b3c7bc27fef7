"""Our way: warm families from the shelf, each output encoded and stored by another thread while the device makes the next."""

from __future__ import annotations

import gc
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import torch

from bench.gpu.cases import CASES, PROMPT, Case, Scale
from bench.gpu.meter import DECODE, DENOISE, Card, Meter
from executors import media
from executors.errors import Cancelled, EnhancementFailed
from executors.models import regional
from executors.models.base import Clip, Output
from executors.models.profiles import DEFAULT, Profile
from executors.shelf import Shelf

COMPILE = 300.0  # seconds, at most, for the denoiser of one shape


@dataclass(frozen=True)
class Post:
    """Destination of outputs: a folder, `upload` seconds away."""

    folder: Path
    upload: float

    def put(self, name: str, data: bytes) -> None:
        time.sleep(self.upload)
        (self.folder / name).write_bytes(data)

    def send(self, name: str, output: Output) -> None:
        """Encode and store the file and its thumbnail, as the executor does."""
        if isinstance(output, Clip):
            film = self.folder / f"{name}.part.mp4"
            media.encode_mp4(output.frames, output.fps, film, {})
            self.put(f"{name}.mp4", film.read_bytes())
            picture = media.middle_frame(output.frames)
        else:
            self.put(f"{name}.png", media.encode_png(output.image, {}))
            picture = output.image
        self.put(f"{name}.webp", media.encode_webp_thumbnail(picture))


@dataclass(frozen=True)
class Took:
    """Times of one job, in seconds. `device`: until the device is free for the next job. `whole`: until its last output is stored."""

    device: float
    whole: float
    denoise: float = 0.0
    decode: float = 0.0
    tokens: int = 0
    load: float = 0.0  # part of `whole`; of the plain way only
    peak: int | None = None  # bytes

    @property
    def outside(self) -> float:
        """Share of the device's time that is neither denoising nor decoding; 0 for an enhancement, which only writes."""
        return 0.0 if self.tokens else 1 - (self.denoise + self.decode) / self.device


def middle(runs: Sequence[Took]) -> Took:
    """Return the run with the median device time: an actual run, so that its parts add up."""
    return sorted(runs, key=lambda run: run.device)[len(runs) // 2]


@dataclass
class Ours:
    card: Card
    scale: Scale
    models: Path
    post: Post
    meter: Meter
    profile: Profile = DEFAULT
    shelf: Shelf = field(init=False)
    _asked: int = 0

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.models, self.profile)

    def job(self, case: Case) -> Took:
        """Run one job from the shelf as it is, warm or cold."""
        self.meter.take()
        self.card.forget_peak()
        begun = self.card.now()
        if case.lane == "qwen":
            tokens = self._enhance(case)
            done = self.card.now()
            return Took(done - begun, done - begun, tokens=tokens, peak=self.card.peak())
        with ThreadPoolExecutor(1) as host:
            sent = [host.submit(self.post.send, f"{case.lane}-{n}", output) for n, output in enumerate(self._outputs(case))]
            free = self.card.now()
            for upload in sent:
                upload.result()
        whole = time.perf_counter() - begun
        seconds = self.meter.take()
        return Took(free - begun, whole, seconds[DENOISE], seconds[DECODE], peak=self.card.peak())

    def _prompt(self) -> str:
        """Return a new prompt each time: encoded prompts are cached, and people repeat themselves less than benchmarks do."""
        self._asked += 1
        return f"{PROMPT}, picture {self._asked}"

    def _outputs(self, case: Case, **smaller: Any) -> Iterator[Output]:
        work = self.scale.work(case, self._prompt(), **smaller)
        yield from self.shelf.family(case.lane).generate(work, lambda done, total: None)

    def _enhance(self, case: Case, *, at_most: int | None = None) -> int:
        """Return the number of generated tokens. Text from random weights is rejected as a description, but only after generation."""
        asked = 0

        def each_token() -> None:
            nonlocal asked
            asked += 1
            if asked == at_most:
                raise Cancelled("as many tokens as were wanted")

        style = "wan" if case.kind.video else "wan_image"
        try:
            self.shelf.enhancer().enhance(self._prompt(), style, deadline_s=600, should_stop=each_token)
        except (EnhancementFailed, Cancelled):
            if not asked:
                raise
        return asked

    def close(self, cases: Sequence[Case]) -> None:
        """Free the device for the next user."""
        for lane in {case.lane for case in cases}:
            (self.shelf.enhancer() if lane == "qwen" else self.shelf.family(lane)).unload()
        self.shelf = Shelf(self.models, self.profile)
        gc.collect()
        if self.card.cuda:
            torch.cuda.empty_cache()

    def measure(self, case: Case, repeat: int) -> tuple[Took, Took]:
        """Return the first job, which loads and tunes, and the median of `repeat` warm ones, after all compiling is done."""
        first = self.job(case)
        if not regional.wait(COMPILE):
            raise SystemExit(f"{case.name}: still compiling after {COMPILE:g} s; measure another --profile, or look into that")
        self.job(case)
        return first, middle([self.job(case) for _ in range(repeat)])

    def peak(self, cases: Sequence[Case]) -> int | None:
        """Maximum bytes held while all cases are served in turn, twice, at full size with two steps each (more steps need no more)."""
        self.card.forget_peak()
        for case in [*cases, *cases]:
            if case.lane == "qwen":
                self._enhance(case, at_most=4)
            else:
                deque(self._outputs(case, steps=2), maxlen=0)
        return self.card.peak()

    def switches(self, lanes: Sequence[str], rounds: int) -> list[tuple[str, str, float]]:
        """(from, to, seconds): how much longer the smallest job of a family takes after one of another family than after its own; the
        median."""
        cases = {lane: next(case for case in CASES if case.lane == lane) for lane in lanes}

        def job(lane: str) -> float:
            begun = self.card.now()
            if lane == "qwen":
                self._enhance(cases[lane], at_most=4)
            else:
                deque(self._outputs(cases[lane], steps=1, least=True), maxlen=0)
            return self.card.now() - begun

        for lane in lanes:  # lets the libraries tune for these sizes
            job(lane)
        made = []
        for before, after in permutations(lanes, 2):
            extra = []
            for _ in range(rounds):
                job(before)
                extra.append(job(after) - job(after))
            made.append((before, after, statistics.median(extra)))
        return made
