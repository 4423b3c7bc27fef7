-- Returns the outputs made from a picture, at any depth, of at most 1,000 jobs, and why each may not be shown to a model (why_no_consent).
-- p_user: starts only from this user's jobs. Jobs from before references were recorded are missing.
create or replace function ourvidz.descendants(p_user uuid, p_sha256 text)
returns table (user_id uuid, job_id uuid, kind text, index smallint, bucket text, path text, sha256 text, why text)
language sql stable
as $$
  with recursive shown (job_id) as (
    select r.job_id from ourvidz.job_references as r join public.jobs as j on j.id = r.job_id
    where r.sha256 = p_sha256 and (p_user is null or j.user_id = p_user)
    union
    select r.job_id from shown join public.artifacts as a on a.job_id = shown.job_id join ourvidz.job_references as r on r.sha256 = a.sha256
  )
  select j.user_id, a.job_id, a.kind, a.index, a.bucket, a.path, a.sha256, ourvidz.why_no_consent(j.user_id, a.sha256)
  from (select shown.job_id from shown limit 1000) as first
  join public.jobs as j on j.id = first.job_id
  join public.artifacts as a on a.job_id = first.job_id
  order by j.created_at, a.job_id, a.kind, a.index
$$;
