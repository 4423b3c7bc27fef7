-- Gives all our objects to ourvidz_owner, which cannot log in: a function that runs with its owner's rights then has rights on our objects
-- only. Objects in schema public that are not ours are left alone.
do $$
declare
  v_owner constant oid := 'ourvidz_owner'::regrole;
  v_thing text;
begin
  for v_thing in
    select format('%s %s', case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, c.oid::regclass)
    from pg_class as c
    where c.relowner <> v_owner and c.relkind in ('r', 'p', 'v', 'S')
      and (c.relnamespace = 'ourvidz'::regnamespace and c.relname <> 'alembic_version'
           or c.relnamespace = 'public'::regnamespace and c.relname = any (ourvidz.our_relations()))
      -- An identity column's sequence follows its table.
      and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'i')
    union all
    select format('%s %s', case p.prokind when 'a' then 'aggregate' else 'function' end, p.oid::regprocedure)
    from pg_proc as p
    where p.proowner <> v_owner
      -- These use Supabase's schemas, with the rights of the migrating role.
      and p.oid not in ('ourvidz.realtime_send'::regproc, 'ourvidz.newest_upload'::regproc, 'ourvidz.may_upload'::regproc)
      and (p.pronamespace = 'ourvidz'::regnamespace
           or p.pronamespace = 'public'::regnamespace and p.proname = any (ourvidz.our_functions()))
    union all
    select format('type %s', t.oid::regtype)
    from pg_type as t join pg_class as c on c.oid = t.typrelid and c.relkind = 'c'
    where t.typowner <> v_owner and t.typnamespace = 'ourvidz'::regnamespace
  loop
    execute format('alter %s owner to ourvidz_owner', v_thing);
  end loop;
end
$$;
