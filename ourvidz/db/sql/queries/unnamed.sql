-- Returns which of these objects of a bucket no artifact names, and whether their jobs exist: if not, this may be the wrong database. A row
-- is written before its object, so no object gets its row later. After a job's end a row counts only if its output was delivered: nobody
-- may read the rest, and a retry uploads it again.
select o.path, j.id is not null as known
from unnest(%(paths)s::text[], %(jobs)s::uuid[]) as o (path, job_id)
left join public.jobs as j on j.id = o.job_id
where not exists (select from public.artifacts as a where a.bucket = %(bucket)s and a.path = o.path and a.gone_at is null
                    and (a.uploaded_at is not null or j.completed_at is null))
  -- A legal hold keeps objects too.
  and not exists (select from ourvidz.legal_holds as h where h.user_id::text = split_part(o.path, '/', 1) and h.lifted_at is null)
