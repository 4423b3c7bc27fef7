-- Sets what every database's tables need, whoever created them: the order of events, a replica identity for every publication, row-level
-- security; and records which database it is.
do $$
declare
  v_default constant text := (select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef as d join pg_attribute as a on (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
                              where d.adrelid = 'public.job_events'::regclass and a.attname = 'xid');
  v_table regclass;
begin
  if v_default is distinct from 'ourvidz.event_xid()' then
    alter table public.job_events alter column xid set default ourvidz.event_xid();
  end if;
  -- A publication FOR ALL TABLES refuses updates and deletes in a table with neither a primary key nor replica identity full.
  for v_table in
    select c.oid::regclass from pg_class as c
    where c.relkind = 'r' and c.relreplident = 'd' and c.relpersistence = 'p'
      and (c.relnamespace = 'ourvidz'::regnamespace or c.relnamespace = 'public'::regnamespace and c.relname = any (ourvidz.our_relations()))
      and not exists (select from pg_index as i where i.indrelid = c.oid and i.indisprimary)
  loop
    execute format('alter table %s replica identity full', v_table);
  end loop;
  for v_table in
    select c.oid::regclass from pg_class as c
    where c.relkind in ('r', 'p') and not c.relrowsecurity and c.relnamespace = 'public'::regnamespace and c.relname = any (ourvidz.our_relations())
  loop
    execute format('alter table %s enable row level security', v_table);
  end loop;
  -- The first migration of a database, or the first since identities exist. If the database was restored before that, its events may be
  -- above this server's transaction ids.
  insert into ourvidz.identities (n, id, how, since, xid_offset, system_identifier, database_oid)
  select 1, gen_random_uuid(), 'made', ourvidz.now(),
         case when exists (select from public.job_events where xid > pg_current_xact_id()) then ourvidz.next_xid_offset() else 0 end,
         here.system_identifier, here.database_oid
  from ourvidz.server_identity() as here where not exists (select from ourvidz.identities);
end
$$;
