-- Raises each sequence above the highest value of its column: subscriptions and dumps of rows do not carry sequences. Returns how many
-- were too low.
create or replace function ourvidz.advance_sequences() returns bigint
language plpgsql
as $$
declare
  v_one record;
  v_highest bigint;
  v_next bigint;
  v_raised bigint := 0;
begin
  for v_one in
    select s.oid::regclass as sequence, a.attrelid::regclass as relation, a.attname
    from pg_class as s join pg_depend as d on d.classid = 'pg_class'::regclass and d.objid = s.oid and d.deptype in ('a', 'i')
    join pg_attribute as a on (a.attrelid, a.attnum) = (d.refobjid, d.refobjsubid)
    join pg_class as c on c.oid = a.attrelid
    where s.relkind = 'S' and d.refclassid = 'pg_class'::regclass
      and (c.relnamespace = 'ourvidz'::regnamespace or c.relnamespace = 'public'::regnamespace and c.relname = any (ourvidz.our_relations()))
  loop
    execute format('select max(%I) from %s', v_one.attname, v_one.relation) into v_highest;
    execute format('select case when is_called then last_value + 1 else last_value end from %s', v_one.sequence) into v_next;
    if v_highest >= v_next then
      perform setval(v_one.sequence, v_highest);
      v_raised := v_raised + 1;
    end if;
  end loop;
  return v_raised;
end
$$;

-- Returns the offset for this server's transaction ids that puts new events after every position that a reader may have seen: those of the
-- events here, and of events lost with an hour that was not restored. Hence steps of 2^40, more than a database ever uses up.
create or replace function ourvidz.next_xid_offset() returns bigint
language plpgsql
as $$
declare
  v_seen constant bigint := greatest(ourvidz.event_xid(), (select e.xid from public.job_events as e order by e.xid desc limit 1))::text::bigint;
begin
  return ((v_seen >> 40) + 1 << 40) - pg_current_xact_id()::text::bigint;
end
$$;
