-- Checks whether a repeated request is for the existing job; a changed body under the same id or key is refused.
create or replace function ourvidz.check_same_request(a ourvidz.asked_job, p public.job_payloads) returns boolean
language plpgsql immutable
as $$
begin
  if p.user_id is distinct from a.user_id or p.body_digest <> a.body_digest then
    raise exception 'The id or idempotency key of this job was used before, for a different one (%).',
      case when p.user_id = a.user_id then p.job_id::text else 'another user''s' end
      using errcode = 'OV008', hint = 'Use a new key for a new job, or send the very same body to get the same job.';
  end if;
  return true;
end
$$;
