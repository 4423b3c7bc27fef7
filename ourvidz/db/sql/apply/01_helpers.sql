-- What applying the schema objects asks of the catalogs, and `migrate --check` too.

-- The object of that name, as ourvidz.schema_objects records it; null where there is none.
create or replace function pg_temp.object_oid(kind text, name text) returns oid language plpgsql stable as $object_oid$
begin
  return case kind
    when 'function' then to_regprocedure(name)::oid
    when 'view' then to_regclass(name)::oid
    when 'trigger' then (select oid from pg_trigger where tgname = split_part(name, ' on ', 1) and tgrelid = to_regclass(split_part(name, ' on ', 2)))
    when 'policy' then (select p.oid from pg_policy as p join pg_class as c on c.oid = p.polrelid
                        where p.polname = split_part(name, ' on ', 1) and c.oid = to_regclass(split_part(name, ' on ', 2))) end;
exception when undefined_object or invalid_schema_name then
  return null;  -- a type among its arguments is not there: Postgres 15 says so instead of answering null
end
$object_oid$;

-- What depends on these functions and views and is neither one of them nor one of `p_ours`: dropping them would take it along. In words.
create or replace function pg_temp.strangers(p_dropped oid[], p_ours oid[]) returns text language sql stable as $strangers$
  with recursive hanging (classid, objid) as (
    select case when exists (select from pg_proc where oid = d) then 'pg_proc'::regclass::oid else 'pg_class'::regclass::oid end, d
    from unnest(p_dropped) as d
    union
    select step.classid, step.objid
    from hanging as h join pg_depend as d on (d.refclassid, d.refobjid) = (h.classid, h.objid)
    cross join lateral (select d.classid, d.objid
                        union all select 'pg_class'::regclass, ev_class from pg_rewrite where d.classid = 'pg_rewrite'::regclass and oid = d.objid
                       ) as step
  )
  select string_agg(pg_describe_object(classid, objid, 0), ', ')
  from hanging
  where classid not in ('pg_rewrite'::regclass, 'pg_type'::regclass)  -- their view stands for them
    and objid <> all (p_dropped) and objid <> all (array_remove(p_ours, null))
$strangers$;

-- What there is of this program in a database from before schema objects were recorded.
create or replace function pg_temp.objects_before_the_record() returns table (kind text, name text) language sql stable as $before$
  select 'function', format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes))
  from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
  where n.nspname = 'ourvidz' or n.nspname = 'public' and p.proowner = to_regrole('ourvidz_owner')
  union all
  select 'view', format('%I.%I', n.nspname, c.relname)
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
  where c.relkind = 'v' and (n.nspname = 'ourvidz' or n.nspname = 'public' and c.relowner = to_regrole('ourvidz_owner'))
  union all
  select 'trigger', format('%I on %I.%I', t.tgname, n.nspname, c.relname)
  from pg_trigger as t join pg_class as c on c.oid = t.tgrelid join pg_namespace as n on n.oid = c.relnamespace
  join pg_proc as p on p.oid = t.tgfoid join pg_namespace as f on f.oid = p.pronamespace
  where not t.tgisinternal and n.nspname in ('ourvidz', 'public') and f.nspname = 'ourvidz'
$before$;

-- The policies that a query like policies.sql lists, each with its statement and the grant that goes with it.
create or replace function pg_temp.policies(p_query text)
returns table (name text, relation text, policy text, statement text, digest text, grants text)
language plpgsql stable as $policies$
begin
  return query execute format($query$
    select format('%%s %%s on public.%%s', w.role, w.verb, w.name), format('public.%%I', w.name), w.role || ' ' || w.verb, s.statement,
           encode(sha256(convert_to(s.statement, 'UTF8')), 'hex'),
           format('grant %%s%%s on public.%%I to %%I', w.verb, coalesce('(' || w.columns || ')', ''), w.name, w.role)
    from (%s) as w
    cross join lateral (select format('create policy %%I on public.%%I for %%s to %%I %%s', w.role || ' ' || w.verb, w.name, w.verb, w.role,
      case when w.verb = 'insert' then '' else format('using (%%s) ', w.whose) end
      || case when w.verb in ('insert', 'update') then format('with check (%%s)', w.whose) else '' end)) as s (statement) $query$, p_query);
end
$policies$;
