-- Before a video's row is deleted, by whomever: writes that to each job that made it and unlinks the job. Its film is deleted too; a
-- scene's preview pictures have rows of their own in public.images.
create or replace function ourvidz.videos_removed() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
  j public.jobs;
  v_film boolean;
begin
  for j in select * from public.jobs where video_id = old.id order by id for update loop
    continue when j.video_id is distinct from old.id;  -- a concurrent deletion came first
    v_film := coalesce((select video from ourvidz.job_types where name = j.job_type), false);
    perform ourvidz.append(array[j.id], 'removed', array[
      case when v_film then jsonb_build_object('what', 'output', 'kind', 'video', 'index', 0, 'video_id', old.id)
           else jsonb_build_object('what', 'output', 'video_id', old.id) end], ourvidz.actor(j.user_id));
    if v_film then
      perform ourvidz.artifacts_removed(array[j.id]);
    end if;
  end loop;
  return old;
end
$$;
