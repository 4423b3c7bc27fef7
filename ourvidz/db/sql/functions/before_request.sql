-- PostgREST calls this before each request (db-pre-request), as the role that the JWT names. An admin's request goes on as ourvidz_admin,
-- whose policies let it see everything and whose grants let it write nothing; where it is not set up, an admin sees what is theirs.
create or replace function public.before_request() returns void
language plpgsql set search_path = pg_catalog
as $$
begin
  if current_user = 'authenticated'
     and nullif(current_setting('request.jwt.claims', true), '')::jsonb -> 'app_metadata' ->> 'role' = 'admin' then
    perform set_config('role', 'ourvidz_admin', true);
  end if;
end
$$;
