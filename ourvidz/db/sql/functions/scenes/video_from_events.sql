-- Returns a row of videos as its jobs' events determine it (state/video_status.py): preview from its newest image job, final from its
-- newest video job, status from the one that began last; other jobs change nothing. What the legacy system ended stays as it is.
create or replace function ourvidz.video_from_events(v public.videos) returns public.videos
language plpgsql stable
as $$
declare
  v_preview record;
  v_final record;
  v_current record;
  v_made record;
begin
  select * into v_preview from ourvidz.newest_stage_job(v, false);
  select * into v_final from ourvidz.newest_stage_job(v, true);
  if (v_final.began, v_final.seq) > (v_preview.began, v_preview.seq) or v_preview.id is null then
    v_current := v_final;
  else
    v_current := v_preview;
  end if;
  -- The job is gone: its owner deleted it and its outputs.
  if v.preview_job_id is not null and v_preview.id is distinct from v.preview_job_id then
    v.preview_url := null;
  end if;
  if v.video_job_id is not null and v_final.id is null then
    v.video_url := null;
    v.signed_url := null;
  end if;
  if v_preview.began > v.approved_at or v.approved_at is not null and v_preview.id is distinct from v.preview_job_id then
    v.approved_at := null;  -- a new preview, or the same one made again
  end if;
  v.preview_job_id := v_preview.id;
  v.video_job_id := v_final.id;
  if v.current_job_id is not null and v_current.id is null then
    v.status := 'draft';
  end if;
  v.current_job_id := v_current.id;
  v.status := coalesce(v_current.shown, v.status);

  for v_made in select * from ourvidz.stage_output(v_preview.id, false) union all select * from ourvidz.stage_output(v_final.id, true) order by made_at loop
    v.thumbnail_url := coalesce(v_made.thumbnail_url, v.thumbnail_url);
    v.resolution := v_made.resolution;
    if v_made.final then
      v.video_url := v_made.path;
      v.signed_url := v_made.path;
      v.signed_url_expires_at := v_made.made_at + interval '1 day';
      v.duration := v_made.seconds;
      v.completed_at := v_made.made_at;
      v.title := coalesce(v.title, v_made.title);
      v.metadata := coalesce(v.metadata, '{}') || v_made.metadata || jsonb_build_object('bucket', v_made.bucket, 'stored_path', v_made.path);
    else
      v.preview_url := v_made.path;
      v.metadata := coalesce(v.metadata, '{}') || jsonb_build_object('preview_bucket', v_made.bucket);
    end if;
    v.metadata := v.metadata || jsonb_strip_nulls(jsonb_build_object('thumbnail_bucket', v_made.thumbnail_bucket));
  end loop;
  if v_current.shown is not null then
    v.error_message := case when v.status in ('failed', 'cancelled')
                            then coalesce((select error_message from public.job_payloads where job_id = v_current.id), v.status) end;
  end if;
  return v;
end
$$;
