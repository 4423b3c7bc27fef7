"""Plan the residency on a card of a given size, from file headers if the models are present, else from stated sizes. No torch.

Uses the same bookkeeping as an executor (`executors.books`), over the same components, stages and working sets.
"""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executors.books import LATENCY, LINK, Books, Item, TooBig, budget_for, occupied
from executors.models import files, working
from executors.models.roles import ROLES
from executors.models.safetensors_header import HeaderError, read_header
from state.catalog import JOB_TYPES, JobType

GIB = 2**30
FP32_IN_WAN = ("time_embedder", "scale_shift_table", "norm1", "norm2", "norm3")  # diffusers' _keep_in_fp32_modules


@dataclass(frozen=True)
class Part:
    """One component: where its tensors are stored, and its size on a GPU. `stated`: in GiB, used without files."""

    name: str
    what: str
    role: str
    files: str  # pattern below the role's folder
    precision: str  # bf16 | fp32
    stated: float
    prefix: str = ""  # of its tensors' names, in a file with several components
    fp32: tuple[str, ...] = ()  # substrings of the names of tensors that stay in fp32


PARTS: tuple[Part, ...] = (
    # Stated sizes: measured on the real models (SDXL 6.6 in all, of which the UNet has 2.57e9 weights and the VAE 84e6); for the adapters
    # the sizes of their files at h94/IP-Adapter.
    Part("sdxl.text", "text encoders", "sdxl", "model.safetensors", "bf16", 1.5, prefix="conditioner."),
    Part("sdxl.unet", "UNet", "sdxl", "model.safetensors", "bf16", 4.8, prefix="model.diffusion_model."),
    Part("sdxl.vae", "VAE", "sdxl", "model.safetensors", "fp32", 0.3, prefix="first_stage_model."),
    Part("ip.plain", "IP-Adapter, style", "ip_adapter", "sdxl_models/ip-adapter_sdxl.safetensors", "bf16", 0.65),
    Part("ip.face", "IP-Adapter, character", "ip_adapter", "sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors", "bf16", 0.8),
    Part("ip.bigg", "image encoder, style", "ip_adapter", "sdxl_models/image_encoder/*.safetensors", "bf16", 3.4),
    Part("ip.vith", "image encoder, character", "ip_adapter", "models/image_encoder/*.safetensors", "bf16", 1.2),
    Part("wan.text", "text encoder (UMT5)", "wan", "text_encoder/*.safetensors", "bf16", 10.6),
    Part("wan.vae", "VAE", "wan", "vae/*.safetensors", "fp32", 0.5),
    Part("wan.t2v", "transformer", "wan", "transformer/*.safetensors", "bf16", 2.6, fp32=FP32_IN_WAN),
    Part("wan.vace", "transformer, references", "vace", "transformer/*.safetensors", "bf16", 4.0, fp32=FP32_IN_WAN),
    Part("qwen", "LLM (enhancement)", "qwen", "*.safetensors", "bf16", 14.2),
)
SHARED = ("wan.t2v", "wan.vace")  # the second contains the first one's weights


@dataclass(frozen=True)
class Stage:
    name: str
    parts: tuple[str, ...]
    working: int
    small: int  # `working` on the second try: one picture at a time, decoded in tiles of half its sides

    def as_dict(self, items: Mapping[str, Item]) -> dict[str, Any]:
        weights = occupied(items[name] for name in self.parts)
        return {"stage": self.name, "components": list(self.parts), "weights": weights, "working": self.working}


def stages(kind: JobType, *, reference: bool, pictures: int) -> list[Stage]:
    """Return a job's stages, in order, at the largest of its sizes."""
    pixels = max(w * h for w, h in kind.sizes)
    if kind.family == "sdxl":
        unet = ("sdxl.unet", "ip.plain") if reference else ("sdxl.unet",)
        return [
            _stage("text", ("sdxl.text",), working.text(4 * 77, 5120)),
            *([_stage("reference", ("ip.bigg",), working.text(2 * 256, 8192))] if reference else []),
            *([_stage("encode", ("sdxl.vae",), working.sdxl_vae(pixels, 128))] if kind.init_image else []),
            Stage("denoise", unet, working.sdxl_denoise(pixels, pictures), working.sdxl_denoise(pixels)),
            Stage("decode", ("sdxl.vae",), working.sdxl_vae(pixels), working.sdxl_vae(pixels) // 4),
        ]
    tokens, decode = working.wan_tokens(pixels, kind.frames + 4), working.wan_vae(pixels, kind.frames)
    denoise = _stage("denoise", ("wan.t2v",), working.wan_denoise(tokens))
    if reference:
        denoise = _stage("denoise", ("wan.vace", "wan.vae"), max(working.wan_denoise(tokens, hints=15), decode))
    return [
        *([_stage("enhance", ("qwen",), working.text(2048, 18_944))] if kind.enhance else []),
        _stage("text", ("wan.text",), working.text(2 * 512, 10_240)),
        denoise,
        Stage("decode", ("wan.vae",), decode, decode // 4),
    ]


def _stage(name: str, parts: tuple[str, ...], need: int) -> Stage:
    return Stage(name, parts, need, need)


def sizes(root: Path, bf16: int = 2) -> dict[str, tuple[int, bool]]:
    """Return each component's bytes on the device, and whether they were counted from its files. `bf16`: bytes per bf16 weight.

    Uses the stated sizes for a role with missing files (half pulled, or of another layout): counting those present would be too little.
    """
    whole = {role.name for role in ROLES if not files.lacks(root, role)}
    return {part.name: _size(root, part, bf16) if part.role in whole else (round(part.stated * GIB), False) for part in PARTS}


def _size(root: Path, part: Part, bf16: int) -> tuple[int, bool]:
    folder, total = root / next(r.folder for r in ROLES if r.name == part.role), 0
    try:
        for file in folder.glob(part.files):
            for name, tensor in read_header(file).items():
                if name.startswith(part.prefix):
                    wide = part.precision == "fp32" or any(word in name for word in part.fp32)
                    total += math.prod(tensor["shape"]) * (4 if wide else bf16)
    except (HeaderError, OSError):
        total = 0  # `ourvidz models verify` reports the problem
    return (total, True) if total else (round(part.stated * GIB), False)


def items_of(found: Mapping[str, tuple[int, bool]]) -> dict[str, Item]:
    small, large = SHARED
    items = {}
    for name, (size, _) in found.items():
        pieces: dict[Hashable, int] = {name: size}
        if name == large:
            common = min(found[small][0], size)
            pieces = {small: common, name: size - common}
        items[name] = Item(name, pieces, LATENCY + size / LINK)
    return items


# A busy card's workload: one job of each kind in turn, the largest of its lane.
TURNS: Mapping[str, tuple[str, bool]] = {
    "sdxl": ("sdxl_image_premium", False),
    "sdxl + style": ("sdxl_image_premium", True),
    "wan": ("video_high", False),
    "wan + picture": ("video_high", True),
    "wan + enhanced": ("video7b_high_enhanced", False),
}


def plan(root: Path, vram: int | None = None, budget: int | None = None, pictures: int = 1) -> dict[str, Any]:
    """Return the plan as data. `vram`: the card's bytes; `budget` overrides the one derived from it; `pictures`: per pass of SDXL."""
    budget = budget or budget_for(vram)
    # With tiny models, plan with the stated sizes of the real ones.
    found = sizes(Path(os.devnull) if files.read_manifest(root)["tiny"] else root)
    items = items_of(found)
    parts = {part.name: part for part in PARTS}
    return {
        "vram": vram,
        "budget": budget,
        "link": LINK,
        "all": occupied(items.values()),
        "components": [
            {
                "name": name,
                "what": parts[name].what,
                "precision": parts[name].precision,
                "bytes": size,
                "counted": counted,
                "shared": items[name].pieces.get(SHARED[0], 0) if name == SHARED[1] else 0,
            }
            for name, (size, counted) in found.items()
        ],
        "together": _together(items, budget, pictures),
        "jobs": [_job(kind, reference, items, budget, pictures) for kind in JOB_TYPES.values() for reference in (False, True)],
        "switches": list(_switches(items, budget, pictures)),
    }


def _job(kind: JobType, reference: bool, items: Mapping[str, Item], budget: int, pictures: int) -> dict[str, Any]:
    steps = stages(kind, reference=reference, pictures=pictures)
    told = [stage.as_dict(items) for stage in steps]
    most = max(stage["weights"] + stage["working"] for stage in told)
    least = max(stage["weights"] + step.small for stage, step in zip(told, steps, strict=True))
    fits = "yes" if most <= budget else "smaller" if least <= budget else "no"
    return {"job_type": kind.name, "reference": reference, "stages": told, "most": most, "fits": fits}


def _together(items: Mapping[str, Item], budget: int, pictures: int) -> list[dict[str, Any]]:
    """For each kind of job: what is on the device after it, once every kind has run."""
    rows = []
    for turn in TURNS:
        books = _warmed(items, budget, pictures)
        if _run(books, turn, items, pictures)[2]:
            continue
        rows.append({"after": turn, "on_device": sorted(books.items), "weights": books.used})
    return rows


def _switches(items: Mapping[str, Item], budget: int, pictures: int) -> Iterator[dict[str, Any]]:
    """For each switch from one kind of job to another, once every kind has run: what is copied to the device, and what is evicted."""
    fit = [turn for turn in TURNS if not _run(Books(budget), turn, items, pictures)[2]]
    for before in fit:
        for after in fit:
            if after != before:
                books = _warmed(items, budget, pictures)
                _run(books, before, items, pictures)
                moved, evicted, _ = _run(books, after, items, pictures)
                seconds = moved / LINK + LATENCY * bool(moved)
                yield {"from": before, "to": after, "bytes": moved, "seconds": round(seconds, 3), "evicted": evicted}


def _warmed(items: Mapping[str, Item], budget: int, pictures: int) -> Books:
    books = Books(budget)
    for turn in TURNS:
        _run(books, turn, items, pictures)
    return books


def _run(books: Books, turn: str, items: Mapping[str, Item], pictures: int) -> tuple[int, list[str], bool]:
    """Run one job through the books; return bytes copied, components evicted, and whether a stage did not fit."""
    name, reference = TURNS[turn]
    moved = 0
    evicted: list[str] = []
    for stage in stages(JOB_TYPES[name], reference=reference, pictures=pictures):
        coming = [items[part] for part in stage.parts]
        try:
            gone = _victims(books, coming, stage)
        except TooBig:
            return moved, evicted, True
        for victim in gone:
            books.leave(victim)
            evicted.append(victim)
        before = books.used
        for item in coming:
            books.touch(item.name) if item.name in books.items else books.enter(item)
        moved += books.used - before
    return moved, evicted, False


def _victims(books: Books, coming: list[Item], stage: Stage) -> list[str]:
    try:
        return books.victims(coming, stage.working)
    except TooBig:
        return books.victims(coming, stage.small)
