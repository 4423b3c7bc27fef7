"""Job types, buckets and what a job may ask for: the one table. Figures are the product's (docs/catalog.md is made from here).

`resolve` turns what someone asked for into the complete settings of a job, or says which field is wrong and what is allowed.
The database's table `ourvidz.job_types` is a copy of `JOB_TYPES`, and checks the same ranges for whoever writes SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

from state.errors import InvalidJob

MB: Final = 1_000_000
MIB: Final = 1024 * 1024
PNG, MP4, WEBP, GIF = "image/png", "video/mp4", "image/webp", "image/gif"

Size = tuple[int, int]
SDXL_SIZES: Final[tuple[Size, ...]] = ((1024, 1024), (832, 1216), (1216, 832), (896, 1152), (1152, 896))
PREMIUM_SIZES: Final[tuple[Size, ...]] = ((1280, 1280), *SDXL_SIZES)
WAN_SIZES: Final[tuple[Size, ...]] = ((480, 832), (832, 480))

PROMPT_MAX, NEGATIVE_MAX = 4_000, 2_000
SEED_MAX: Final = 2**32 - 1
GUIDANCE: Final = (1.0, 15.0)
STRENGTH: Final = (0.1, 1.0)
SHIFT: Final = (1.0, 12.0)
REFERENCE_TYPES: Final = ("style", "composition", "character")
SAMPLERS: Final = ("unipc", "dpm++", "euler")
SCHEDULERS: Final = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler")
VIDEO_FRAMES, FPS = 81, 16


@dataclass(frozen=True)
class JobType:
    """One row of the catalog. Times in seconds, limits in bytes, sizes in pixels."""

    name: str
    family: str  # sdxl | wan
    steps: int
    guidance: float
    sizes: tuple[Size, ...]  # the first is the default
    bucket_mb: int
    price: int  # tokens per image, or per video
    fast: bool = False
    video: bool = False
    enhance: bool = False
    init_image: bool = False
    strength: float | None = None
    backoff_scale: float = 1.0  # this type's delays between attempts, as a multiple of the policy's

    @property
    def queue(self) -> str:
        return f"{self.family}_queue"

    @property
    def steps_max(self) -> int:
        return 60 if self.family == "sdxl" else 80

    @property
    def images(self) -> tuple[int, ...]:
        return (1, 3, 6) if self.family == "sdxl" else (1,)

    @property
    def frames(self) -> int:
        return VIDEO_FRAMES if self.video else 1

    @property
    def media_type(self) -> str:
        return MP4 if self.video else PNG

    @property
    def extension(self) -> str:
        return "mp4" if self.video else "png"

    @property
    def time_limit(self) -> int:
        """Seconds one attempt may take, counted by the database's clock."""
        return 900 if self.video else 600


def _sdxl(name: str, steps: int, guidance: float, mb: int, price: int, **more: Any) -> JobType:
    return JobType(name, "sdxl", steps, guidance, more.pop("sizes", SDXL_SIZES), mb, price, **more)


def _wan(name: str, steps: int, guidance: float, mb: int, price: int, **more: Any) -> JobType:
    return JobType(name, "wan", steps, guidance, WAN_SIZES, mb, price, **more)


JOB_TYPES: Final[Mapping[str, JobType]] = {
    row.name: row
    for row in (
        _sdxl("sdxl_image_fast", 15, 6.0, 5, 1, fast=True),
        _sdxl("sdxl_image_high", 25, 7.5, 10, 2),
        _sdxl("sdxl_image_premium", 40, 8.5, 30, 4, sizes=PREMIUM_SIZES),
        _sdxl("sdxl_img2img", 20, 7.0, 30, 2, init_image=True, strength=0.75),
        _wan("image_fast", 25, 6.0, 5, 2, fast=True),
        _wan("image_high", 50, 7.5, 10, 4),
        _wan("video_fast", 25, 6.5, 50, 20, fast=True, video=True),
        _wan("video_high", 50, 8.0, 200, 40, video=True),
        _wan("image7b_fast_enhanced", 25, 6.0, 20, 3, fast=True, enhance=True),
        _wan("image7b_high_enhanced", 50, 7.5, 20, 5, enhance=True),
        _wan("video7b_fast_enhanced", 25, 6.5, 100, 22, fast=True, video=True, enhance=True),
        _wan("video7b_high_enhanced", 50, 8.0, 100, 42, video=True, enhance=True),
    )
}

LANES: Final = ("sdxl", "sdxl_ip", "wan", "wan_vace")
"""A lane is a set of models that serves its jobs: an executor claims from those whose models it has."""


@dataclass(frozen=True)
class Bucket:
    """A storage bucket: the largest object in bytes, the media types it takes, whether anyone may read it, and whether users upload
    pictures of their own into it (references). Into the others only executors write: what lies there has a known origin."""

    max_bytes: int
    media_types: frozenset[str]
    public: bool = False
    uploads: bool = False


IMAGES: Final = frozenset({PNG, "image/jpeg", WEBP})
BUCKETS: Final[Mapping[str, Bucket]] = {
    # An image job's thumbnail lies beside its image; a video's has a bucket of its own.
    **{t.name: Bucket(t.bucket_mb * MB, frozenset({t.media_type} | ({WEBP} if not t.video else set()))) for t in JOB_TYPES.values()},
    "scene-previews": Bucket(10 * MB, IMAGES),
    "videos-final": Bucket(100 * MB, frozenset({MP4})),
    "character-images": Bucket(20 * MB, IMAGES, uploads=True),
    # Where OurVidz's front end uploads references, up to 10 MB as a browser counts them.
    "reference_images": Bucket(10 * MIB, IMAGES | {GIF}, uploads=True),
    "video-thumbnails": Bucket(5 * MB, frozenset({WEBP})),
    "system-assets": Bucket(5 * MB, IMAGES, public=True),
    "system_assets": Bucket(5 * MB, IMAGES, public=True),  # the deployed front end's spelling
}
REFERENCE_BUCKET: Final = "character-images"
"""Where our own command line puts references. Both buckets with `uploads` are read."""

REFERENCE_SLOTS: Final[Mapping[str, tuple[str, ...]]] = {
    "sdxl": ("init", "style"),
    "wan": ("single", "first_frame", "last_frame"),
}
"""The pictures a job of a family may refer to. The slot `style` is the one picture of any SDXL reference_type."""

# What a reference may look like, here and in ourvidz.check_references: an object of our own store, or a URL, of which the fetcher
# decides more (ourvidz.fetch). A bucket has no colon, so that no other scheme passes for one.
_OBJECT, OBJECT_MAX = re.compile(r"[A-Za-z0-9_.-]+/[ -~]+"), 500
_URL, URL_MAX = re.compile(r"https://[!-~]+"), 2_000


@dataclass(frozen=True)
class Settings:
    """Everything a model is told besides the words: complete, checked, and the same for every attempt of the job."""

    steps: int
    guidance: float
    width: int
    height: int
    seed: int | None = None  # None until the database draws one, at submit
    images: int = 1
    frames: int = 1
    frames_asked: int = 1
    fps: int | None = None
    shift: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    strength: float | None = None
    reference_type: str | None = None
    reference_strength: float | None = None
    reference_fallback: bool = False
    on_enhance_failure: str = "continue"
    references: Mapping[str, str] = field(default_factory=dict)  # slot → "bucket/path" or https URL, see `shown`

    @property
    def seeds(self) -> tuple[int, ...]:
        """One for each image: seed, seed+1, … wrapping at 2³²."""
        if self.seed is None:
            raise ValueError("this job has no seed yet: submit it first")
        return tuple((self.seed + i) % (SEED_MAX + 1) for i in range(self.images))

    def as_dict(self) -> dict[str, Any]:
        """Only what is set, as it is stored and sent."""
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in self.__dict__.items() if v is not None and v != {}}


def job_type(name: object) -> JobType:
    """The row called `name`. Raises `InvalidJob` listing the names there are."""
    if isinstance(name, str) and name in JOB_TYPES:
        return JOB_TYPES[name]
    raise InvalidJob(f"There is no job type {_short(name)}. Choose one of: {', '.join(JOB_TYPES)}.", field="job_type")


def resolve(type_name: str, asked: Mapping[str, Any]) -> Settings:
    """The settings of a job of this type: `asked` where given (None counts as not given), else the type's own.

    Raises `InvalidJob` naming the field, what came and what is allowed. Nothing is clamped: a wrong value is refused.
    """
    kind = job_type(type_name)
    want = {k: v for k, v in asked.items() if v is not None}
    known = set(Settings.__dataclass_fields__) - {"frames_asked"}
    if unknown := sorted(set(want) - known):
        raise InvalidJob(f"{kind.name} has no setting {_short(unknown[0])}. Settings are: {', '.join(sorted(known))}.", field=unknown[0])
    references = _references(kind, want.get("references", {}))
    width, height = _size(kind, want)
    asked_frames = _whole(want, "frames", 1, 161, default=kind.frames)
    # Wan's VAE packs four frames into one: it makes 4k+1. The wire's 83 is 81 with its remainder; both are recorded.
    frames = (asked_frames - 1) // 4 * 4 + 1
    if frames != kind.frames:
        raise InvalidJob(f"{kind.name} makes {kind.frames} frames; {asked_frames} were asked for.", field="frames")
    wan = kind.family == "wan"
    if wan and (alien := {"scheduler", "strength", "reference_type"} & set(want)):
        raise InvalidJob(f"{kind.name} runs on Wan, which has no {min(alien)}.", field=min(alien))
    if not wan and (alien := {"shift", "sampler"} & set(want)):
        raise InvalidJob(f"{kind.name} runs on SDXL, which has no {min(alien)}.", field=min(alien))
    if "strength" in want and not kind.init_image:
        raise InvalidJob(f"{kind.name} takes no strength; only sdxl_img2img does.", field="strength")
    settings = Settings(
        steps=_whole(want, "steps", 1, kind.steps_max, default=kind.steps),
        guidance=_number(want, "guidance", *GUIDANCE, default=kind.guidance),
        width=width,
        height=height,
        seed=_whole(want, "seed", 0, SEED_MAX, default=0) if "seed" in want else None,
        images=_choice(want, "images", kind.images, default=1),
        frames=frames,
        frames_asked=asked_frames,
        fps=_choice(want, "fps", (FPS,), default=FPS) if kind.video else None,
        shift=_number(want, "shift", *SHIFT, default=5.0) if wan else None,
        sampler=_choice(want, "sampler", SAMPLERS, default="unipc") if wan else None,
        scheduler=_choice(want, "scheduler", SCHEDULERS, default=None) if not wan else None,
        strength=_number(want, "strength", *STRENGTH, default=kind.strength) if kind.init_image else None,
        reference_type=_choice(want, "reference_type", REFERENCE_TYPES, default="style") if "style" in references else None,
        # 1.0 is VACE's own, and what an approved first frame wants; IP-Adapter at 1.0 would drown the prompt.
        reference_strength=_number(want, "reference_strength", *STRENGTH, default=1.0 if wan else 0.7)
        if set(references) - {"init"}
        else None,
        reference_fallback=_flag(want, "reference_fallback"),
        on_enhance_failure=_choice(want, "on_enhance_failure", ("continue", "fail"), default="continue"),
        references=references,
    )
    if settings.strength is not None and int(settings.steps * settings.strength) < 1:
        need = f"steps × strength must be at least 1; {settings.steps} × {settings.strength} is less"
        raise InvalidJob(f"{kind.name}: {need}, so nothing would be drawn.", field="steps")
    return settings


def defaults(kind: JobType) -> dict[str, Any]:
    """What a job of this type is made with when nothing is asked, as the database fills it in. Leaves the needed init image out."""
    needed = {"references": {"init": "bucket/path"}} if kind.init_image else {}
    return {k: v for k, v in resolve(kind.name, needed).as_dict().items() if k != "references"}


def lane_of(kind: JobType, references: Mapping[str, str]) -> str:
    """Which models the job needs: plain SDXL or with IP-Adapter, Wan or its VACE form, which alone can take a picture."""
    if kind.family == "sdxl":
        return "sdxl_ip" if "style" in references else "sdxl"
    return "wan_vace" if references else "wan"


def check_text(prompt: object, negative: object = None) -> tuple[str, str | None]:
    """The prompt and negative prompt, trimmed. Raises `InvalidJob` when empty, over-long or not text; never repeats the text."""
    for name, value, longest in (("prompt", prompt, PROMPT_MAX), ("negative_prompt", negative, NEGATIVE_MAX)):
        if value is None and name == "negative_prompt":
            continue
        if not isinstance(value, str):
            raise InvalidJob(f"The {name} must be text.", field=name)
        if "\x00" in value or any(0xD800 <= ord(c) <= 0xDFFF for c in value):
            raise InvalidJob(f"The {name} holds a character that is no text (NUL or half a surrogate pair).", field=name)
        if len(value) > longest:
            raise InvalidJob(f"The {name} has {len(value):,} characters; at most {longest:,} are allowed.", field=name)
    assert isinstance(prompt, str)
    if not prompt.strip():
        raise InvalidJob("The prompt is empty. Say what the picture should show.", field="prompt")
    return prompt.strip(), (str(negative).strip() or None) if negative is not None else None


def is_url(reference: str) -> bool:
    """Whether it lies elsewhere, and has to be fetched."""
    return _URL.fullmatch(reference) is not None


def shown(reference: str) -> str:
    """A reference for people to see. A URL's query may be a signature, which opens the picture to whoever reads it: it stays out."""
    return re.sub(r"[?#].*", "?…", reference) if is_url(reference) else reference


def reference_slots(kind: JobType) -> tuple[str, ...]:
    """The slots that this type takes: a start only where there is one to redraw, first and last frames only where there are many."""
    if kind.family == "wan" and not kind.video:
        return ("single",)
    return tuple(slot for slot in REFERENCE_SLOTS[kind.family] if slot != "init" or kind.init_image)


def _references(kind: JobType, given: object) -> dict[str, str]:
    slots = REFERENCE_SLOTS[kind.family]
    if not isinstance(given, Mapping):
        raise InvalidJob("references must map a slot to a 'bucket/path'.", field="references")
    for slot, path in given.items():
        if slot not in slots or (slot == "init" and not kind.init_image):
            allowed = [s for s in slots if s != "init" or kind.init_image]
            raise InvalidJob(f"{kind.name} has no reference {_short(slot)}; it takes: {', '.join(allowed)}.", field="references")
        if not isinstance(path, str) or not (
            (len(path) <= OBJECT_MAX and _OBJECT.fullmatch(path)) or (len(path) <= URL_MAX and _URL.fullmatch(path))
        ):
            either = f"a 'bucket/path' of at most {OBJECT_MAX} characters or an https:// URL of at most {URL_MAX:,}"
            raise InvalidJob(f"Reference {slot} must be {either}, in plain ASCII.", field="references")
    if kind.init_image and "init" not in given:
        raise InvalidJob(f"{kind.name} needs an init image: give reference 'init' (--init FILE on the command line).", field="references")
    if kind.family == "wan" and not kind.video and set(given) - {"single"}:
        raise InvalidJob(
            f"{kind.name} makes one frame: it takes no reference or a 'single' one, not first_frame or last_frame.", field="references"
        )
    if "single" in given and len(given) > 1:
        raise InvalidJob(f"{kind.name}: give either 'single' or first_frame/last_frame, not both.", field="references")
    return dict(given)


def _size(kind: JobType, want: Mapping[str, Any]) -> Size:
    if "width" not in want and "height" not in want:
        return kind.sizes[0]
    size = (want.get("width"), want.get("height"))
    if size not in kind.sizes or not all(type(side) is int for side in size):
        allowed = ", ".join(f"{w}×{h}" for w, h in kind.sizes)
        raise InvalidJob(f"{kind.name} cannot be {_short(size[0])}×{_short(size[1])}; sizes are {allowed}.", field="width")
    return size


def _whole(want: Mapping[str, Any], name: str, low: int, high: int, *, default: int) -> int:
    value = want.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise InvalidJob(f"{name} must be a whole number from {low} to {high}; {_short(value)} is not.", field=name)
    return value


def _number(want: Mapping[str, Any], name: str, low: float, high: float, *, default: float | None) -> float:
    value = want.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or not low <= value <= high:
        raise InvalidJob(f"{name} must be a number from {low:g} to {high:g}; {_short(value)} is not.", field=name)
    return float(value)


def _choice(want: Mapping[str, Any], name: str, allowed: tuple[Any, ...], *, default: Any) -> Any:
    value = want.get(name, default)
    if value is not default and (type(value) is not type(allowed[0]) or value not in allowed):
        raise InvalidJob(f"{name} must be one of {', '.join(map(str, allowed))}; {_short(value)} is not.", field=name)
    return value


def _flag(want: Mapping[str, Any], name: str) -> bool:
    value = want.get(name, False)
    if type(value) is not bool:
        raise InvalidJob(f"{name} must be true or false; {_short(value)} is not.", field=name)
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"
