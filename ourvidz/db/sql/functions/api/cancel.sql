-- Cancels a job at once if no executor holds it; otherwise asks the executor, which stops within a step. Idempotent. Delivered outputs are
-- charged and stay (ourvidz.charge_due); the rest of the tokens is released. Returns `cancelled` or `cancel_requested`.
create or replace function ourvidz.cancel(p_job uuid, p_version integer default null, p_actor text default null) returns text
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  j public.jobs := ourvidz.lock_at_version(p_job, p_version);
  v_actor constant text := coalesce(p_actor, ourvidz.actor(j.user_id));
begin
  if j.status = 'cancelled' then
    return 'cancelled';
  elsif j.status in ('completed', 'failed') then
    raise exception 'Job % is % already: there is nothing to cancel.', p_job, j.status using errcode = 'OV001';
  elsif j.cancel_requested then
    return 'cancel_requested';
  elsif j.executor_id is null then
    perform ourvidz.append(array[p_job], 'cancelled', array['{}'::jsonb], v_actor);
    return 'cancelled';
  end if;
  perform ourvidz.append(array[p_job], 'cancel_requested', array['{}'::jsonb], v_actor);
  perform pg_notify('ourvidz', j.executor_id::text);
  return 'cancel_requested';
end
$$;
