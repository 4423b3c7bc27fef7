-- Checks whether a user may read an object in their own folder of an output bucket: the whole rule, for the policies on storage.objects. A
-- job's output may be read once its row says that it is in its bucket, which follows the screens and decides what the job is charged
-- (ourvidz.delivered); its thumbnail only together with it. Nothing of a job that a screen refused may be read. An object in no job's
-- folder belongs to the legacy system or to the user.
create or replace function ourvidz.readable(p_bucket text, p_path text) returns boolean
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select case when p_path !~* '^[^/]+/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/' then true
    else exists (
      select from public.artifacts as a
      join public.jobs as j on j.id = a.job_id and not (j.status = 'failed' and j.final)
      join public.artifacts as whole on whole.job_id = a.job_id and whole.index = a.index and whole.kind <> 'thumbnail'
      where a.bucket = p_bucket and a.path = p_path and a.uploaded_at is not null and whole.uploaded_at is not null
    ) end
$$;
