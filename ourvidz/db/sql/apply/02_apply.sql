-- Applies the schema objects listed in the temporary table `wanted_objects` (ourvidz/db/schema_objects.py writes it). Run by `ourvidz
-- migrate`, and at the end of the file that `ourvidz migrate --sql` writes. Touches only what differs from ourvidz.schema_objects or is
-- missing: a table is locked only if one of its triggers or policies changed.
do $apply$
declare
  v_release constant integer := (select body from wanted_objects where kind = 'layer');
  v_pending constant text := $$
    select w.* from wanted_objects as w left join ourvidz.schema_objects as o using (kind, name)
    where w.kind <> 'layer' and (w.each_time or o.digest is distinct from w.digest
                                 or w.kind in ('function', 'view', 'trigger') and pg_temp.object_oid(w.kind, w.name) is null) $$;
  v_record constant text := $$
    insert into ourvidz.schema_objects (kind, name, digest, release) values ($1, $2, $3, $4)
    on conflict (kind, name) do update set digest = excluded.digest, release = excluded.release, applied_at = now()
    where schema_objects.digest <> excluded.digest $$;
  v_functions oid[] := '{}';  -- to drop; those that are still wanted are created again
  v_views oid[] := '{}';
  v_there text[] := '{}';  -- policies
  v_strangers text;
  v_numbers integer[];
  v_number integer;
  v_one record;
  v_row record;
begin
  if exists (select from ourvidz.schema_objects where kind = 'layer' and release > v_release) then
    raise notice 'the database has release %, this is release %: nothing is replaced',
      (select release from ourvidz.schema_objects where kind = 'layer'), v_release;
    return;
  end if;
  -- Drifted objects are applied again, whatever the record says. Scripts cannot be compared one by one, so all of them run again.
  select count(*), coalesce(array_agg(kind || ' ' || name), '{}') into v_number, v_there from pg_temp.drift();
  if v_number > 0 then
    update ourvidz.schema_objects set digest = '' where kind in ('layer', 'script', 'policies') or kind || ' ' || name = any (v_there);
    v_there := '{}';
  elsif exists (select from ourvidz.schema_objects as o join wanted_objects as w using (kind, digest) where kind = 'layer') then
    return;
  end if;
  -- SQL functions refer to each other; their bodies are checked at the first call, and by the tests.
  set local check_function_bodies = off;

  -- A database from before schema objects were recorded: this program's objects there count as an earlier release's.
  if not exists (select from ourvidz.schema_objects) then
    insert into ourvidz.schema_objects (kind, name, digest, release) select kind, name, '', 0 from pg_temp.objects_before_the_record();
  end if;

  -- Objects that are no longer wanted. Triggers first: they depend on functions.
  for v_one in
    select o.kind, o.name, pg_temp.object_oid(o.kind, o.name) as oid from ourvidz.schema_objects as o
    where o.kind in ('trigger', 'view', 'function') and pg_temp.object_oid(o.kind, o.name) is not null
      and pg_temp.object_oid(o.kind, o.name) not in (select oid from (select pg_temp.object_oid(kind, name) as oid from wanted_objects) as w
                                                     where oid is not null)
    order by o.kind = 'trigger' desc
  loop
    case v_one.kind
      when 'trigger' then execute format('drop trigger %s', v_one.name);
      when 'view' then v_views := v_views || v_one.oid;
      when 'function' then v_functions := v_functions || v_one.oid;
    end case;
  end loop;

  -- Replaces in place as far as Postgres allows: it cannot change a function's result or parameter names, or a view's columns.
  for v_one in execute v_pending || $$ and w.kind = 'function' order by n $$ loop
    begin
      execute v_one.body;
      execute v_record using v_one.kind, v_one.name, v_one.digest, v_release;
    exception when invalid_function_definition or wrong_object_type then
      v_functions := v_functions || to_regprocedure(v_one.name)::oid;
    end;
  end loop;
  for v_one in execute v_pending || $$ and w.kind = 'view' and pg_temp.object_oid(w.kind, w.name) is not null order by n $$ loop
    begin
      execute v_one.body;
      execute v_record using v_one.kind, v_one.name, v_one.digest, v_release;
    exception when invalid_table_definition or undefined_function or undefined_column or datatype_mismatch then
      v_views := v_views || to_regclass(v_one.name)::oid;
    end;
  end loop;

  -- Drops with all dependents, if all of them are ours and so are created again.
  v_strangers := pg_temp.strangers(v_functions || v_views, array(select pg_temp.object_oid(kind, name) from ourvidz.schema_objects));
  if v_strangers is not null then
    raise exception 'A function or view of this release replaces one on which others depend: %.', v_strangers
      using errcode = 'dependent_objects_still_exist', hint = 'Drop these, run `ourvidz migrate`, and make them again.';
  end if;
  for v_one in select f as oid from unnest(v_functions) as f loop
    if exists (select from pg_proc where oid = v_one.oid) then
      execute format('drop routine %s cascade', v_one.oid::regprocedure);
    end if;
  end loop;
  for v_one in select v as oid from unnest(v_views) as v loop
    if exists (select from pg_class where oid = v_one.oid) then
      execute format('drop view %s cascade', v_one.oid::regclass);
    end if;
  end loop;

  -- Applies the rest in order, including what was dropped with another object and is missing now. Listed first: with a query open over
  -- ourvidz.schema_objects, own.sql could not alter that table.
  execute format('select coalesce(array_agg(n order by n), %L) from (%s) as pending', '{}', v_pending) into v_numbers;
  foreach v_number in array v_numbers loop
    select * into v_one from wanted_objects where n = v_number;
    if v_one.kind <> 'policies' then
      execute v_one.body;
    else
      for v_row in select * from pg_temp.policies(v_one.body) where to_regclass(relation) is not null loop
        execute v_row.grants;
        v_there := v_there || v_row.name;
        if pg_temp.object_oid('policy', v_row.name) is null
           or v_row.digest is distinct from (select digest from ourvidz.schema_objects where kind = 'policy' and name = v_row.name) then
          execute format('drop policy if exists %I on %s; %s', v_row.policy, v_row.relation, v_row.statement);
          execute v_record using 'policy', v_row.name, v_row.digest, v_release;
        end if;
      end loop;
      for v_row in
        select policyname, tablename from pg_policies where schemaname = 'public' and tablename = any (ourvidz.our_relations())
          and format('%s on public.%s', policyname, tablename) <> all (v_there)
      loop
        raise notice 'policy "%" on % is dropped', v_row.policyname, v_row.tablename;
        execute format('drop policy %I on public.%I', v_row.policyname, v_row.tablename);
      end loop;
    end if;
    execute v_record using v_one.kind, v_one.name, v_one.digest, v_release;
  end loop;

  delete from ourvidz.schema_objects as o
  where o.kind <> 'layer' and not (o.kind = 'policy' and o.name = any (v_there))
    and not exists (select from wanted_objects as w where (w.kind, w.name) = (o.kind, o.name));
  execute v_record using 'layer', 'layer', (select digest from wanted_objects where kind = 'layer'), v_release;
  delete from ourvidz.catalog_states;
  insert into ourvidz.catalog_states (kind, name, state) select kind, name, state from pg_temp.catalog_states();
end
$apply$;

drop table wanted_objects;
drop function pg_temp.object_oid(text, text), pg_temp.objects_before_the_record(), pg_temp.policies(text), pg_temp.strangers(oid[], oid[]),
  pg_temp.drift(), pg_temp.catalog_states(), pg_temp.rights(aclitem[], "char", oid);
