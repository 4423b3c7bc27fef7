-- Indexes of the product's tables (ourvidz/db/sql/reconcile creates the tables), and the columns that the legacy system wrote in jobs.

create index if not exists characters_of_user on public.characters (user_id);
create index if not exists projects_of_user on public.projects (user_id);
create index if not exists projects_of_character on public.projects (character_id) where character_id is not null;
create index if not exists videos_of_user on public.videos (user_id);
create index if not exists videos_of_project on public.videos (project_id);
-- usage_logs is a report for people: which event cost whom what. `job_id` is set only on the rows that events write (ourvidz.usage_follow).
create unique index if not exists usage_logs_of_event on public.usage_logs (job_id, job_version) where job_id is not null;
create index if not exists usage_logs_of_user on public.usage_logs (user_id, created_at desc);

-- Columns of a job of the legacy kind: written by its INSERT, by the deployed callback and by an import; no event carries them, and erasure
-- clears them. Null for all other jobs, whose row stays narrow.
alter table public.jobs
  add column format        text,
  add column quality       text,
  add column model_type    text,
  add column worker_type   text,
  add column metadata      jsonb,
  add column error_message text;


-- A copy of state/client_names.py: the clients' names of a job's settings.
create table ourvidz.wire_names (
  n       integer primary key,
  family  text not null,  -- any | sdxl | wan
  name    text not null,
  setting text not null,
  unique (family, name)
);
