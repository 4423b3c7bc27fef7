-- Finds policies on realtime.messages that let somebody else listen to a user's private channel (`jobs:` and their id), or speak in it, by
-- evaluating their expressions as ourvidz.storage_leaks does.
create or replace function ourvidz.realtime_leaks() returns table (policy name, lets text[])
language plpgsql set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_owner constant uuid := gen_random_uuid();
  v_topic constant text := 'jobs:' || v_owner;
  v_before constant text := coalesce(current_setting('realtime.topic', true), '');
  v_row constant jsonb := jsonb_build_object('n', 1, 'row', jsonb_build_object(
    'topic', v_topic, 'extension', 'broadcast', 'event', 'job', 'private', true, 'inserted_at', now(), 'updated_at', now()));
begin
  if to_regclass('realtime.messages') is null then
    return;
  end if;
  perform set_config('realtime.topic', v_topic, true);
  return query
    select t.polname, array_agg(distinct t.caller || ' ' || t.verb order by t.caller || ' ' || t.verb)
    from (select p.polname, p.polrelid, c.caller, c.role, c.claims, v.verb,
                 coalesce(case when v.letter = 'a' then pg_get_expr(p.polwithcheck, p.polrelid) end, pg_get_expr(p.polqual, p.polrelid), 'true') as said
          from pg_policy as p cross join ourvidz.storage_callers(v_owner) as c
          cross join (values ('r', 'listen'), ('a', 'speak')) as v (letter, verb)
          where p.polrelid = to_regclass('realtime.messages') and p.polpermissive and p.polcmd::text in ('*', v.letter) and c.caller <> 'its owner'
            and exists (select from unnest(p.polroles) as role where role = 0 or pg_has_role(c.role, role, 'usage'))) as t
    where ourvidz.storage_probe(t.polrelid::regclass, t.said, jsonb_build_array(v_row), t.role, t.claims) <> '{}'
    group by t.polname order by t.polname;
  perform set_config('realtime.topic', v_before, true);
end
$$;
