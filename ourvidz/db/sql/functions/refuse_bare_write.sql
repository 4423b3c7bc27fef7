-- The first line before jobs_guard: a write of folded columns that comes from no trigger has no event, and is refused before any CHECK
-- can answer in its place. (Whoever gets past it, with a trigger of their own, meets jobs_guard.)
create or replace function ourvidz.refuse_bare_write() returns trigger
language plpgsql
as $$
begin
  if pg_trigger_depth() < 2 then
    raise exception 'A job''s row may change only by an event.'
      using errcode = 'OV004', hint = 'Call a function of schema ourvidz (submit, advance, complete, cancel …): it writes both.';
  end if;
  return null;
end
$$;
