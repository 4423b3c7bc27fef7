-- Returns the rows on which policies are tested: objects of `p_owner` in every private bucket of the project and in ours, existing or not,
-- and the rows of the buckets themselves. `holds` names the rule: outputs, undelivered (a job's output without a row), references, assets
-- (public), sealed, theirs (not ours), bucket.
create or replace function ourvidz.storage_probes(p_ours jsonb, p_owner uuid)
returns table (n bigint, relation regclass, bucket text, holds text, probe jsonb)
language sql stable set search_path = pg_catalog, ourvidz, pg_temp
as $$
  with ours as (
    select * from jsonb_to_recordset(p_ours) as b (name text, public boolean, uploads boolean, sealed boolean)
  ), buckets as (
    select name, case when public then 'assets' when sealed then 'sealed' when uploads then 'references' else 'outputs' end as holds, public from ours
    union all
    select id, 'theirs', false from storage.buckets where not coalesce(public, false) and id not in (select name from ours)
  ), objects as (
    select b.name, b.holds, p_owner || path as path
    from buckets as b, unnest('{/a.png,/a.jpg,/a.gif,/a/1-0.png,/a/1-0.webp,/a/1-0.mp4}'::text[]) as path
    union all
    select name, 'undelivered', p_owner || '/' || gen_random_uuid() || path
    from buckets, unnest('{/1-0.png,/1-0.webp,/1-0.mp4}'::text[]) as path where holds = 'outputs'
  ), rows as (
    select 'storage.objects'::regclass as relation, name, holds,
           jsonb_build_object('id', gen_random_uuid(), 'bucket_id', name, 'name', path, 'owner', p_owner, 'owner_id', p_owner, 'path_tokens',
                              string_to_array(path, '/'), 'version', '1', 'created_at', now(), 'updated_at', now(), 'last_accessed_at', now(),
                              'user_metadata', '{}'::jsonb, 'metadata', '{"size": 1000, "mimetype": "image/png"}'::jsonb) as probe
    from objects
    union all
    select 'storage.buckets'::regclass, name, 'bucket',
           jsonb_build_object('id', name, 'name', name, 'public', public, 'created_at', now(), 'updated_at', now())
    from buckets where holds <> 'theirs'
  )
  select row_number() over (), relation, name, holds, probe from rows
$$;
