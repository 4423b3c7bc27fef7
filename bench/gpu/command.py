"""True-size models with random weights on a CUDA device: seconds, TFLOP/s and memory of each job type, against the arithmetic minimum and
against plain diffusers in the same run.

    python -m bench.gpu [--only sdxl-fast-x6 video-fast] [--models DIR] [--repeat 3] [--attention xformers] [--save]
    python -m bench.gpu --dry-run

Aims on an H200: the seconds in the table; under 3 % of a job outside denoising and decoding; a change of model under 1 s; under 35 GB with
all families served. FLOPs are counted by torch's FlopCounterMode over the same modules on the meta device.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bench.gpu import weights
from bench.gpu.cases import BY_NAME, CASES, DRY, PRODUCTION, Case, Scale, flops
from bench.gpu.meter import Card, Ceiling, Meter, ceiling
from bench.gpu.ours import Ours, Post, Took
from bench.gpu.plain import Plain
from bench.report import machine, save, table
from executors.models.attention import AUTO, KINDS, NoAttention, check
from executors.models.loading import quiet
from executors.models.profiles import DEFAULT, EXACT, PROFILES, Profile, named

NO_CUDA = (
    "There is no CUDA device here, so nothing was measured; "
    "`python -m bench.gpu --dry-run` walks the same code with small models on the CPU."
)
DRY_RUN = "A dry run, small models on the CPU: these figures mean nothing, and are not kept.\n"
OUTSIDE, SWITCH, MEMORY = 3.0, 1.0, 35e9  # the aims: per cent, seconds, bytes


@dataclass(frozen=True)
class Line:
    """Measurements of one case: FLOPs and seconds; `plain` is None if it was left out."""

    case: Case
    first: Took
    ours: Took
    plain: Took | None
    denoise_flops: int
    decode_flops: int
    floor: float
    attention: str = AUTO

    def cells(self) -> tuple[Any, ...]:
        ours, plain = self.ours, self.plain
        rate = self.denoise_flops / ours.denoise / 1e12 if ours.denoise else None
        return (
            self.case.name,
            "–" if ours.tokens else self.attention,
            ours.device,
            self.case.aim,
            ours.whole,
            self.first.whole,
            None if ours.tokens else 100 * ours.outside,
            rate,
            self.floor,
            ours.device / self.floor,
            plain and plain.whole,
            plain and plain.load,
            plain and plain.whole / ours.device,
            ours.peak and ours.peak / 1e9,
            plain and plain.peak and plain.peak / 1e9,
        )


HEAD = (
    "job", "attention", "device s", "aim ≤", "till stored s", "the first s", "outside %", "TFLOP/s", "floor s", "of floor", "plain s",
    "its load s", "plain/ours", "peak GB", "plain GB",
)  # fmt: skip


@dataclass
class Figures:
    card: Card
    ceiling: Ceiling
    lines: list[Line] = field(default_factory=list)
    switches: list[tuple[str, str, float]] = field(default_factory=list)
    peak: int | None = None

    def tables(self, upload: float, remark: str = "") -> list[str]:
        c = self.ceiling
        title = (
            f"{remark}Jobs, one after the other. Simulated: {upload:g} s an upload. Floor: denoising at {c.flops / 1e12:,.0f} TFLOP/s, or "
            f"reading the weights once a token. Measured here: {c.matmul / 1e12:,.2f} TFLOP/s, {c.read / 1e9:,.0f} GB/s"
        )
        made = [table(title, HEAD, [line.cells() for line in self.lines])]
        worst = max((line.ours.outside * 100 for line in self.lines if not line.ours.tokens), default=None)
        slowest = max(self.switches, key=lambda switch: switch[2], default=None)
        rows = [
            ("outside denoising and decoding, the worst of them, %", worst, f"≤ {OUTSIDE:g}"),
            (
                f"change of model, the slowest ({slowest[0]} → {slowest[1]}), s" if slowest else "change of model, s",
                slowest and slowest[2],
                "≤ 1",
            ),
            ("memory held at most, all of them served in turn, GB", self.peak and self.peak / 1e9, f"≤ {MEMORY / 1e9:g}"),
        ]
        made.append(table("Against the aims", ("figure", "measured", "aim"), rows))
        made.append(table("Change of model", ("from", "to", "s"), self.switches))
        return made

    def as_dict(self) -> dict[str, Any]:
        return {
            "ceiling": asdict(self.ceiling),
            "jobs": {
                line.case.name: {"aim": line.case.aim, "floor": line.floor, "denoise_flops": line.denoise_flops}
                | {
                    "decode_flops": line.decode_flops,
                    "first": asdict(line.first),
                    "ours": asdict(line.ours),
                    "plain": line.plain and asdict(line.plain),
                }
                for line in self.lines
            },
            "switches": self.switches,
            "peak": self.peak,
        }


def measure(
    card: Card,
    scale: Scale,
    models: Path,
    cases: Sequence[Case],
    *,
    repeat: int,
    upload: float,
    plain: bool,
    say: Callable[[str], None],
    profile: Profile = DEFAULT,
) -> Figures:
    """Run everything in the order of the table: first ours, all from one shelf; then plain, after ours has left the device."""
    quiet()
    weights.make(models, scale.sizes, card.device, {case.family for case in cases}, say)
    figures = Figures(card, ceiling(card))
    meter = Meter(card)
    with meter.watching(), tempfile.TemporaryDirectory(prefix="ourvidz-bench-") as folder:
        post = Post(Path(folder), upload)
        ours = Ours(card, scale, models, post, meter, profile)
        took: dict[str, tuple[Took, Took]] = {}
        for case in cases:
            say(f"{case.name} …")
            took[case.name] = ours.measure(case, repeat)
        lanes = list(dict.fromkeys(case.lane for case in cases))
        say("all in turn …")
        figures.peak = ours.peak(cases)
        if len(lanes) > 1:
            say("changes of model …")
            figures.switches = ours.switches(lanes, 1 if scale.small else 3)
        ours.close(cases)
        theirs = Plain(card, scale, models, post, meter)
        for case in cases:
            beside = None
            if plain:
                say(f"{case.name}, plain …")
                beside = theirs.job(case, took[case.name][1].tokens)
            line = _line(case, scale, *took[case.name], beside, figures.ceiling)
            figures.lines.append(replace(line, attention=profile.attention))
    return figures


def _line(case: Case, scale: Scale, first: Took, ours: Took, plain: Took | None, ceiling: Ceiling) -> Line:
    denoise, decode = flops(case, scale)
    if case.lane == "qwen":
        read = sum(parameter.numel() for parameter in weights.on_meta(scale.sizes, "qwen").parameters()) * 2  # bytes a token, in bf16
        return Line(case, first, ours, plain, 0, 0, ours.tokens * read / ceiling.read)
    return Line(case, first, ours, plain, denoise, decode, denoise / ceiling.flops)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="JOB", choices=list(BY_NAME), help=f"of: {', '.join(BY_NAME)}")
    parser.add_argument(
        "--models", type=Path, help="keep the random models (about 41 GB) in this folder for the next run; by default they go"
    )
    parser.add_argument("--repeat", type=int, default=3, help="warm jobs of each kind, of which the median is shown")
    parser.add_argument("--profile", choices=list(PROFILES), default=DEFAULT.name, help="the speed profile; the aims are for default")
    parser.add_argument("--attention", choices=KINDS, default=AUTO, help="as OURVIDZ_ATTENTION; compare runs of one each")
    parser.add_argument("--upload", type=float, default=0.2, help="seconds an upload is made to take, on both sides")
    parser.add_argument("--no-plain", action="store_true", help="leave the plain script out: it takes as long as ours, and its loading")
    parser.add_argument(
        "--dry-run", action="store_true", help="the same code with small models on the CPU, in seconds: its figures mean nothing"
    )
    parser.add_argument("--save", action="store_true", help="keep the tables under bench/results/")
    asked = parser.parse_args(argv)
    if not (torch.cuda.is_available() or asked.dry_run):
        print(NO_CUDA)
        return
    profile = replace(named(asked.profile), attention=asked.attention)
    try:
        check(profile.attention, exact=profile.name == EXACT.name)
    except NoAttention as error:
        parser.error(str(error))
    if asked.dry_run:
        torch.set_num_threads(1)  # tiny tensors: threads cost more than they bring
    card = Card(torch.device("cpu" if asked.dry_run else "cuda"))
    cases = [BY_NAME[name] for name in asked.only] if asked.only else list(CASES)
    with nullcontext(asked.models) if asked.models else tempfile.TemporaryDirectory(prefix="ourvidz-models-") as models:
        figures = measure(
            card,
            DRY if asked.dry_run else PRODUCTION,
            Path(models),
            cases,
            repeat=asked.repeat,
            upload=asked.upload,
            plain=not asked.no_plain,
            say=lambda line: print(line, flush=True),
            profile=profile,
        )
    tables = figures.tables(asked.upload, DRY_RUN if asked.dry_run else "")
    if asked.save and not asked.dry_run:
        facts = machine(card.name) | {"profile": asked.profile, "attention": asked.attention}
        kept = save(card.name or "gpu", facts, figures.as_dict(), tables)
        print(f"\nKept as {os.path.relpath(kept)}")
