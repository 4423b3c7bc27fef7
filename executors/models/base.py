"""Interface of a model family: it loads once, and turns `Work` into outputs, step by step.

A family knows nothing of job states, databases, leases or uploads. It raises the exceptions of `executors.errors`, and lets exceptions of
`on_step` propagate: that is how a cancel stops a pipeline between two steps, without a decode.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

OnStep = Callable[[int, int], None]
"""Called after each denoising step with (steps done, total steps), over the whole work (all images of a batch).
If it raises, the pipeline must stay usable for the next job."""


@dataclass(frozen=True)
class References:
    """A job's reference pictures, already fetched, checked and re-encoded as RGB."""

    init: Image | None = None  # sdxl_img2img
    style: Image | None = None  # sdxl: the picture for `reference_type` style, composition or character
    single: Image | None = None  # wan: `wan_mode` is the combination of these three
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
    """One job as a model sees it. Sizes are the requested pixels; a tiny model makes fewer and records that in the output."""

    job_id: str
    job_type: str
    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seeds: tuple[int, ...]  # one per image; a video has exactly one
    frames: int = 1  # 4k+1 for Wan
    fps: int = 16
    shift: float = 5.0
    sampler: str = "unipc"
    scheduler: str | None = None  # sdxl: the request's `config.scheduler`; None: the model's own
    strength: float | None = None  # img2img, 0.1–1.0
    reference_type: str | None = None  # style | composition | character
    reference_strength: float = 0.7  # 0.1–1.0
    precise: bool = False  # a repetition in higher precision, after an output that was NaN or a single colour
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


@dataclass(frozen=True)
class DeviceOutput:
    """One output: its `index` in the job, facts `about` the model, and the device time in `seconds`."""

    index: int
    output: Output
    about: Mapping[str, Any]
    seconds: float


class Family(Protocol):
    """A model family on one device. Not thread-safe: called by one device thread."""

    name: str

    def load(self) -> None:
        """Load the weights. Idempotent. Raises `ModelFileError` naming the file that is missing or wrong."""

    def unload(self) -> None:
        """Free the memory. Idempotent."""

    def generate(self, work: Work, on_step: OnStep) -> Generator[Output, None, None]:
        """Yield each output as soon as it is decoded. Raises `BadOutput` when one is NaN or of a single colour."""

    def together(self, work: Work) -> Hashable | None:
        """Return a key: works with equal keys may share a pass; None for a work that is made alone. The same before and after loading."""

    def generate_together(self, works: Sequence[Work], on_steps: Sequence[OnStep]) -> Generator[tuple[int, Output | Exception], None, None]:
        """Generate works of one key (`together`), each with its own seeds and callback; yields (index of the work, output).

        A work whose callback raises drops out, and so does one with a bad output (`BadOutput`): its exception is yielded in place of an
        output, at the end of the pass, and the others are unaffected. Each output is within 1/255 (fp32) of the one made alone. Raises
        what concerns all works: `OutOfMemory`, `ModelFileError`.
        """

    def describe(self) -> dict[str, Any]:
        """Return facts for an artifact's metadata: model name, tiny or not, revision or sha256, dtype, device."""


@dataclass(frozen=True)
class ModelPaths:
    """Paths of each role's files under OURVIDZ_MODELS (`executors.models.files` verifies them)."""

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
