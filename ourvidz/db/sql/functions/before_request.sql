-- PostgREST calls this before each request (db-pre-request), as the role that the JWT names. A body that is too large, or whose size nobody
-- says, is refused before Postgres sees it. An admin's request goes on as ourvidz_admin, whose policies let it see everything and whose
-- grants let it write nothing; where it is not set up, an admin sees what is theirs.
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

-- The most bytes that a request's body may have (ourvidz.limits). In schema public because before_request asks it with the caller's rights.
create or replace function public.request_bytes() returns bigint
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select request_bytes from ourvidz.limits $$;
