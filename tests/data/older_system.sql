-- The tables of OurVidz's legacy system as its documents describe them, with rows of every status it had and some that no document names.
create type public.subscription as enum ('inactive', 'starter', 'pro');
create table public.profiles (
  id uuid primary key references auth.users on delete cascade, email text, created_at timestamptz default now(), age_verified boolean,
  subscription_status public.subscription default 'inactive', token_balance integer default 0, last_login timestamptz);
create table public.characters (
  id uuid primary key default gen_random_uuid(), user_id uuid references public.profiles, name text, description text, appearance_tags text,
  reference_image_url text, created_at timestamptz default now());
create table public.projects (
  id uuid primary key default gen_random_uuid(), user_id uuid references public.profiles, title text, original_prompt text, enhanced_prompt text,
  character_id uuid references public.characters, target_duration integer, created_at timestamptz default now());
create table public.videos (
  id uuid primary key default gen_random_uuid(), project_id uuid references public.projects, user_id uuid references public.profiles,
  scene_number integer, preview_url text, video_url text, status text default 'draft', duration numeric, resolution text, created_at timestamptz default now());
create table public.jobs (
  id uuid primary key default gen_random_uuid(), video_id uuid references public.videos, user_id uuid references public.profiles, job_type text not null,
  status text default 'queued', error_message text, attempts integer default 0, metadata jsonb default '{}', created_at timestamptz default now(),
  worker_type text default 'WAN', format text, quality text, model_type text, project_id uuid, image_id uuid, completed_at timestamptz);
create table public.usage_logs (
  id uuid primary key default gen_random_uuid(), user_id uuid references public.profiles, action text not null, tokens_consumed integer, metadata jsonb,
  created_at timestamptz default now());
-- Objects of the project's own that depend on them.
create table public.favourites (user_id uuid, job_id uuid references public.jobs on delete cascade, primary key (user_id, job_id));
create view public.busy as select user_id, count(*) as jobs from public.jobs where status = 'processing' group by user_id;
alter table public.profiles enable row level security;
alter table public.jobs enable row level security;
create policy "Users can update own profile" on public.profiles for all using (true);
create policy "Users see their jobs" on public.jobs for select using (auth.uid() = user_id);
alter publication supabase_realtime add table public.jobs;

insert into auth.users (id, email) values ('00000000-0000-4000-8000-00000000000a', 'a@example.org'), ('00000000-0000-4000-8000-00000000000b', 'b@example.org');
insert into public.profiles (id, email, age_verified, subscription_status, token_balance) values
  ('00000000-0000-4000-8000-00000000000a', 'a@example.org', true, 'pro', 120), ('00000000-0000-4000-8000-00000000000b', 'b@example.org', null, null, -3);
insert into public.projects (id, user_id, title, original_prompt, enhanced_prompt) values
  ('00000000-0000-4000-8000-0000000000f1', '00000000-0000-4000-8000-00000000000a', 'Coast', 'a lighthouse', 'a lighthouse at dusk, long exposure');
insert into public.videos (id, project_id, user_id, scene_number, status, duration) values
  ('00000000-0000-4000-8000-0000000000e1', '00000000-0000-4000-8000-0000000000f1', '00000000-0000-4000-8000-00000000000a', 1, 'preview_ready', 5.0);
insert into public.jobs (id, user_id, job_type, status, error_message, metadata, created_at, video_id, worker_type, format, completed_at) values
  ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a', 'sdxl_image_fast', 'completed', null,
   '{"prompt": "a quiet harbour", "num_images": 6, "assets": ["x/1.png"]}', now() - interval '40 days', null, 'SDXL', 'image', now() - interval '39 days'),
  ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-00000000000a', 'video_high', 'failed', 'CUDA out of memory', '{}', now() - interval '9 days',
   '00000000-0000-4000-8000-0000000000e1', 'WAN', 'video', null),
  ('00000000-0000-4000-8000-000000000003', '00000000-0000-4000-8000-00000000000a', 'image_fast', 'processing', null, '{"prompt": "dunes"}', now() - interval '2 hours', null, 'WAN', null, null),
  ('00000000-0000-4000-8000-000000000004', '00000000-0000-4000-8000-00000000000a', 'image_fast', 'processing', null, '{"prompt": "dunes"}', now() - interval '20 days', null, 'WAN', null, null),
  ('00000000-0000-4000-8000-000000000005', '00000000-0000-4000-8000-00000000000b', 'image_fast', 'queued', null, '{"prompt": "a field"}', now() - interval '1 hour', null, 'WAN', null, null),
  ('00000000-0000-4000-8000-000000000006', '00000000-0000-4000-8000-00000000000a', 'preview', 'completed', null, '{"prompt": "a field"}', now() - interval '80 days', null, null, null, null),
  ('00000000-0000-4000-8000-000000000007', '00000000-0000-4000-8000-00000000000a', 'image_high', 'cancelled', null, null, now() - interval '3 days', null, 'WAN', null, null),
  ('00000000-0000-4000-8000-000000000008', '00000000-0000-4000-8000-00000000000a', 'sdxl_image_high', 'pending', null, '{"prompt": "a pier", "steps": 900}', now() - interval '1 hour', null, 'SDXL', null, null),
  ('00000000-0000-4000-8000-000000000009', null, 'sdxl_image_high', 'Completed', null, '[]', null, null, 'SDXL', null, null);
insert into public.favourites values ('00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-000000000001');
insert into public.usage_logs (user_id, action, tokens_consumed) values ('00000000-0000-4000-8000-00000000000a', 'image_fast', 2);
