-- Turns a client's PATCH of a job into verbs: the front end links its rows and cancels by status, the admin pages set a status or an error
-- message. The row changes by the verb's event, which names the caller. An admin's `queued` retries the job without charge, unless it is
-- their own.
create or replace function ourvidz.api_change_job(p jsonb) returns jsonb
language plpgsql
as $$
declare
  v_job constant uuid := p->>'job_id';
  v_status constant text := p->>'status';
  v_me record;
begin
  select * into v_me from ourvidz.caller();
  if p ? 'image_id' or p ? 'video_id' then
    if num_nonnulls(p->>'image_id', p->>'video_id') = 0 then
      raise exception 'Job %: a link is set once, and goes when the row it names is deleted.', v_job
        using errcode = 'OV009', column = case when p ? 'image_id' then 'image_id' else 'video_id' end;
    end if;
    perform ourvidz.link(v_job, (p->>'image_id')::uuid, (p->>'video_id')::uuid);
  end if;
  -- The deployed queue-job sets `failed` on a job that it could not put into its Redis: nobody waits for that job.
  if v_status in ('cancelled', 'failed') then
    perform ourvidz.cancel(v_job);
  elsif v_status = 'queued' and v_me.admin then
    perform ourvidz.retry(v_job);
  elsif v_status is not null then
    raise exception 'Job %: its status cannot be set to "%".', v_job, left(v_status, 40)
      using errcode = 'OV009', column = 'status', hint = format('It follows the job''s events. Set it to cancelled to cancel the job%s.',
        case when v_me.admin then ', or to queued to retry one that failed or was cancelled' else '; retry_job starts it again' end);
  end if;
  if p ? 'error_message' and v_me.admin then
    update public.jobs set error_message = left(p->>'error_message', 2000) where id = v_job;
  elsif p ? 'error_message' and v_status is null then
    raise exception 'Job %: its error message follows its events.', v_job using errcode = 'OV009', column = 'error_message';
  end if;
  return null;
end
$$;

create or replace function ourvidz.api_delete_job(p jsonb) returns jsonb
language plpgsql
as $$ begin perform ourvidz.remove_from_library((p->>'job_id')::uuid); return null; end $$;

-- DELETE on jobs through the API removes the job from its owner's library. Any other DELETE is refused, like any change of history.
create or replace function ourvidz.jobs_delete() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  if (select role from ourvidz.caller()) is null then
    raise exception 'DELETE on public.jobs is refused: it is append-only.'
      using errcode = 'OV003', hint = 'ourvidz.remove_from_library takes an ended job out of its owner''s library.';
  end if;
  perform ourvidz.rpc('delete_job', jsonb_build_object('job_id', old.id));
  return null;
end
$$;
