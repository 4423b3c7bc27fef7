-- Fires after each INSERT or UPDATE of jobs. Every folded column must come from the event that the row names as its head: events_apply has
-- just written both. Any other write keeps the version or names an event that does not exist, and is refused.
create or replace function ourvidz.jobs_guard_update() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
  set extra_float_digits = 1  -- to_jsonb prints the rank: to fewer digits, a changed one looks the same
as $$
declare
  v_job uuid;
  v_now constant timestamptz := ourvidz.now();
  v_xid constant xid8 := ourvidz.event_xid();
begin
  -- A full join can only be hashed or merged. Transition tables have no statistics, and a session plans this once, for an update of one
  -- row: a nested loop would later compare each row of a large update with every other.
  select coalesce(n.id, o.id) into v_job
  from after_rows as n
  full join before_rows as o on o.id = n.id
  where n.id is null or o.id is null
     or case when n.version = o.version
             -- `ready` has no event: only the clock turns it true. The legacy system's columns have none either.
             then to_jsonb(n) - ourvidz.other_columns() <> to_jsonb(o) - ourvidz.other_columns()
                  or n.ready and o.ready is not true and n.run_at > v_now
             else n.version <> o.version + 1
                  -- A scalar subquery on purpose, as below: EXISTS may be planned as a hash of all events.
                  or (select e.hash = n.head_hash and e.prev_hash = o.head_hash and e.to_status = n.status and e.xid = v_xid
                      from public.job_events as e where e.job_id = n.id and e.version = n.version) is not true end
  limit 1;
  if found then
    raise exception 'Job %: its row may change only by an event.', v_job
      using errcode = 'OV004', hint = 'Call a function of schema ourvidz (advance, complete, cancel …): it writes both.';
  end if;
  return null;
end
$$;

create or replace function ourvidz.jobs_guard_insert() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
  v_job uuid;
  v_xid constant xid8 := ourvidz.event_xid();
begin
  select n.id into v_job
  from after_rows as n
  -- A scalar subquery on purpose: one index lookup per row, whatever batch size the planner assumes. xid is not a condition of that lookup,
  -- or Postgres may use the index on it and read all events of the batch for each row.
  where (select born = n and e.xid = v_xid
         from public.job_events as e
         cross join lateral (select jsonb_populate_record(null::public.jobs, ourvidz.beside(n)) as j offset 0) as its
         cross join lateral ourvidz.evolve(its.j, e) as born
         where e.job_id = n.id and e.version = 1 and e.submitted_on = n.submitted_on and e.from_status is null) is not true
  limit 1;
  if found then
    raise exception 'Job %: a job begins with its event.', v_job
      using errcode = 'OV004', hint = 'Call ourvidz.submit.';
  end if;
  return null;
end
$$;
