-- Marks as deleted the outputs that these jobs' events removed, with their thumbnails, and all outputs of a job that a screen refused. An
-- output that is recorded after its deletion (the job was still running) is marked when the job ends. The storage sweep deletes marked
-- objects from their buckets.
-- `num_nulls` instead of `is null`, which is the condition of artifacts_of_user: that index might be read whole (docs/decisions/0052).
create or replace function ourvidz.artifacts_removed(p_jobs uuid[]) returns void
language sql
as $$
  update public.artifacts as a set deleted_at = ourvidz.now()
  where a.job_id = any (p_jobs) and num_nulls(a.deleted_at) = 1
    and (select true from public.job_events as e
         where e.job_id = a.job_id and e.type in ('removed', 'failed')
           and case e.type when 'failed' then (e.data->>'final')::boolean
               else e.data->>'what' = 'job' or a.index = (e.data->>'index')::integer and a.kind in (e.data->>'kind', 'thumbnail') end
         limit 1)
$$;
