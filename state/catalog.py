"""Job types, buckets and allowed job settings: the single source. Figures are the product's (docs/catalog.md is generated from it).

The database's table `ourvidz.job_types` is a copy of `JOB_TYPES`, limits included; ourvidz.normalise_requests turns every request
into a job's settings there, however it came in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    label: str = ""  # display name
    expected_seconds: float = 60.0  # from claim to end, until there is a history

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
        """Maximum seconds of one attempt, by the database's clock."""
        return 900 if self.video else 600


def _sdxl(name: str, steps: int, guidance: float, mb: int, price: int, **more: Any) -> JobType:
    return JobType(name, "sdxl", steps, guidance, more.pop("sizes", SDXL_SIZES), mb, price, **more)


def _wan(name: str, steps: int, guidance: float, mb: int, price: int, **more: Any) -> JobType:
    return JobType(name, "wan", steps, guidance, WAN_SIZES, mb, price, **more)


JOB_TYPES: Final[Mapping[str, JobType]] = {
    row.name: row
    for row in (
        # Expected seconds were measured on the legacy workers with an RTX 6000 Ada (sdxl: for six images); the two types that they lacked
        # are extrapolated from sdxl_image_high by steps and pixels.
        _sdxl("sdxl_image_fast", 15, 6.0, 5, 1, fast=True, label="SDXL image, fast", expected_seconds=29.9),
        _sdxl("sdxl_image_high", 25, 7.5, 10, 2, label="SDXL image, high quality", expected_seconds=42.4),
        _sdxl("sdxl_image_premium", 40, 8.5, 30, 4, sizes=PREMIUM_SIZES, label="SDXL image, premium", expected_seconds=106.0),
        _sdxl("sdxl_img2img", 20, 7.0, 30, 2, init_image=True, strength=0.75, label="SDXL image from an image", expected_seconds=34.0),
        _wan("image_fast", 25, 6.0, 5, 2, fast=True, label="Image, fast", expected_seconds=73.0),
        _wan("image_high", 50, 7.5, 10, 4, label="Image, high quality", expected_seconds=90.0),
        _wan("video_fast", 25, 6.5, 50, 20, fast=True, video=True, label="Video, fast", expected_seconds=251.5),
        _wan("video_high", 50, 8.0, 200, 40, video=True, label="Video, high quality", expected_seconds=359.7),
        _wan("image7b_fast_enhanced", 25, 6.0, 20, 3, fast=True, enhance=True, label="Enhanced image, fast", expected_seconds=233.5),
        _wan("image7b_high_enhanced", 50, 7.5, 20, 5, enhance=True, label="Enhanced image, high quality", expected_seconds=104.0),
        _wan(
            "video7b_fast_enhanced",
            25,
            6.5,
            100,
            22,
            fast=True,
            video=True,
            enhance=True,
            label="Enhanced video, fast",
            expected_seconds=263.9,
        ),
        _wan(
            "video7b_high_enhanced",
            50,
            8.0,
            100,
            42,
            video=True,
            enhance=True,
            label="Enhanced video, high quality",
            expected_seconds=370.0,
        ),
    )
}

LANES: Final = ("sdxl", "sdxl_ip", "wan", "wan_vace")
"""A lane is a set of models that serves its jobs: an executor claims from the lanes whose models it has."""


@dataclass(frozen=True)
class Bucket:
    """A storage bucket: maximum object size in bytes, accepted media types, whether anyone may read it, and whether users upload pictures
    of their own into it (references). Only executors write to the others, so the origin of their objects is known. Only the service key
    reads and writes a `sealed` bucket."""

    max_bytes: int
    media_types: frozenset[str]
    public: bool = False
    uploads: bool = False
    sealed: bool = False


QUARANTINE: Final = "quarantine"
IMAGES: Final = frozenset({PNG, "image/jpeg", WEBP})
PHOTOS: Final = IMAGES | {"image/heic", "image/heif", "image/avif"}
"""Formats of cameras and phones, which executors accept as references."""
BUCKETS: Final[Mapping[str, Bucket]] = {
    # An image's thumbnail is stored beside it; a video's has its own bucket.
    **{t.name: Bucket(t.bucket_mb * MB, frozenset({t.media_type} | ({WEBP} if not t.video else set()))) for t in JOB_TYPES.values()},
    "scene-previews": Bucket(10 * MB, IMAGES),
    "videos-final": Bucket(100 * MB, frozenset({MP4})),
    "character-images": Bucket(20 * MB, PHOTOS, uploads=True),
    # OurVidz's front end uploads references here, up to 10 MB as a browser counts them.
    "reference_images": Bucket(10 * MIB, PHOTOS | {GIF}, uploads=True),
    "video-thumbnails": Bucket(5 * MB, frozenset({WEBP})),
    # Taken-down objects, under user/bucket/…: signed URLs to the old path no longer work.
    QUARANTINE: Bucket(200 * MB, PHOTOS | {GIF, MP4, "video/webm"}, sealed=True),
    "system-assets": Bucket(5 * MB, IMAGES, public=True),
    "system_assets": Bucket(5 * MB, IMAGES, public=True),  # the deployed front end's spelling
}
REFERENCE_BUCKET: Final = "character-images"
"""Bucket to which our own command line uploads references. Both buckets with `uploads` are read."""

REFERENCE_SLOTS: Final[Mapping[str, tuple[str, ...]]] = {
    "sdxl": ("init", "style"),
    "wan": ("single", "first_frame", "last_frame"),
}
"""Reference pictures that a job of each family may name. The slot `style` is the one picture of any SDXL reference_type."""

# Syntax of a reference, here and in ourvidz.check_references: an object of our own store, or a URL, which the fetcher checks further
# (ourvidz.fetch). A bucket name has no colon, so that no other scheme passes for one.
_OBJECT, OBJECT_MAX = re.compile(r"[A-Za-z0-9_.-]+/[ -~]+"), 500
_URL, URL_MAX = re.compile(r"https://[!-~]+"), 2_000


@dataclass(frozen=True)
class Settings:
    """All settings of a model run besides the prompts: complete, checked, and the same for every attempt of the job."""

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
        """One seed per image: seed, seed+1, … wrapping at 2³²."""
        if self.seed is None:
            raise ValueError("this job has no seed yet: submit it first")
        return tuple((self.seed + i) % (SEED_MAX + 1) for i in range(self.images))

    def as_dict(self) -> dict[str, Any]:
        """Return only the settings that have a value, as they are stored and sent."""
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in self.__dict__.items() if v is not None and v != {}}


def job_type(name: object) -> JobType:
    """Return the row called `name`. Raises `InvalidJob`, which lists the existing names."""
    if isinstance(name, str) and name in JOB_TYPES:
        return JOB_TYPES[name]
    raise InvalidJob(f"There is no job type {_short(name)}. Choose one of: {', '.join(JOB_TYPES)}.", field="job_type")


def defaults(kind: JobType) -> dict[str, Any]:
    """Default settings of a job type, as the database fills them in."""
    own: dict[str, Any] = {"steps": kind.steps, "guidance": kind.guidance, "width": kind.sizes[0][0], "height": kind.sizes[0][1]}
    own |= {"images": 1, "frames": kind.frames, "frames_asked": kind.frames, "reference_fallback": False, "on_enhance_failure": "continue"}
    own |= {"fps": FPS} if kind.video else {}
    own |= {"shift": 5.0, "sampler": "unipc"} if kind.family == "wan" else {}
    return own | ({"strength": kind.strength} if kind.init_image else {})


def lane_of(kind: JobType, references: Mapping[str, str]) -> str:
    """Lane of a job, by the models it needs: SDXL plain or with IP-Adapter, Wan plain or VACE (only VACE takes a picture)."""
    if kind.family == "sdxl":
        return "sdxl_ip" if "style" in references else "sdxl"
    return "wan_vace" if references else "wan"


def check_text(prompt: object, negative: object = None) -> tuple[str, str | None]:
    """Return the prompt and negative prompt, trimmed. Raises `InvalidJob` if one is empty, too long or not text; never repeats the text."""
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
    """Check if a reference is an https URL, which has to be fetched."""
    return _URL.fullmatch(reference) is not None


def shown(reference: str) -> str:
    """Format a reference for display, without a URL's query: it may be a signature that opens the picture to anyone who reads it."""
    return re.sub(r"[?#].*", "?…", reference) if is_url(reference) else reference


def reference_slots(kind: JobType) -> tuple[str, ...]:
    """Return the slots of a job type: `init` only for image-to-image, first and last frames only for videos."""
    if kind.family == "wan" and not kind.video:
        return ("single",)
    return tuple(slot for slot in REFERENCE_SLOTS[kind.family] if slot != "init" or kind.init_image)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"
