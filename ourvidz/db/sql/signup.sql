-- auth.users is Supabase's table: where it gives us no trigger on it, the project's own must make profiles (`ourvidz doctor` says so).
do $$
begin
  if not exists (select from pg_trigger where tgrelid = 'auth.users'::regclass and tgname = 'ourvidz_profile') then
    create trigger ourvidz_profile after insert on auth.users for each row execute function ourvidz.new_profile();
  end if;
exception when insufficient_privilege or undefined_table then
  raise notice 'no trigger on auth.users: %', sqlerrm;
end
$$;
