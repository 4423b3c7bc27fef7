-- Attests or withdraws the caller's own consent.
create or replace function public.attest_consent(sha256 text, statement_version text) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('attest_consent', jsonb_build_object('sha256', attest_consent.sha256, 'version', attest_consent.statement_version))
$$;

create or replace function public.withdraw_consent(sha256 text) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.rpc('withdraw_consent', jsonb_build_object('sha256', withdraw_consent.sha256)) $$;

create or replace function ourvidz.api_attest_consent(p jsonb) returns jsonb
language sql
as $$ select to_jsonb(ourvidz.attest(ourvidz.signed_in(), p->>'sha256', p->>'version')) $$;

create or replace function ourvidz.api_withdraw_consent(p jsonb) returns jsonb
language sql
as $$ select jsonb_build_object('withdrawn', ourvidz.withdraw(ourvidz.signed_in(), p->>'sha256')) $$;

-- Returns the caller's user; refuses a JWT that names none.
create or replace function ourvidz.signed_in() returns uuid
language plpgsql stable
as $$
declare
  v_user constant uuid := (ourvidz.caller()).user_id;
begin
  if v_user is null then
    raise exception 'Nobody is signed in.' using errcode = 'OV017', hint = 'Send the user''s own JWT.';
  end if;
  return v_user;
end
$$;
