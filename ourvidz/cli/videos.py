"""`ourvidz videos show | approve`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ourvidz.cli import formatting, options, out, resolve
from ourvidz.cli.help import about

SceneId = Annotated[str, typer.Argument(metavar="ID", help="A scene's id, or its first characters (4 or more).", show_default=False)]


def add(app: typer.Typer) -> None:
    app.command("show", **about("ourvidz videos show 7b1e", "ourvidz videos show 7b1e --json | jq -r .preview_url"))(show)
    app.command(
        "approve", **about("ourvidz videos approve 7b1e --charge", "ourvidz videos approve 7b1e --type video_fast --picture 2 --charge")
    )(approve)


def show(scene: SceneId, as_json: options.Json = False) -> None:
    """Show a scene: its preview, its final video, and where they are."""
    from ourvidz import bootstrap

    row = _scene(bootstrap.app().database, scene)
    now = row.pop("now")
    if as_json:
        return out.emit(row)
    jobs = {
        kind: f"{row[f'{kind}_job_id']} ({row[f'{kind}_job_status']})" if row[f"{kind}_job_id"] else "" for kind in ("preview", "video")
    }
    out.fields([
        ("scene", str(row["id"])),
        ("status", row["status"]),
        ("project", row["project"] or ""),
        ("preview", _address(row, "preview_bucket", "preview_url")),
        ("preview job", jobs["preview"]),
        ("approved", formatting.ago(row["approved_at"], now) if row["approved_at"] else ""),
        ("video", _address(row, "bucket", "video_url")),
        ("video job", jobs["video"]),
        ("duration", formatting.duration(row["duration"]) if row["duration"] else ""),
        ("resolution", row["resolution"] or ""),
    ])  # fmt: skip


def approve(
    scene: SceneId,
    job_type: Annotated[str, typer.Option("--type", metavar="JOB_TYPE", help="How the final video is made.")] = "video_high",
    picture: Annotated[int, typer.Option("--picture", metavar="N", min=0, help="Which, where the preview made several: from 0.")] = 0,
    charge: Annotated[bool, typer.Option("--charge", help="Yes, its user's tokens are spent on it.")] = False,
    as_json: options.Json = False,
) -> None:
    """Approve a scene's preview: its final video, which begins with that picture, is queued.

    Its user pays for it, who did not ask: so --charge must be given. Approved twice is approved once.
    """
    from ourvidz import bootstrap
    from ourvidz.db import video_status

    db = bootstrap.app().database
    answer = video_status.approve(db, str(_scene(db, scene)["id"]), job_type, picture=picture, charge=charge)
    if as_json:
        return out.emit(answer)
    said = "makes its final video" if answer["created"] else f"was queued before, and is {answer['status']}"
    out.say(f"Job {answer['job_id']} ({answer['job_type']}) {said}. `ourvidz jobs watch {answer['job_id'][:8]}` follows it.", "green")


def _address(row: dict[str, Any], bucket: str, path: str) -> str:
    """`bucket/path`; the path alone if the row, being older, has no bucket."""
    return "/".join(filter(None, ((row["metadata"] or {}).get(bucket), row[path]))) if row[path] else ""


def _scene(db: Any, prefix: str) -> dict[str, Any]:
    from ourvidz.db import video_status

    def line(row: dict[str, Any]) -> str:
        return f"{row['id']}  {row['status']}  {formatting.ago(row['created_at'], row['now'])}"

    return resolve.one("scene", db, prefix, video_status.by_prefix, line, "Scenes are the rows of the table videos.")
