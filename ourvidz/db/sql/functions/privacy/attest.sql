-- Attests that a person may use the likeness in a picture (its SHA-256, 64 hex digits). Repeating it keeps the first attestation.
create or replace function ourvidz.attest(p_user uuid, p_sha256 text, p_version text) returns public.consents
language plpgsql
as $$
declare
  c public.consents;
begin
  if p_sha256 !~ '^[0-9a-f]{64}$' is not false then
    raise exception 'sha256 must be 64 hex digits in lower case.' using errcode = 'OV009', column = 'sha256';
  elsif p_version !~ '^[A-Za-z0-9._-]{1,40}$' is not false then
    raise exception 'statement_version must name the statement that was agreed to, in 1 to 40 letters and digits.'
      using errcode = 'OV009', column = 'statement_version';
  end if;
  -- Not while the person is being erased: the attestation would stay behind.
  perform from public.profiles where id = p_user and erased_at is null for key share;
  if not found then
    raise exception 'There is no profile %.', p_user using errcode = 'OV018', column = 'user_id';
  end if;
  insert into public.consents (user_id, sha256, statement_version, attested_at)
  values (p_user, p_sha256, p_version, ourvidz.now())
  on conflict (user_id, sha256) where withdrawn_at is null do nothing;
  select * into c from public.consents where user_id = p_user and sha256 = p_sha256 and withdrawn_at is null;
  return c;
end
$$;

-- Withdraws an attestation from now on; outputs made before stay. Returns whether there was one.
create or replace function ourvidz.withdraw(p_user uuid, p_sha256 text) returns boolean
language plpgsql
as $$
begin
  update public.consents set withdrawn_at = greatest(ourvidz.now(), attested_at)
  where user_id = p_user and sha256 = p_sha256 and withdrawn_at is null;
  return found;
end
$$;
