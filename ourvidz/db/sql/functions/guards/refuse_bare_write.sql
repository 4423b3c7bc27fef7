-- Refuses a write to a job's row that comes from no trigger, since it has no event; fires before jobs_guard. A client's write becomes the
-- verb that it means (ourvidz.api_change_job), and writes nothing itself. A write with the service key (the legacy system's callback) keeps
-- the old status and end, whatever it sets; the rest is written. Anything else is refused before a CHECK can raise a less helpful error. (A
-- write that gets past it through a trigger of its own meets jobs_guard.)
create or replace function ourvidz.refuse_bare_write() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_role constant text := (select role from ourvidz.caller());
  v_asked jsonb;
begin
  if v_role = 'service_role' then
    new.status := old.status;
    new.completed_at := old.completed_at;
    return new;  -- whatever else it changed, jobs_guard refuses
  end if;
  select coalesce(jsonb_object_agg(n.key, n.value), '{}') into v_asked
  from jsonb_each(to_jsonb(new)) as n join jsonb_each(to_jsonb(old)) as o using (key) where n.value <> o.value;
  if v_role is null and v_asked - ourvidz.other_columns() = '{}' then
    return new;  -- an operator's write to columns that no event carries
  elsif v_role is not null and v_asked - '{status,image_id,video_id,error_message}'::text[] = '{}' then
    if v_asked <> '{}' then
      perform ourvidz.rpc('change_job', v_asked || jsonb_build_object('job_id', old.id));
    end if;
    return null;
  end if;
  raise exception 'A job''s row may change only by an event.'
    using errcode = 'OV004', hint = 'Call a function of schema ourvidz (advance, complete, cancel …): it writes both.';
end
$$;
