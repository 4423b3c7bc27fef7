-- Links between jobs and the rows of a user's library, and removal from it.

alter table public.jobs add column hidden boolean not null default false;
comment on column public.jobs.hidden is 'Its owner deleted it from their library (event removed): they see it no more; operators, the ledger and the audit do.';
alter table public.artifacts add column deleted_at timestamptz;
comment on column public.artifacts.deleted_at is 'When its owner deleted it (event removed). The object goes soon after; the row stays, for the figures.';

-- Looked up whenever a library row is deleted. Partial: most jobs have no such link.
create index jobs_of_video on public.jobs (video_id) where video_id is not null;
create index jobs_of_image on public.jobs (image_id) where image_id is not null;

-- A new video has neither until its job has made something.
alter table public.videos alter column duration drop default, alter column resolution drop default;
-- `queued`: a front end inserts the row so, before linking it to its job; `processing`: the legacy system's word.
alter table public.videos drop constraint if exists videos_status;
alter table public.videos add constraint videos_status check (status = any
  ('{draft,queued,processing,previewing,preview_ready,generating,completed,failed,cancelled}'::text[]));
comment on column public.videos.preview_url is 'Path of the newest preview''s first picture in the bucket that metadata.preview_bucket names.';
comment on column public.videos.video_url is 'Path of the newest final video in the bucket that metadata.bucket names.';
comment on column public.videos.thumbnail_url is 'Path of the thumbnail of what was made last, in the bucket that metadata.thumbnail_bucket names.';

-- The front end joins by these names. An event sets the job's column to null before a row is deleted (ourvidz.images_removed,
-- videos_removed), so `set null` has nothing left to do; without it a deletion would be refused.
alter table public.jobs add constraint jobs_image_id_fkey foreign key (image_id) references public.images on delete set null not valid;
alter table public.jobs add constraint jobs_video_id_fkey foreign key (video_id) references public.videos on delete set null not valid;
do $$
declare
  v_key record;
begin
  -- The legacy system's `images` has its own, which follows its jobs to the new table (ourvidz.repoint_older).
  if not exists (select from pg_constraint where conrelid = 'public.images'::regclass and conname = 'images_job_id_fkey') then
    alter table public.images add constraint images_job_id_fkey foreign key (job_id) references public.jobs not valid;
  end if;
  for v_key in
    select conrelid::regclass as source, conname as name from pg_constraint
    where conname in ('jobs_image_id_fkey', 'jobs_video_id_fkey', 'images_job_id_fkey') and not convalidated
      and conrelid in ('public.jobs'::regclass, 'public.images'::regclass)
  loop
    begin
      execute format('alter table %s validate constraint %I', v_key.source, v_key.name);
    exception when foreign_key_violation then
      raise notice '% of % holds for new rows only: an older row names one that is gone', v_key.name, v_key.source;
    end;
  end loop;
end
$$;

-- A copy of state/video_status.py: how a job's status is shown on its video, for a preview's job and for a film's.
drop table ourvidz.scene_steps;
create table ourvidz.scene_steps (
  stage      text not null check (stage in ('preview', 'final')),
  job_status text not null,
  status     text not null,
  primary key (stage, job_status)
);
