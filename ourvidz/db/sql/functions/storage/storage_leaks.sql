-- Finds policies on storage.objects and storage.buckets that allow what ourvidz.storage_allows denies, by evaluating their expressions:
-- under any name, and for buckets that do not exist yet. Ignores restrictive policies. `p_ours`: the rows of ourvidz.buckets, passed in
-- because databases that were never migrated are checked too.
create or replace function ourvidz.storage_leaks(p_ours jsonb)
returns table (policy name, relation regclass, lets text[], buckets text[], remedy text)
language plpgsql set search_path = pg_catalog, ourvidz, pg_temp
as $$
#variable_conflict use_column
declare
  v_owner constant uuid := gen_random_uuid();
  v_probes constant jsonb := (select jsonb_agg(to_jsonb(r)) from ourvidz.storage_probes(p_ours, v_owner) as r);
  v_leaks jsonb := '[]';
  v_try record;
begin
  for v_try in
    with probes as (
      select * from jsonb_to_recordset(v_probes) as r (n bigint, relation text, probe jsonb)
    ), tries as materialized (  -- an inserted row belongs to its inserter
      select c.*, r.relation::regclass as relation, v.letter, v.verb, jsonb_agg(jsonb_build_object('n', r.n, 'row', r.probe
               || case when v.verb = 'insert' then jsonb_build_object('owner', c.claims->'sub', 'owner_id', c.claims->'sub') else '{}' end)) as rows
      from ourvidz.storage_callers(v_owner) as c cross join probes as r
      cross join (values ('r', 'select'), ('a', 'insert'), ('w', 'update'), ('d', 'delete')) as v (letter, verb)
      group by c.caller, c.role, c.claims, r.relation, v.letter, v.verb
    )
    select p.oid, t.*, case when t.verb = 'insert' then coalesce(c.checked, c.used, 'true') else coalesce(c.used, 'true') end as expression
    from pg_policy as p
    cross join lateral (select pg_get_expr(p.polqual, p.polrelid) as used, pg_get_expr(p.polwithcheck, p.polrelid) as checked) as c
    join tries as t on t.relation = p.polrelid and p.polcmd::text in ('*', t.letter)
    where p.polpermissive and exists (select from unnest(p.polroles) as role where role = 0 or pg_has_role(t.role, role, 'usage'))
  loop
    v_leaks := v_leaks || coalesce(
      (select jsonb_agg(distinct jsonb_build_object('oid', v_try.oid, 'lets', v_try.caller
                 || case when r.holds = 'undelivered' then ' before delivery ' else ' ' end || v_try.verb, 'bucket', r.bucket))
       from unnest(ourvidz.storage_probe(v_try.relation, v_try.expression, v_try.rows, v_try.role, v_try.claims)) as found
       join jsonb_to_recordset(v_probes) as r (n bigint, bucket text, holds text) on r.n = found
       where not ourvidz.storage_allows(r.holds, v_try.caller, v_try.verb)), '[]');
  end loop;
  return query
    select p.polname, p.polrelid::regclass, array_agg(distinct l.lets order by l.lets), array_agg(distinct l.bucket order by l.bucket),
           format('drop policy %I on %s;', p.polname, p.polrelid::regclass)
    from jsonb_to_recordset(v_leaks) as l (oid oid, lets text, bucket text) join pg_policy as p on p.oid = l.oid
    group by p.oid, p.polname, p.polrelid order by p.polname;
end
$$;
