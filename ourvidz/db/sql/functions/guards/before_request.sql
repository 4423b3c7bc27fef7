-- PostgREST calls this before each request (db-pre-request), as the JWT's role. Refuses a body that is too large or of unknown size before
-- Postgres sees it. An admin's request continues as ourvidz_admin, whose policies show everything and allow what the admin pages change;
-- where the hook is not set up, admins see only their own rows.
create or replace function public.before_request() returns void
language plpgsql set search_path = pg_catalog
as $$
declare
  v_headers constant json := nullif(current_setting('request.headers', true), '')::json;
  v_most bigint;
begin
  if v_headers->>'content-length' is null and v_headers->>'transfer-encoding' is not null
     and current_setting('request.method', true) in ('POST', 'PATCH', 'PUT') then
    raise sqlstate 'PGRST' using
      message = '{"code": "OV040", "message": "The request does not say how long it is.", "hint": "Send a Content-Length."}',
      detail = '{"status": 411, "headers": {}}';
  elsif length(v_headers->>'content-length') > 4 then
    v_most := public.request_bytes();
    if (v_headers->>'content-length')::numeric > v_most then
      raise sqlstate 'PGRST' using
        message = format('{"code": "OV040", "message": "A request may have at most %s bytes."}', v_most),
        detail = '{"status": 413, "headers": {}}';
    end if;
  end if;
  if current_user = 'authenticated'
     and nullif(current_setting('request.jwt.claims', true), '')::jsonb -> 'app_metadata' ->> 'role' = 'admin' then
    perform set_config('role', 'ourvidz_admin', true);
  end if;
end
$$;

-- Returns the maximum request body size in bytes (ourvidz.limits). In schema public: before_request calls it with the caller's rights.
create or replace function public.request_bytes() returns bigint
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select request_bytes from ourvidz.limits $$;
