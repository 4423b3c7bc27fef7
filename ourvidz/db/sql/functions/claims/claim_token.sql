-- Returns the secret half of a claim, derived from the executor's secret, so that it need not be stored and rewritten with every job.
create or replace function ourvidz.claim_token(secret uuid, job_id uuid, claim_no bigint) returns uuid
language sql stable parallel safe
as $$
  select substr(encode(sha256(convert_to(secret::text || '/' || job_id::text || '/' || claim_no::text, 'UTF8')), 'hex'), 1, 32)::uuid
$$;
