-- The outbox and its receivers, and the columns by which a scene follows its jobs.

-- Receivers of job messages. Only the name of a secret is stored: the deliverer reads it from its environment, so a dump can sign nothing.
create table ourvidz.receivers (
  name            text primary key constraint receiver_name check (name ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
  -- Plain http only to this machine, and no password in the URL.
  url             text not null constraint receiver_url check (
                    length(url) <= 2000
                    and (url ~ '^https://[^/?#@\\[:space:]]+([/?#][^[:space:]]*)?$'
                         or url ~ '^http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?([/?#][^[:space:]]*)?$')),
  secret_env      text not null constraint receiver_secret check (secret_env ~ '^[A-Z][A-Z0-9_]{0,63}$'),
  events          text[] not null constraint receiver_events
                    check (events <> '{}' and events <@ '{processing,completed,failed,cancelled}' and array_position(events, null) is null),
  enabled         boolean not null default true,
  exhausted       integer not null default 0,
  disabled_at     timestamptz,
  disabled_reason text,
  created_at      timestamptz not null,
  check (enabled = (disabled_at is null))
);
comment on column ourvidz.receivers.secret_env is 'The environment variable that holds its secret, or several during a rotation.';
comment on column ourvidz.receivers.exhausted is 'Messages in a row that ran out of tries.';
-- Usually empty: the whole cost at a job's start while no receiver wants that event (events_apply).
create index receivers_of_starts on ourvidz.receivers (name) where enabled and 'processing' = any (events);

-- One message per event and receiver, written in the event's own transaction. It holds no text: the body is built from the current rows
-- when it is sent, so that erased texts are not sent any more. No foreign keys: they would lock one receiver's row at every job's end.
create table ourvidz.outbox (
  id           uuid primary key default gen_random_uuid(),
  receiver     text not null,
  job_id       uuid not null,
  job_version  integer not null,
  status       text not null check (status in ('processing', 'completed', 'failed', 'cancelled')),
  created_at   timestamptz not null,
  attempts     integer not null default 0,
  next_at      timestamptz not null,  -- also the end of the sender's lease
  delivered_at timestamptz,
  dead_at      timestamptz,
  last_status  integer,
  last_error   text,
  unique (job_id, job_version, receiver),
  check (delivered_at is null or dead_at is null)
);
create index outbox_due on ourvidz.outbox (receiver, next_at) where delivered_at is null and dead_at is null;
create index outbox_ended on ourvidz.outbox ((coalesce(delivered_at, dead_at))) where coalesce(delivered_at, dead_at) is not null;

alter table public.videos
  add column if not exists preview_job_id uuid,
  add column if not exists video_job_id   uuid,
  add column if not exists current_job_id uuid,
  add column if not exists approved_at    timestamptz,
  add column if not exists thumbnail_url  text,
  add column if not exists older_status   text;
comment on column public.videos.preview_url is 'bucket/path of the newest preview''s first picture.';
comment on column public.videos.video_url is 'bucket/path of the newest final video.';
comment on column public.videos.thumbnail_url is 'bucket/path of the thumbnail of what came last.';
comment on column public.videos.duration is 'Seconds of the final video.';
comment on column public.videos.preview_job_id is 'The newest image job of this scene: no other job''s events touch preview_url.';
comment on column public.videos.video_job_id is 'The newest video job of this scene: no other job''s events touch video_url.';
comment on column public.videos.current_job_id is 'The one of the two that begun last: its events say the status.';
comment on column public.videos.approved_at is 'When the preview was approved; null again when a new preview begins.';
comment on column public.videos.older_status is 'What the older system called the status, where it used another word.';

-- Status words of the legacy system. Those that mean "being made" are left out: the scene's own files say more (see below).
create table ourvidz.older_scene_words (
  word   text primary key,
  status text not null
);
insert into ourvidz.older_scene_words values
  ('pending', 'draft'), ('created', 'draft'), ('new', 'draft'),
  ('preview', 'preview_ready'), ('previewed', 'preview_ready'), ('preview_completed', 'preview_ready'), ('awaiting_approval', 'preview_ready'),
  ('complete', 'completed'), ('done', 'completed'), ('ready', 'completed'), ('published', 'completed'),
  ('error', 'failed'), ('rejected', 'cancelled'), ('canceled', 'cancelled');

do $$
declare
  v_words constant text[] := '{draft,previewing,preview_ready,generating,completed,failed,cancelled}';
  v_check name;
begin
  for v_check in
    select c.conname from pg_constraint as c
    join pg_attribute as a on a.attrelid = c.conrelid and a.attname = 'status' and a.attnum = any (c.conkey)
    where c.conrelid = 'public.videos'::regclass and c.contype = 'c'
  loop
    execute format('alter table public.videos drop constraint %I', v_check);
  end loop;
  update public.videos as v
  set older_status = v.status,
      status = coalesce((select w.status from ourvidz.older_scene_words as w where w.word = lower(v.status)),
                        case when v.video_url is not null then 'completed' when v.preview_url is not null then 'preview_ready' else 'draft' end)
  where v.status is null or not v.status = any (v_words) or v.status in ('previewing', 'generating');
end
$$;
alter table public.videos
  alter column status set default 'draft', alter column status set not null,
  add constraint videos_status check (status = any ('{draft,previewing,preview_ready,generating,completed,failed,cancelled}'::text[]));

-- A copy of state/video_status.py: what a job's event makes of its scene.
create table ourvidz.scene_steps (
  stage  text not null check (stage in ('preview', 'final')),
  event  text not null references ourvidz.event_types,
  begins boolean not null,
  status text not null,
  primary key (stage, event)
);
