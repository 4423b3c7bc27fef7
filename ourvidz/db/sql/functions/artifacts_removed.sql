-- Marks the outputs that these jobs' events say were deleted, thumbnails with them, and all those of a job that a screen refused. An output that
-- comes only after its deletion (the job was still at it) is marked when the job ends. What is marked is deleted from its bucket by the sweep of storage.
-- `num_nulls` and not `is null`, which artifacts_of_user stands for: that index might be read whole (docs/decisions/0052).
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
