"""What a model family is to the rest of the program: it loads once, and turns `Work` into outputs, step by step.

A family knows nothing of jobs' states, databases, leases or files to upload. It raises the leaves of `executors.errors`, and lets
`on_step` raise through it: that is how a cancel stops a pipeline between two steps without a decode.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

OnStep = Callable[[int, int], None]
"""Called after each denoising step with (steps done, steps in all), over the whole of the work (all images of a batch).
Whatever it raises must leave the pipeline usable for the next job."""


@dataclass(frozen=True)
class References:
    """The pictures a job refers to, already fetched, checked and re-encoded as RGB."""

    init: Image | None = None  # sdxl_img2img
    style: Image | None = None  # sdxl: the picture of `reference_type` style, composition or character
    single: Image | None = None  # wan: the five modes are the combinations of these three
    first_frame: Image | None = None
    last_frame: Image | None = None

    @property
    def wan_mode(self) -> str:
        if self.single is not None:
            return "single"
        match self.first_frame is not None, self.last_frame is not None:
            case True, True:
                return "both"
            case True, False:
                return "start"
            case False, True:
                return "end"
        return "none"


@dataclass(frozen=True)
class Work:
    """One job as a model sees it. Sizes are pixels as asked for; a tiny model makes fewer and says so in the output."""

    job_id: str
    job_type: str
    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seeds: tuple[int, ...]  # one per image; a video has one
    frames: int = 1  # 4k+1 for Wan
    fps: int = 16
    shift: float = 5.0
    sampler: str = "unipc"
    scheduler: str | None = None  # sdxl: the wire's `config.scheduler`; None is the model's own
    strength: float | None = None  # img2img, 0.1–1.0
    reference_type: str | None = None  # style | composition | character
    reference_strength: float = 0.7  # 0.1–1.0
    precise: bool = False  # repeat in higher precision, after an output that was NaN or of a single colour
    references: References = field(default_factory=References)


@dataclass(frozen=True)
class Picture:
    """One generated image, RGB, with the seed that made it."""

    image: Image
    seed: int


@dataclass(frozen=True)
class Clip:
    """One generated video: RGB frames, all of one even size, at `fps` frames a second."""

    frames: list[Image]
    fps: int
    seed: int


Output = Picture | Clip


class Family(Protocol):
    """A model family on one device. Not thread-safe: one device thread calls it."""

    name: str

    def load(self) -> None:
        """Bring the weights to the device. Idempotent. Raises `ModelFileError` naming the file that is missing or wrong."""

    def unload(self) -> None:
        """Give the memory back. Idempotent."""

    def generate(self, work: Work, on_step: OnStep) -> Iterator[Output]:
        """Yield each output as soon as it is decoded. Raises `BadOutput` when one is NaN or of a single colour."""

    def together(self, work: Work) -> Hashable | None:
        """What works have in common that may share a pass; None for one that is made alone. The same before and after loading."""

    def generate_together(self, works: Sequence[Work], on_steps: Sequence[OnStep]) -> Iterator[tuple[int, Output | Exception]]:
        """Works of one key (`together`), each with its own seeds and callback; yields which work it is with each output.

        A work whose callback raises drops out, and so does one with a bad output (`BadOutput`): its exception is yielded in place of an
        output, at the end of the pass, and the others go on as if nothing had happened. Each output is within 1/255 (fp32) of the one made
        alone. Raises what concerns them all: `OutOfMemory`, `ModelFileError`.
        """

    def describe(self) -> dict[str, Any]:
        """Facts for an artifact's metadata: model name, tiny or not, revision or sha256, dtype, device."""


@dataclass(frozen=True)
class ModelPaths:
    """Where each role's files lie under OURVIDZ_MODELS (`executors.models.files` verifies them)."""

    root: Path

    @property
    def sdxl_file(self) -> Path:
        return self.root / "sdxl-lustify" / "model.safetensors"

    @property
    def sdxl_config(self) -> Path:
        return self.root / "sdxl-lustify" / "config"

    @property
    def ip_adapter(self) -> Path:
        return self.root / "ip-adapter"

    @property
    def wan(self) -> Path:
        return self.root / "wan2.1-t2v-1.3b"

    @property
    def vace(self) -> Path:
        return self.root / "wan2.1-vace-1.3b"

    @property
    def qwen(self) -> Path:
        return self.root / "qwen2.5-7b-instruct"
