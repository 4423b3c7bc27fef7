"""`ourvidz submit`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting, lane_wait, options, out, resolve
from ourvidz.cli.help import about
from state import client_names

if TYPE_CHECKING:
    from ourvidz.bootstrap import App

_FLAGS = {"init": "--init", "style": "--reference", "single": "--image", "first_frame": "--first-frame", "last_frame": "--last-frame"}


def add(app: typer.Typer, panel: str) -> None:
    samples = (
        'ourvidz submit image_fast --prompt "a lighthouse at dusk" --wait --open',
        'ourvidz submit sdxl_image_fast --prompt "a fox in snow" --images 6 --seed 7',
        'ourvidz submit video_fast --prompt "waves roll in" --first-frame shore.png --i-have-consent',
        'ourvidz submit sdxl_img2img --prompt "as an etching" --init photo.jpg --strength 0.6',
        'ourvidz submit video_high --prompt "waves roll in" --dry-run   # price, place, when it should be done',
    )
    app.command("submit", **about(*samples, panel=panel))(submit)


def _file(flag: str, help_text: str) -> Any:
    return typer.Option(flag, metavar="FILE", help=help_text)


def submit(
    job_type: Annotated[str, typer.Argument(metavar="JOB_TYPE", help="What to make; any wrong word lists the types.", show_default=False)],
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", metavar="TEXT", help="What it should show; - reads it from stdin.", show_default=False)
    ],
    negative: Annotated[str | None, typer.Option("--negative", metavar="TEXT", help="What it should not show.")] = None,
    images: Annotated[int | None, typer.Option("--images", metavar="N", help="1, 3 or 6 (sdxl).")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", metavar="X", help="How closely to follow the prompt, 1–15.")] = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="NAME", help="Like 'DPM++ 2M Karras', or unipc (wan); docs/catalog.md has the names."),
    ] = None,
    size: Annotated[str | None, typer.Option("--size", metavar="WxH", help="In pixels, like 832x480.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="The same seed makes the same picture; drawn when not given.")
    ] = None,
    init: Annotated[Path | None, _file("--init", "The picture to start from (sdxl_img2img).")] = None,
    strength: Annotated[float | None, typer.Option("--strength", metavar="X", help="How far from --init to go, 0.1–1.")] = None,
    reference: Annotated[Path | None, _file("--reference", "A picture to be guided by (sdxl).")] = None,
    reference_type: Annotated[
        str | None, typer.Option("--reference-type", metavar="KIND", help="What to take from it: style, composition or character.")
    ] = None,
    image: Annotated[Path | None, _file("--image", "A picture of what should appear (wan).")] = None,
    first_frame: Annotated[Path | None, _file("--first-frame", "The picture the video begins with.")] = None,
    last_frame: Annotated[Path | None, _file("--last-frame", "The picture the video ends with.")] = None,
    reference_strength: Annotated[
        float | None, typer.Option("--reference-strength", metavar="X", help="How much the references count, 0.1–1.")
    ] = None,
    reference_fallback: Annotated[
        bool, typer.Option("--reference-fallback", help="Go on without a reference that cannot be read.")
    ] = False,
    consent: Annotated[
        bool, typer.Option("--i-have-consent", help="You may use these pictures: whoever is on them is of age and agreed.")
    ] = False,
    user: Annotated[
        str | None, typer.Option("--user", metavar="UUID", help="Whose job it is (the embedded database has one user).")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Idempotency key: the same again is the same job.")] = None,
    delay: Annotated[str | None, typer.Option("--in", metavar="DELAY", help="Not before: 10m, 2h.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it to its end; exit 1 if it does not complete.")] = False,
    patience: lane_wait.Patience = lane_wait.DEFAULT,
    open_it: Annotated[bool, typer.Option("--open", help="Wait, then open the result.")] = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Queue a job.

    Pictures are PNG, JPEG, WebP, HEIC or AVIF files, and are sent as they are.
    """
    from state import catalog

    files = {"init": init, "style": reference, "single": image, "first_frame": first_frame, "last_frame": last_frame}
    pictures = {slot: file for slot, file in files.items() if file is not None}
    asked: dict[str, Any] = dict(images=images, steps=steps, guidance=guidance, seed=seed, strength=strength, sampler_name=scheduler)
    asked |= dict(reference_type=reference_type, reference_strength=reference_strength, reference_fallback=reference_fallback or None)
    try:
        later = formatting.parse_duration(delay) if delay is not None else None
        limit = lane_wait.seconds(patience)
        if size is not None:
            asked["width"], asked["height"] = formatting.parse_size(size)
    except ValueError as error:
        raise out.Problem(str(error), 2) from None
    if prompt == "-":
        prompt = out.read_stdin()

    # Only errors that are clearer in terms of this command's options are raised here; the database refuses the rest before a file is read.
    _check_pictures(catalog.job_type(job_type), set(pictures), asked)
    catalog.check_text(prompt, negative)
    from ourvidz import bootstrap
    from ourvidz.db.connection import PATIENCE, DatabaseAway
    from ourvidz.lifecycle import NewJob

    app = bootstrap.app(patience=PATIENCE)
    try:
        owner = app.database.patiently(lambda: _owner(app, user), patience=PATIENCE)
        chosen = {k: v for k, v in asked.items() if v is not None}
        places = {"references": {slot: f"{catalog.REFERENCE_BUCKET}/{owner}/{slot}" for slot in pictures}}
        job = NewJob(owner, job_type, prompt, negative, chosen | places, idempotency_key=key, run_at=_later(app, later))
        tried = app.jobs.try_out(job)
        if dry_run:
            return _tell(tried, as_json)
        for aside in tried["set_aside"]:
            out.say(f"{aside['field']} is not used: {client_names.REASONS[aside['reason']]}.", "dim")
        job = replace(job, settings=chosen | {"references": _stored(app, owner, pictures, consent)})
        (done,) = app.jobs.submit_many([job], actor=resolve.actor())
    except DatabaseAway as error:
        raise type(error)(f"Nothing was queued. {error}") from error
    _report(app, done.id, job_type, done.created, limit if wait or open_it else None, open_it, as_json)


def _tell(tried: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return out.emit(tried)
    eta = tried["eta_seconds"]
    out.fields([
        ("type", tried["job_type"]),
        ("price", formatting.count(tried["price"], "token") + f" of {tried['balance']:,}"),
        ("place", f"{tried['position']:,} in lane {tried['lane']}"),
        ("done in", "unknown: no executor serves this lane" if eta is None else formatting.duration(eta)),
        ("settings", "  ".join(f"{name} {value}" for name, value in sorted(tried["settings"].items()) if name != "references")),
        *(("not used", f"{aside['field']}: {client_names.REASONS[aside['reason']]}") for aside in tried["set_aside"]),
    ])  # fmt: skip


def _check_pictures(kind: Any, given: set[str], asked: dict[str, Any]) -> None:
    """Check the given pictures against the job type's slots, in terms of this command's options. Raises `Problem`."""
    from state.catalog import reference_slots

    takes = reference_slots(kind)
    if wrong := sorted(given - set(takes)):
        raise out.Problem(f"{kind.name} takes no {_FLAGS[wrong[0]]}; it takes {', '.join(_FLAGS[s] for s in takes)}.", 2)
    if kind.init_image and "init" not in given:
        raise out.Problem(f"{kind.name} needs a picture to start from: --init FILE.", 2)
    if asked["reference_type"] and "style" not in given:
        raise out.Problem("--reference-type says what to take from a picture: give --reference FILE too.", 2)
    if asked["reference_strength"] is not None and not given - {"init"}:
        raise out.Problem(f"--reference-strength needs a reference: {', '.join(_FLAGS[s] for s in takes if s != 'init')}.", 2)


def _owner(app: App, user: str | None) -> str:
    from ourvidz.bootstrap import LOCAL_USER

    if user is None and not app.embedded:
        verified = app.database.rows("select id from public.profiles where age_verified limit 2")
        if not verified:
            raise out.Problem(
                "This database has no age-verified profile. `ourvidz migrate --local-profile` makes one, for one person's use."
            )
        if len(verified) > 1:
            raise out.Problem("Whose job is it? Give --user UUID: this database has many users.", 2)
        return str(verified[0]["id"])
    return resolve.a_uuid(user, "--user") or LOCAL_USER


def _stored(app: App, owner: str, files: dict[str, Path], consent: bool) -> dict[str, str]:
    from ourvidz.cli import pictures

    read = {slot: pictures.read(file) for slot, file in files.items()}
    pictures.attest(app.database, owner, [picture.data for picture in read.values()], consent)
    return {slot: pictures.keep(app.store, owner, picture) for slot, picture in read.items()}


def _later(app: App, delay: timedelta | None) -> Any:
    from ourvidz.db import queries

    return queries.now(app.database) + delay if delay else None


def _report(app: App, job_id: str, job_type: str, created: bool, wait: float | None, open_it: bool, as_json: bool) -> None:
    """Print the queued job, and follow it unless `wait` is None. `wait`: seconds to go on while no executor serves its lane."""
    from ourvidz.cli import live
    from ourvidz.db import queries

    def look() -> dict[str, Any]:
        return live.answered(app.database, lambda: queries.by_ids(app.database, [job_id]))[0]

    known = "" if created else "  (the job that this key made before)"
    if wait is None:
        if as_json:
            row = look()
            out.emit({"id": job_id, "job_type": job_type, "status": row["status"], "created": created})
        elif out.stdout().is_terminal:
            out.stdout().print(f"queued {job_type} [bold]{job_id}[/]{known}")
            out.say(f"`ourvidz jobs watch {job_id[:8]}` follows it.", "dim")
        else:
            print(job_id)
        return
    out.say(f"queued {job_type} {job_id}{known}", "dim")
    row = look()
    if app.embedded and not row["completed_at"] and not queries.served(app.database, row["lane"]):
        _run_here(app, job_id, job_type, wait)
    live.finish(app, live.follow(app.database, job_id, wait), as_json=as_json, open_it=open_it, created=created)


def _run_here(app: App, job_id: str, job_type: str, patience: float) -> None:
    from ourvidz.cli import executor, live
    from ourvidz.progress import Progress

    out.say("No executor is running, so this command runs one until the job has ended.", "dim")
    with live.bars() as shown:
        task = shown.add_task(f"{job_id[:8]}  {job_type}", total=None, stage="starting", figures="")

        def observe(p: Progress) -> None:
            if p.job_id != job_id:
                return shown.update(task, stage=f"waits for {p.job_id[:8]}  {p.job_type}")
            figures = f"{p.done}/{p.total}" if p.total else ""
            shown.update(task, stage=p.stage, figures=figures, completed=p.done, total=p.total or None)
            if p.note:
                out.say(p.note, "dim")

        executor.work_until(app, [job_id], observe, patience=patience, say=lambda line: out.say(line, "dim"))
