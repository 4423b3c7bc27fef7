-- Asked by an executor with the bytes of a reference, before any model sees it: has its job's user attested them, or did we make that
-- picture for this very user? Whether a person is to be seen on a picture nobody knows beforehand, so all others need the attestation.
create or replace function ourvidz.check_consent(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_user uuid;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  select user_id into v_user from public.jobs where id = p_job;
  if not ourvidz.consented(v_user, p_sha256) then
    raise exception 'No consent is attested for this picture.'
      using errcode = 'OV019', hint = ourvidz.help(
        'pictures', 'Nothing was charged. Attest it, then retry the job:',
        'Attest it (attest_consent with the file''s SHA-256), then retry the job. Nothing was charged.');
  end if;
end
$$;

create or replace function ourvidz.consented(p_user uuid, p_sha256 text) returns boolean
language plpgsql stable
as $$
begin
  return exists (select from public.consents where user_id = p_user and sha256 = p_sha256 and withdrawn_at is null)
      or exists (select from public.artifacts as a join public.jobs as j on j.id = a.job_id where a.sha256 = p_sha256 and j.user_id = p_user);
end
$$;
