-- Updates these jobs' rows of images and videos from the events: for `ourvidz rebuild`, and for jobs that ended before such rows existed.
create or replace function ourvidz.sync_library(p_jobs uuid[]) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  perform from public.jobs where id = any (p_jobs) order by id for share;
  perform ourvidz.artifacts_removed(p_jobs);
  perform ourvidz.sync_images(p_jobs);
  perform ourvidz.sync_videos(array_remove(array(select distinct video_id from public.jobs where id = any (p_jobs)), null), false);
end
$$;
