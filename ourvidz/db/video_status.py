"""Scenes: rows of `videos`, which follow the events of their jobs (`ourvidz.sync_videos`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ourvidz.db.connection import Database
from ourvidz.db.queries import span

Row = dict[str, Any]


def by_prefix(db: Database, prefix: str) -> list[Row]:
    """Return scenes whose id begins with `prefix`, newest first: at most eleven."""
    if (ids := span(prefix)) is None:
        return []
    sql = """select v.*, p.title as project, preview.status as preview_job_status, final.status as video_job_status,
                    final.job_type as video_job_type, ourvidz.now() as now
             from public.videos as v left join public.projects as p on p.id = v.project_id
             left join public.jobs as preview on preview.id = v.preview_job_id left join public.jobs as final on final.id = v.video_job_id
             where v.id between %s::uuid and %s::uuid order by v.created_at desc limit 11"""
    return db.rows(sql, ids)


def approve(
    db: Database,
    video_id: str,
    job_type: str,
    config: Mapping[str, Any] | None = None,
    *,
    picture: int = 0,
    key: str | None = None,
    charge: bool = False,
) -> Row:
    """Queue the final video that begins with the scene's preview. Returns it as job_status does, and created, approved_at …

    `charge`: the scene's user, who did not ask, pays for it; without it this is `Forbidden`.

    Raises `NotFound`, `InvalidJob`, `IllegalTransition` (no finished preview, or approved before with another choice) and what a submit
    raises.
    """
    sql = "select public.approve_preview(%s, %s, %s::jsonb, %s, %s, %s) as answer"
    answer: Row = db.rows(sql, (video_id, job_type, json.dumps(config or {}), key, picture, charge))[0]["answer"]
    return answer
