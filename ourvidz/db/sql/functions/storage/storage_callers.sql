-- Returns the callers to test policies as: anon, an unknown user, a user of the project (whom a policy may know by their profile), one who
-- claims to be an admin in user_metadata, which users may write, and the owner of the objects. `p_owner` has no rows anywhere.
create or replace function ourvidz.storage_callers(p_owner uuid) returns table (caller text, role text, claims jsonb)
language plpgsql set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_known uuid;
  v_claims constant jsonb := '{"role": "authenticated", "aud": "authenticated", "aal": "aal2", "email": "probe@ourvidz.invalid", "app_metadata":
                               {"provider": "email"}, "user_metadata": {}}';
begin
  if to_regclass('public.profiles') is not null then
    execute 'select id from public.profiles as p where to_jsonb(p)->>''erased_at'' is null '
            || case when to_regclass('public.user_roles') is not null
                    then 'and not exists (select from public.user_roles as r where r.user_id = p.id and r.role::text in (''admin'', ''moderator'')) '
                    else '' end
            || 'order by to_jsonb(p)->>''subscription_status'' in (''inactive'', ''free''), to_jsonb(p)->>''created_at'' desc limit 1'
    into v_known;
  end if;
  return query
    select 'anon', 'anon', jsonb_build_object('role', 'anon')
    union all select 'another user', 'authenticated', v_claims || jsonb_build_object('sub', gen_random_uuid())
    union all select 'another user', 'authenticated', v_claims || jsonb_build_object('sub', v_known) where v_known is not null
    union all select 'another user', 'authenticated',
      v_claims || jsonb_build_object('sub', gen_random_uuid(), 'user_metadata', '{"role": "admin", "admin": true, "is_admin": true}'::jsonb)
    union all select 'its owner', 'authenticated', v_claims || jsonb_build_object('sub', p_owner);
end
$$;
