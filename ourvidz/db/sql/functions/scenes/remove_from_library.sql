-- Removes an ended job from its owner's library, with its pictures or video: deletes their rows, marks their objects for deletion, hides
-- the job's row from its owner. Events, figures and tokens stay. Idempotent. Returns whether it did.
create or replace function ourvidz.remove_from_library(p_job uuid, p_actor text default null) returns boolean
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  j public.jobs := ourvidz.lock_at_version(p_job, null);
begin
  if j.hidden then
    return false;
  elsif j.completed_at is null then
    raise exception 'Job % is %: a job can be deleted when it has ended.', p_job, j.status
      using errcode = 'OV001', hint = 'Cancel it first (cancel_job, or its status set to cancelled), then delete it.';
  end if;
  perform ourvidz.append(array[p_job], 'removed', array[jsonb_strip_nulls(jsonb_build_object(
    'what', 'job', 'image_id', j.image_id, 'video_id', j.video_id))],
    coalesce(p_actor, ourvidz.actor(j.user_id)));
  perform ourvidz.artifacts_removed(array[p_job]);
  -- A row that somebody else is deleting is skipped, not waited for: they wait for this job.
  delete from public.images where id = any (array(select id from public.images where job_id = p_job for update skip locked));
  -- A project's scene stays, without what this job made; a row that a front end made for this one video is deleted.
  delete from public.videos where id = any (array(
    select id from public.videos as v where v.id = j.video_id and v.project_id is null and v.scene_number is null
      and not exists (select from public.jobs as other where other.video_id = v.id) for update skip locked));
  perform ourvidz.sync_videos(array_remove(array[j.video_id], null), false);
  return true;
end
$$;
