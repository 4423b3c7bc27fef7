-- The first line before jobs_guard, for a write that comes from no trigger: it has no event, and is refused before any CHECK can answer in
-- its place. (Whoever gets past it, with a trigger of their own, meets jobs_guard.) The older system's callback, which comes with the
-- service key, may say what it likes of status and end: it is not heard, and the rest of its words is kept.
create or replace function ourvidz.refuse_bare_write() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  if (select role from ourvidz.caller()) = 'service_role' then
    new.status := old.status;
    new.completed_at := old.completed_at;
    return new;  -- whatever else it changed, jobs_guard refuses
  end if;
  raise exception 'A job''s row may change only by an event.'
    using errcode = 'OV004', hint = 'Call a function of schema ourvidz (advance, complete, cancel …): it writes both.';
end
$$;
