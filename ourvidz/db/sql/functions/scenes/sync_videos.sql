-- Updates rows of videos from their jobs' events: the only writer of their status, urls, duration, resolution and jobs. The caller holds
-- the job's lock, or has changed the row.
--
-- p_wait: the caller's job is new to the row, so nobody who holds the row can be waiting for that job. Otherwise rows that somebody else is
-- changing or deleting are skipped, like in sync_images. A lock on the video's name serialises its jobs.
create or replace function ourvidz.sync_videos(p_videos uuid[], p_wait boolean) returns void
language plpgsql
as $$
declare
  v_rows uuid[];
  v_row public.videos;
  v_told public.videos;
begin
  if p_wait then
    perform from public.videos where id = any (p_videos) order by id for no key update;
  end if;
  perform ourvidz.lock_names('videos', p_videos::text[]);
  v_rows := array(select id from public.videos where id = any (p_videos) order by id for no key update skip locked);
  for v_row in select * from public.videos where id = any (v_rows) loop
    v_told := ourvidz.video_from_events(v_row);
    continue when v_told is not distinct from v_row;
    update public.videos
    set preview_job_id = v_told.preview_job_id, video_job_id = v_told.video_job_id, current_job_id = v_told.current_job_id,
        approved_at = v_told.approved_at, status = v_told.status, preview_url = v_told.preview_url, video_url = v_told.video_url,
        signed_url = v_told.signed_url, signed_url_expires_at = v_told.signed_url_expires_at, thumbnail_url = v_told.thumbnail_url,
        duration = v_told.duration, resolution = v_told.resolution, completed_at = v_told.completed_at, title = v_told.title,
        error_message = v_told.error_message, metadata = v_told.metadata, updated_at = ourvidz.now()
    where id = v_row.id;
  end loop;
end
$$;

-- Updates a row again after somebody else changed it: jobs that ended meanwhile have skipped it.
create or replace function ourvidz.videos_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
begin
  perform from public.jobs where video_id = new.id order by id for share;
  if found then
    perform ourvidz.sync_videos(array[new.id], false);
  end if;
  return null;
end
$$;
