-- Allowed kinds of values in an event's data and in text columns: copies of state/kinds.py.
alter table ourvidz.event_types add column if not exists kinds jsonb not null default '{}';
create table if not exists ourvidz.column_kinds (
  name text primary key,  -- schema.table.column
  kind jsonb not null
);

-- The executor's name in events, which a stolen login cannot choose freely (ourvidz.register).
alter table ourvidz.executors add column if not exists called text;
update ourvidz.executors set called = name where called is null;
alter table ourvidz.executors alter column called set not null;

-- The fields that a receiver gets in addition to the job's id and status. Texts go only to the project's own callback.
alter table ourvidz.receivers add column if not exists fields text[] not null default
  '{assets,thumbnails,bucket,job_type,user_id,project_id,video_id,image_id,seed,seeds,num_images,generation_time}';
update ourvidz.receivers set fields = fields || '{error_message,enhancedPrompt}'::text[]
where name = 'job-callback' and url ~ '/functions/v1/job-callback$' and not 'enhancedPrompt' = any (fields);
alter table ourvidz.receivers
  add constraint receiver_fields check (
    fields <@ '{assets,thumbnails,bucket,job_type,user_id,project_id,video_id,image_id,seed,seeds,num_images,generation_time,error_message,enhancedPrompt}'
    and array_position(fields, null) is null),
  add constraint receiver_text check (
    not fields && '{error_message,enhancedPrompt}' or name = 'job-callback' and url ~ '/functions/v1/job-callback$');

-- Which admin or operator read which text of a user, and why.
create table if not exists ourvidz.text_reads (
  id      bigint generated always as identity primary key,
  at      timestamptz not null,
  actor   text not null check (length(actor) between 1 and 120),
  job_id  uuid not null,
  user_id uuid not null,
  reason  text not null check (length(trim(reason)) between 1 and 200)
);
create index if not exists text_reads_of_user on ourvidz.text_reads (user_id, at);
