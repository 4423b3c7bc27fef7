-- The product's tables (columns of the older system keep their names), and what the older system wrote into jobs.

create table if not exists public.characters (id uuid primary key default gen_random_uuid());
alter table public.characters
  add column if not exists user_id             uuid not null references public.profiles,
  add column if not exists name                text not null,
  add column if not exists description         text,
  add column if not exists appearance_tags     text,
  add column if not exists reference_image_url text,
  add column if not exists created_at          timestamptz not null default now();
create index if not exists characters_of_user on public.characters (user_id);

create table if not exists public.projects (id uuid primary key default gen_random_uuid());
alter table public.projects
  add column if not exists user_id         uuid not null references public.profiles,
  add column if not exists title           text,
  add column if not exists original_prompt text,
  add column if not exists enhanced_prompt text,
  add column if not exists character_id    uuid references public.characters on delete set null,
  add column if not exists target_duration integer,
  add column if not exists created_at      timestamptz not null default now();
create index if not exists projects_of_user on public.projects (user_id);
create index if not exists projects_of_character on public.projects (character_id) where character_id is not null;

-- A scene of a project. Its urls, status, duration and resolution follow its jobs' events (ourvidz.videos_follow), and have no other writer.
create table if not exists public.videos (id uuid primary key default gen_random_uuid());
alter table public.videos
  add column if not exists project_id   uuid references public.projects on delete cascade,
  add column if not exists user_id      uuid not null references public.profiles,
  add column if not exists scene_number integer,
  add column if not exists preview_url  text,
  add column if not exists video_url    text,
  add column if not exists status       text not null default 'draft',
  add column if not exists duration     double precision,
  add column if not exists resolution   text,
  add column if not exists created_at   timestamptz not null default now();
alter table public.videos alter column status set default 'draft';
create index if not exists videos_of_user on public.videos (user_id);
create index if not exists videos_of_project on public.videos (project_id);

-- A report for people: what an event cost whom. `job_id` is set on the rows that events write (ourvidz.usage_follow), and by nobody else.
create table if not exists public.usage_logs (id uuid primary key default gen_random_uuid());
alter table public.usage_logs
  add column if not exists user_id          uuid not null references public.profiles,
  add column if not exists action           text not null,
  add column if not exists tokens_consumed  bigint,
  add column if not exists metadata         jsonb default '{}',
  add column if not exists created_at       timestamptz not null default now(),
  add column if not exists format           text,
  add column if not exists quality          text,
  add column if not exists credits_consumed numeric,
  add column if not exists job_id           uuid,
  add column if not exists job_version      integer;
create unique index if not exists usage_logs_of_event on public.usage_logs (job_id, job_version) where job_id is not null;
create index if not exists usage_logs_of_user on public.usage_logs (user_id, created_at desc);

-- What a person may write into them. Not for rows that are there: the older system had no such bounds.
alter table public.characters
  add constraint characters_bounds check (length(name) between 1 and 200 and length(description) <= 4000 and length(appearance_tags) <= 2000
                                          and length(reference_image_url) <= 2000) not valid;
alter table public.projects
  add constraint projects_bounds check (length(title) <= 200 and length(original_prompt) <= 4000 and length(enhanced_prompt) <= 4000
                                        and target_duration > 0) not valid;
alter table public.videos add constraint videos_bounds check (scene_number > 0) not valid;

-- What a job of the older kind brings along: written by its INSERT, by the deployed callback, and at an import; no event tells it, and
-- erasure takes it. Null for all other jobs, whose row stays narrow.
alter table public.jobs
  add column format        text,
  add column quality       text,
  add column model_type    text,
  add column worker_type   text,
  add column metadata      jsonb,
  add column error_message text;

alter table public.characters enable row level security;
alter table public.projects enable row level security;
alter table public.videos enable row level security;
alter table public.usage_logs enable row level security;

-- A copy of state/wire.py: what clients call a job's settings.
create table ourvidz.wire_names (
  n       integer primary key,
  family  text not null,  -- any | sdxl | wan
  name    text not null,
  setting text not null,
  unique (family, name)
);
