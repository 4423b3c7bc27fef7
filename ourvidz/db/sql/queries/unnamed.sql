-- Of these objects of a bucket those that no artifact names, and whether the database knows their jobs at all: where it does not, it may
-- be the wrong database. A row is written before its object, and so none comes to be named later. A row of a job that has ended names only
-- what was delivered: nobody may read the rest, and a retry uploads it again.
select o.path, j.id is not null as known
from unnest(%(paths)s::text[], %(jobs)s::uuid[]) as o (path, job_id)
left join public.jobs as j on j.id = o.job_id
where not exists (select from public.artifacts as a where a.bucket = %(bucket)s and a.path = o.path and a.gone_at is null
                    and (a.uploaded_at is not null or j.completed_at is null))
  -- What a legal hold keeps is kept here too.
  and not exists (select from ourvidz.legal_holds as h where h.user_id::text = split_part(o.path, '/', 1) and h.lifted_at is null)
