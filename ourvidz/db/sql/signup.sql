-- Adds our triggers to Supabase's auth.users. Without the right to, the project's own trigger must make profiles (see `ourvidz doctor`).
do $$
declare
  v_user record;
begin
  if not exists (select from pg_trigger where tgrelid = 'auth.users'::regclass and tgname = 'ourvidz_profile') then
    create trigger ourvidz_profile after insert on auth.users for each row execute function ourvidz.new_profile();
  end if;
  if not exists (select from pg_trigger where tgrelid = 'auth.users'::regclass and tgname = 'ourvidz_roles') then
    -- Its name sorts after ourvidz_profile: a role's row needs its profile.
    create trigger ourvidz_roles after insert or update of raw_app_meta_data on auth.users for each row execute function ourvidz.roles_follow();
  end if;
  for v_user in select id, raw_app_meta_data->>'role' as role from auth.users where raw_app_meta_data->>'role' is not null loop
    perform ourvidz.mirror_role(v_user.id, v_user.role);
  end loop;
exception when insufficient_privilege or undefined_table then
  raise notice 'no trigger on auth.users: %', sqlerrm;
end
$$;
