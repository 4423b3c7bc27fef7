"""Encode decoded pixels into signed files in the spool, and record each output's artifact row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from executors import media, perceptual
from executors.context import JobRun
from executors.models.base import Clip, DeviceOutput
from executors.spool import name_of
from executors.steps import blocks
from executors.steps.image_screen import sampled_pictures
from ourvidz.storage.base import object_path, thumbnail_path
from state.catalog import MP4, PNG, WEBP

THUMBNAIL = 256  # pixels, longest side
Fill = Callable[[Path], object]
VIDEO_THUMBNAILS = "video-thumbnails"


def record(run: JobRun, made: DeviceOutput, allowed: str | None = None) -> None:
    """Encode an output and its thumbnail into the spool, sign them, and record them: a retry on this host need not make them again.
    `allowed`: the version of the image screen's rules that allowed it. Raises `Refused` for a blocked picture."""
    facts, pictures = _facts(run, made), sampled_pictures(made.output)
    for artifact, fill in _encoded(run, made, facts):
        whole = _spooled(run, artifact, fill, facts | {"output": artifact["index"], "kind": artifact["kind"]})
        whole["metadata"] |= {"screened": allowed}
        if artifact["kind"] != "thumbnail":
            blocks.output(run, made, whole["sha256"], pictures)
            whole["pdq"] = perceptual.hashes(pictures)
        run.jobs.artifact_generated(run.claim, whole, seconds=made.seconds)


def _spooled(run: JobRun, artifact: Mapping[str, Any], fill: Fill, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the artifact's file into the spool and return its row. Signed last, so that the row's sha256 is that of the signed file."""
    signed: dict[str, Any] = {}

    def sealed(path: Path) -> None:
        fill(path)
        signed.update(run.context.seal.put(path, artifact["media_type"], facts))

    path, sha256 = run.context.spool.write(run.claim.job_id, name_of(artifact), sealed)
    written = {"bytes": path.stat().st_size, "sha256": sha256, "spool": run.context.spool.id}
    return {**artifact, **written, "metadata": artifact["metadata"] | {"provenance": signed}}


def _facts(run: JobRun, made: DeviceOutput) -> dict[str, Any]:
    """Facts about the generation that are written into the public file: neither the prompt nor the user."""
    claim, about = run.claim, made.about
    was = claim.metadata.get("rerouted")
    return {
        "job": claim.job_id,
        "report": f"{claim.job_id}.{made.index}",  # the id to name in a report of this file (docs/decisions/0044)
        "job_type": claim.job_type,
        "model": about.get("model") or about.get("models") or about.get("family"),
        "tiny": bool(about.get("tiny")),
        "seed": made.output.seed,
        "profile": run.context.shelf.profile.name,
        **({"asked_for": was["job_type"]} if was else {}),
        "settings": {k: v for k, v in claim.settings.as_dict().items() if k not in ("references", "seed")},
    }


def _encoded(run: JobRun, made: DeviceOutput, facts: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Fill]]:
    claim, s = run.claim, run.claim.settings
    index, output, about, profile = made.index, made.output, made.about, run.context.shelf.profile.name
    picture = media.middle_frame(output.frames) if isinstance(output, Clip) else output.image
    was = claim.metadata.get("rerouted")  # the original request, if a fallback makes the job (written by ourvidz.reroute_job)
    asked = (was["settings"]["width"], was["settings"]["height"]) if was else (s.width, s.height)
    width, height = picture.size
    info = {"Software": "OurVidz", **{f"ourvidz:{name}": _text(name, fact) for name, fact in facts.items()}}
    where: dict[str, Any] = {
        "index": index,
        "bucket": claim.job_type,
        "seed": output.seed,
        "width": width,
        "height": height,
        # A tiny model makes a smaller picture than asked for; both sizes are recorded.
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


def _text(name: str, fact: Any) -> str:
    if name == "settings":
        return " ".join(f"{key}={value}" for key, value in fact.items())
    return str(fact).lower() if isinstance(fact, bool) else str(fact)
