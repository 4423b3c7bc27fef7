-- Takes a job that has ended out of its owner's library, with its pictures or its film: their rows go, their objects are marked for deletion,
-- the job's row is hidden from its owner. Events, figures and tokens stay. Twice is once. Returns whether it did.
create or replace function ourvidz.hide(p_job uuid, p_actor text default null) returns boolean
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  j public.jobs := ourvidz.lock_seen(p_job, null);
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
  -- One that is being deleted by somebody else goes by itself: not waited for, because they wait for this job.
  delete from public.images where id = any (array(select id from public.images where job_id = p_job for update skip locked));
  -- A scene of a project stays, without what this job made; the row that a front end made for this one film goes.
  delete from public.videos where id = any (array(
    select id from public.videos as v where v.id = j.video_id and v.project_id is null and v.scene_number is null
      and not exists (select from public.jobs as other where other.video_id = v.id) for update skip locked));
  perform ourvidz.videos_show(array_remove(array[j.video_id], null), false);
  return true;
end
$$;
