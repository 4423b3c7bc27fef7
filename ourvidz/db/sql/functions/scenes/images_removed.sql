-- Before a picture's row is deleted, by anyone: records it in its job's events, marks its output for deletion, and unlinks every job that
-- names the row. Another row of the same picture keeps the output.
create or replace function ourvidz.images_removed() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
  j public.jobs;
  v_output boolean;
begin
  for j in
    select * from public.jobs where id = any (array(select old.job_id union select id from public.jobs where image_id = old.id))
    order by id for update
  loop
    continue when j.hidden;
    v_output := j.id = old.job_id and not exists (
      select from public.images where job_id = j.id and id <> old.id and coalesce(image_index, 0) = coalesce(old.image_index, 0));
    continue when not v_output and j.image_id is distinct from old.id;
    perform ourvidz.append(array[j.id], 'removed', array[
      case when v_output then jsonb_build_object('what', 'output', 'kind', 'image', 'index', coalesce(old.image_index, 0), 'image_id', old.id)
           else jsonb_build_object('what', 'output', 'image_id', old.id) end], ourvidz.actor(j.user_id));
    if v_output then
      perform ourvidz.artifacts_removed(array[j.id]);
      perform ourvidz.sync_videos(array_remove(array[j.video_id], null), false);
    end if;
  end loop;
  return old;
end
$$;
