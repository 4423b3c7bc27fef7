-- The roles that policies and grants name, each made only when missing: Supabase has its own four. Roles belong to the whole cluster, so
-- another database's migration may make one in the same moment.
do $$
declare
  v_role record;
  v_me constant text := current_setting('role');
  v_may_bypass constant boolean := (select rolsuper or rolbypassrls and current_setting('server_version_num')::integer >= 160000
                                    from pg_roles where rolname = current_user);
begin
  for v_role in
    select * from (values
      (1, 'ourvidz_owner', 'nologin'),      -- owns all of ours; nobody can be it, and the functions run as it
      (2, 'ourvidz_executor', 'nologin'),
      (2, 'ourvidz_intake', 'nologin'),     -- asks for jobs in the name of whoever a message names
      (2, 'ourvidz_deliverer', 'nologin'),  -- sends messages, and deletes objects that users deleted
      (3, 'ourvidz_analyst', 'nologin'),
      (4, 'anon', 'nologin'),
      (5, 'authenticated', 'nologin'),
      -- Policies let service_role through besides, for where its attribute is not ours to give.
      (6, 'service_role', 'nologin' || case when v_may_bypass then ' bypassrls' else '' end),
      (7, 'ourvidz_admin', 'nologin'),      -- what an admin's request becomes (public.before_request)
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
  -- As Supabase's `postgres` may: policies are tried as these two (ourvidz.storage_probe, `ourvidz doctor`).
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
