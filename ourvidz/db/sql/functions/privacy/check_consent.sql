-- Checks consent for a reference's bytes, for an executor, before any model sees them: the job's user attested the picture, or we made it
-- for this user; and every attestation it derives from still stands. Nobody knows in advance whether a picture shows a person, so every
-- picture not made by us needs the attestation. Returns whether we made it. Without p_sha256: checks again all that the job was shown so
-- far.
create or replace function ourvidz.check_consent(p_job uuid, p_claim bigint, p_token uuid, p_sha256 text default null) returns boolean
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_user uuid;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  select user_id into v_user from public.jobs where id = p_job;
  if p_sha256 is null then
    perform ourvidz.refuse_unconsented(v_user, sha256) from ourvidz.job_references where job_id = p_job;
  else
    perform ourvidz.refuse_unconsented(v_user, p_sha256);
    insert into ourvidz.job_references (job_id, sha256, seen_at) values (p_job, p_sha256, ourvidz.now()) on conflict do nothing;
  end if;
  return ourvidz.is_made_for(v_user, p_sha256);
end
$$;

-- Refuses a picture that may not be shown to a model for this user.
create or replace function ourvidz.refuse_unconsented(p_user uuid, p_sha256 text) returns void
language plpgsql stable
as $$
declare
  v_why constant text := ourvidz.why_no_consent(p_user, p_sha256);
begin
  if v_why = 'withdrawn' then
    raise exception 'The consent for this picture, or for one that it was made from, was withdrawn.'
      using errcode = 'OV019', hint = 'Nothing was charged. Use another picture, or attest the one whose consent was withdrawn again.';
  elsif v_why = 'too_deep' then
    raise exception 'This picture was made from more than 1,000 others, one after the other: their consents cannot all be checked.'
      using errcode = 'OV019', hint = 'Nothing was charged. Begin with another picture.';
  elsif v_why is not null then
    raise exception 'No consent is attested for this picture.'
      using errcode = 'OV019', hint = ourvidz.help(
        'pictures', 'Nothing was charged. Attest it, then retry the job:',
        'Attest it (attest_consent with the file''s SHA-256), then retry the job. Nothing was charged.');
  end if;
end
$$;
