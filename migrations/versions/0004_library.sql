-- Links between jobs and the rows of a user's library, and what is removed from it.

alter table public.jobs add column hidden boolean not null default false;
comment on column public.jobs.hidden is 'Its owner deleted it from their library (event removed): they see it no more; operators, the ledger and the audit do.';
alter table public.artifacts add column deleted_at timestamptz;
comment on column public.artifacts.deleted_at is 'When its owner deleted it (event removed). The object goes soon after; the row stays, for the figures.';

-- Asked whenever a row of the library is deleted. Partial: most jobs name none.
create index jobs_of_video on public.jobs (video_id) where video_id is not null;
create index jobs_of_image on public.jobs (image_id) where image_id is not null;
