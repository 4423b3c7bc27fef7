"""From decoded pixels to a file in the spool and its row: what each output is, where it goes, and what writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from executors import media
from executors.device import Made
from executors.models.base import Clip
from executors.room import Run
from executors.spool import name_of
from ourvidz.storage.base import object_path, thumbnail_path
from state.catalog import MP4, PNG, WEBP

THUMBNAIL = 256  # pixels, longest side
VIDEO_THUMBNAILS = "video-thumbnails"


def record(run: Run, made: Made) -> None:
    """Encode an output and its thumbnail into the spool, and say that they are there: a retry on this host need not make them again."""
    for artifact, fill in _encoded(run, made):
        path, sha256 = run.room.spool.write(run.claim.job_id, name_of(artifact), fill)
        whole = artifact | {"bytes": path.stat().st_size, "sha256": sha256, "spool": run.room.spool.id}
        run.jobs.artifact_generated(run.claim, whole, seconds=made.seconds)


def _encoded(run: Run, made: Made) -> Iterator[tuple[dict[str, Any], Callable[[Path], object]]]:
    claim, s = run.claim, run.claim.settings
    index, output, about, profile = made.index, made.output, made.about, run.room.shelf.profile.name
    picture = media.middle_frame(output.frames) if isinstance(output, Clip) else output.image
    was = claim.metadata.get("rerouted")  # what was asked for, where a fallback makes the job (ourvidz.reroute_job writes it)
    asked = (was["settings"]["width"], was["settings"]["height"]) if was else (s.width, s.height)
    width, height = picture.size
    info = {
        "Software": "OurVidz",
        "ourvidz:job": claim.job_id,
        "ourvidz:job_type": claim.job_type,
        "ourvidz:model": str(about.get("model") or about.get("models") or about.get("family")),
        "ourvidz:tiny": str(bool(about.get("tiny"))).lower(),
        "ourvidz:seed": str(output.seed),
        "ourvidz:profile": profile,
        **({"ourvidz:asked_for": was["job_type"]} if was else {}),
        "ourvidz:settings": " ".join(f"{k}={v}" for k, v in s.as_dict().items() if k not in ("references", "seed")),
    }
    where: dict[str, Any] = {
        "index": index,
        "bucket": claim.job_type,
        "seed": output.seed,
        "width": width,
        "height": height,
        # A tiny model makes a small picture of what was asked for; both sizes are said.
        "metadata": {
            "asked": list(asked),
            "made": [width, height],
            "model": dict(about),
            "profile": profile,
            **({"asked_for": was["job_type"]} if was else {}),
        },
    }
    address = (claim.user_id, claim.job_id, claim.claim_no, index)
    if isinstance(output, Clip):
        clip = {"kind": "video", "path": object_path(*address, "mp4"), "media_type": MP4, "frames": len(output.frames)}
        yield where | clip, lambda path: media.encode_mp4(output.frames, output.fps, path, info)
    else:
        image = {"kind": "image", "path": object_path(*address, "png"), "media_type": PNG}
        yield where | image, lambda path: path.write_bytes(media.encode_png(picture, info))
    small = media.encode_webp_thumbnail(picture, THUMBNAIL)
    scale = min(1.0, THUMBNAIL / max(width, height))
    size = {"width": max(1, round(width * scale)), "height": max(1, round(height * scale))}
    bucket = VIDEO_THUMBNAILS if isinstance(output, Clip) else claim.job_type
    thumbnail = {"kind": "thumbnail", "bucket": bucket, "path": thumbnail_path(*address), "media_type": WEBP}
    yield where | size | thumbnail, lambda path: path.write_bytes(small)
