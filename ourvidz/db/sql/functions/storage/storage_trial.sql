-- Tries, as anon and as users, to read, write, change and delete objects of a user, which it creates in every private bucket and in ours,
-- and undoes all of it. Returns what succeeded and should not have (`went`), and what an owner may do but could not. Needs a login that may
-- insert into storage.objects past row-level security and become anon and authenticated; else raises insufficient_privilege.
create or replace function ourvidz.storage_trial() returns table (bucket text, caller text, verb text, went boolean)
language plpgsql set search_path = pg_catalog, ourvidz, pg_temp
as $$
#variable_conflict use_column
declare
  v_owner constant uuid := gen_random_uuid();
  v_probes constant jsonb := (
    select jsonb_agg(jsonb_build_object('bucket', bucket, 'holds', holds, 'name', probe->>'name'))
    from ourvidz.storage_probes((select jsonb_agg(to_jsonb(b)) from ourvidz.buckets as b), v_owner) where relation = 'storage.objects'::regclass);
  v_buckets constant text[] := array(select distinct r->>'bucket' from jsonb_array_elements(v_probes) as r);
  v_found jsonb := '[]';
begin
  perform set_config('storage.allow_delete_query', 'true', true);  -- Supabase's guard of rows that have a file; these have none
  begin
    insert into storage.buckets (id, name, public) select name, name, public from ourvidz.buckets on conflict do nothing;
    insert into storage.objects (bucket_id, name, owner) select r->>'bucket', r->>'name', v_owner from jsonb_array_elements(v_probes) as r;
    v_found := (select jsonb_agg(jsonb_build_object('caller', c.caller, 'verb', verb, 'did',
                         to_jsonb(ourvidz.storage_attempt(verb, v_buckets, v_owner, c.role, c.claims))))
                from ourvidz.storage_callers(v_owner) as c, unnest('{select,insert,update,delete,buckets}'::text[]) as verb);
    raise exception using errcode = 'OV000';
  exception when sqlstate 'OV000' then null;  -- all undone, except v_found
  end;
  return query
    select distinct p.bucket, f.caller || p.when, f.verb, f.did ? p.reached
    from jsonb_to_recordset(v_found) as f (caller text, verb text, did jsonb)
    cross join (
      select distinct r->>'bucket' as bucket, r->>'holds' as holds,
             r->>'bucket' || case when r->>'holds' = 'undelivered' then '/undelivered' else '' end as reached,
             case when r->>'holds' = 'undelivered' then ' before delivery' else '' end as when
      from jsonb_array_elements(v_probes) as r
    ) as p
    cross join lateral (select f.verb <> 'buckets' and ourvidz.storage_allows(p.holds, f.caller, f.verb) as may) as rule
    where f.did ? p.reached and not rule.may and not (f.verb = 'buckets' and p.holds = 'theirs')
       or f.caller = 'its owner' and p.holds <> 'theirs' and rule.may and not f.did ? p.reached
    order by 1, 2, 3;
end
$$;
