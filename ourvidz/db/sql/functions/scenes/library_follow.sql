-- Updates the owner's library when a job begins, ends or is linked: rows of images and videos, and the job columns that the front end
-- reads. The only writer of what those say about jobs. A job without such rows costs one look-up in each index.
create or replace function ourvidz.library_follow(p_events public.job_events[]) returns void
language plpgsql
as $$
declare
  v_turned uuid[];  -- ended, or started again
  v_videos uuid[];
  v_new boolean;
begin
  select array_agg(e.job_id order by e.job_id) filter (where e.type in ('completed', 'failed', 'cancelled', 'retried')),
         coalesce(bool_or(e.type in ('submitted', 'imported', 'linked')), false)
  into v_turned, v_new from unnest(p_events) as e;
  if v_turned is not null then
    perform ourvidz.sync_images(v_turned);
    perform ourvidz.tests_follow(v_turned);
  end if;
  select array_agg(distinct j.video_id) into v_videos
  from unnest(p_events) as e cross join lateral (select video_id from public.jobs where id = e.job_id and video_id is not null limit 1) as j;
  if v_videos is not null then
    perform ourvidz.sync_videos(v_videos, v_new);
  end if;
exception when others then
  -- A trigger or check of the project's own that refuses a row must not block the job: its end stands, and the audit finds the row. Our own
  -- errors and those that pass by themselves (locks, timeouts, resources) undo the event as usual.
  if sqlstate ~ '^(OV|40|53|55|57|58|XX|PG)' then
    raise;
  end if;
  raise warning 'Rows of the library of jobs % were left as they are: %', v_turned, sqlerrm;
end
$$;
