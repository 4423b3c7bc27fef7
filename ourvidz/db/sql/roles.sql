-- Creates the roles that policies and grants name, if missing: Supabase has its own four. Roles belong to the whole cluster, so another
-- database's migration may create one at the same time.
do $$
declare
  v_role record;
  v_me constant text := current_setting('role');
  v_may_bypass constant boolean := (select rolsuper or rolbypassrls and current_setting('server_version_num')::integer >= 160000
                                    from pg_roles where rolname = current_user);
begin
  for v_role in
    select * from (values
      (1, 'ourvidz_owner', 'nologin'),      -- owns all our objects; nobody can become it, and the functions run as it
      (2, 'ourvidz_executor', 'nologin'),
      (2, 'ourvidz_intake', 'nologin'),     -- queues jobs in the name of whoever a message names
      (2, 'ourvidz_deliverer', 'nologin'),  -- sends messages, and deletes objects that users deleted
      (3, 'ourvidz_analyst', 'nologin'),
      (4, 'anon', 'nologin'),
      (5, 'authenticated', 'nologin'),
      -- Policies let service_role through too, in case we may not give it bypassrls.
      (6, 'service_role', 'nologin' || case when v_may_bypass then ' bypassrls' else '' end),
      (7, 'ourvidz_admin', 'nologin'),      -- the role of an admin's request (public.before_request)
      (8, 'authenticator', 'login noinherit connection limit 100')
    ) as wanted (n, name, options)
    where not exists (select from pg_roles where rolname = wanted.name)
    order by n
  loop
    begin
      execute format('create role %I %s', v_role.name, v_role.options);
      if v_role.name = 'authenticator' then
        grant anon, authenticated, service_role to authenticator;
      end if;
    exception when duplicate_object or unique_violation then
      raise notice 'role % was made by another migration', v_role.name;
    end;
  end loop;
  -- Lets us become these two, as Supabase's `postgres` may: policies are tested as them (ourvidz.storage_probe, `ourvidz doctor`).
  for v_role in select name from unnest('{anon,authenticated}'::text[]) as name loop
    begin
      perform set_config('role', v_role.name, true), set_config('role', v_me, true);
    exception when insufficient_privilege then
      begin
        execute format('grant %I to %I', v_role.name, current_user);
      exception when insufficient_privilege or unique_violation or internal_error then
        raise notice 'policies cannot be tried as %: %', v_role.name, sqlerrm;
      end;
    end;
  end loop;
  if not pg_has_role(current_user, 'ourvidz_owner', 'usage') then
    execute format('grant ourvidz_owner to %I', current_user);
  end if;
  grant usage, create on schema public, ourvidz to ourvidz_owner;
end
$$;
